package controller

import (
	"context"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Engine is what carries a rotation out: the plugin's own.
type Engine interface {
	// Prepare scans the nodes and plans; nothing is changed. See [fleet.Prepare].
	// continued is the id of a rotation that was begun; empty: it is new.
	Prepare(ctx context.Context, req plan.Request, continued string) (fleet.Rotation, error)
	// Rotate is [fleet.Rotate].
	Rotate(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error)
}

// NewEngine is the engine of a real cluster. now may be nil.
func NewEngine(c *kube.Cluster, now func() time.Time) Engine {
	if now == nil {
		now = time.Now
	}
	return &engine{cluster: c, now: now}
}

type engine struct {
	cluster *kube.Cluster
	now     func() time.Time
}

// checkCommand is the command that lists the certificates.
const checkCommand = "kubectl rotate-certs check"

func (e *engine) Prepare(ctx context.Context, req plan.Request, continued string) (fleet.Rotation, error) {
	// A worker that became unavailable since the decision must not block the others.
	return fleet.Prepare(ctx, e.cluster.API, e.cluster.Scanner, req, fleet.PrepareOptions{
		Now: e.now(), Look: checkCommand, LeaveUnavailable: true, Held: e.cluster.Held, Continue: continued,
	})
}

func (e *engine) Rotate(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
	return fleet.Rotate(ctx, e.cluster.Cluster, o)
}
