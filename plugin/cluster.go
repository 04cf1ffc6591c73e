package plugin

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// cluster is everything that the commands need of a cluster. It is put together in one
// place, app.connect, so that tests can put another in its place.
type cluster struct {
	fleet.Cluster
	api      api
	journals journals
	who      *identity // the person's own client certificate; nil: none
	// held returns an error where another rotation holds the lock; nil: it is not asked.
	held func(context.Context) error
}

// api is what the commands ask of the API server themselves.
type api interface {
	fleet.API
	// Permitted returns an error that names every permission that is missing.
	Permitted(ctx context.Context, use kube.Use) error
	// Holder says who holds the cluster's lock; nil: nobody.
	Holder(ctx context.Context) (*kube.HeldError, error)
	// SecretCopies finds certificates by their fingerprints in Secrets.
	SecretCopies(ctx context.Context, fingerprints []string) (kube.Copies, error)
}

// journals reads what nodes remember of one rotation. What could not be read is
// returned as exclusions.
type journals interface {
	Journals(ctx context.Context, nodes []string, rotation string) ([]nodeapi.Journal, []plan.Exclusion, error)
}

// connect puts a real cluster together; nothing is asked of it yet.
func (a *app) connect(c connection) (*cluster, error) {
	pods := kube.PodOptions{Namespace: c.namespace, Image: c.image}
	if c.pullSecret != "" {
		pods.ImagePullSecrets = []string{c.pullSecret}
	}
	made, err := kube.Connect(c.config, pods, kube.Locker{Holder: whoAndWhere(), Waiting: func(held *kube.HeldError, atMost time.Duration) {
		a.say(fmt.Sprintf("the lock of %s has run out; watching for up to %s whether it is still alive", held.Holder, took(atMost)))
	}})
	if err != nil {
		return nil, err
	}
	made.TellOfWaits(func(node, what string) { a.say(node + ": " + what) })
	return &cluster{Cluster: made.Cluster, api: made.API, journals: made.Scanner, who: c.identity, held: made.Held}, nil
}

// whoAndWhere names this person for the next one who finds the lock held.
func whoAndWhere() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
