// Package fleet rotates certificates on the nodes of a cluster: [Prepare] scans and plans,
// [Rotate] carries it out. It declares what it needs of a cluster as small interfaces;
// package kube implements them.
package fleet

import (
	"cmp"
	"context"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Scanner scans nodes. Nodes that could not be scanned are returned as exclusions,
// never as an error; an error means that nothing could be asked at all.
type Scanner interface {
	Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.NotInspected, error)
}

// Session is a connection to the process that works on a node. The process continues
// when the connection breaks.
type Session interface {
	// Order delivers an order; it retries until ctx ends, the node takes it once.
	Order(ctx context.Context, o nodeapi.Order) error
	// Follow passes records with Seq > after to fn, in order, until the process ends
	// (nil) or the connection breaks (an error: call again with the last Seq).
	Follow(ctx context.Context, after int64, fn func(nodeapi.Record) error) error
	// Health asks the node about etcd, its API server, and the API servers of other nodes.
	Health(ctx context.Context, others []inventory.Peer) (inventory.Health, error)
	// Sign has the node sign another node's certificate with the key of a CA that it has. It
	// returns the chain as PEM; the node checks the request first.
	Sign(ctx context.Context, r nodeapi.SignRequest) (pem []byte, err error)
}

// Nodes opens sessions, each with a short-lived pod pinned to its node.
type Nodes interface {
	// DryRun lets the API server judge every pod that the steps need, and changes nothing.
	DryRun(ctx context.Context, rotation string, steps []plan.Step) error
	Open(ctx context.Context, rotation string, step plan.Step) (Session, error)
	// Close removes the pods of a rotation and waits until they are deleted; with
	// rotation "" those of every rotation. It returns how many there were. It does not
	// wait for a node that reports nothing any more: where that is one of the control
	// plane, it is an error.
	Close(ctx context.Context, rotation string) (int, error)
}

// Lock is a held lock.
type Lock interface {
	Token() int64
	// Confirm returns nil once it is sure that the lock is still held; it waits while
	// the API server is unavailable, until ctx ends. [ErrLockLost] is final.
	Confirm(ctx context.Context) error
	Release(ctx context.Context) error
}

// Locker takes the cluster's one lock. minToken is the highest fencing token that
// any node knows; the new lock's token is higher.
type Locker interface {
	Acquire(ctx context.Context, rotation string, minToken int64) (Lock, error)
}

// Signers see to it that a node's certificate signing requests are signed.
type Signers interface {
	// Approve checks the named request against the node that must have made it and
	// approves it, unless the cluster approves it. It returns when it is issued.
	Approve(ctx context.Context, node string, csr nodeapi.CSR) error
	// Issue has a request signed in the name of the administrator, after the same checks.
	Issue(ctx context.Context, node string, csr nodeapi.CSR) (pem []byte, err error)
}

// Observer sees a node's components from the cluster's side.
type Observer interface {
	// Restarts returns the restart counts and start times of a node's control-plane containers.
	Restarts(ctx context.Context, node string) (map[string]Restart, error)
	// Ready waits until the node is Ready and its kubelet has renewed its lease
	// after the given moment.
	Ready(ctx context.Context, node string, after time.Time) error
}

// Restart identifies one run of a container.
type Restart struct {
	ContainerID string
	Count       int32
	StartedAt   time.Time // zero where it has ended, and its kubelet has not started it again yet
	Reason      string    // why the last one ended
}

// Cluster is everything that a rotation needs of a cluster.
type Cluster struct {
	Nodes    Nodes
	Locker   Locker
	Signers  Signers
	Observer Observer
	Scanner  Scanner
}

// Progress is one event of a rotation, as text for the operator.
type Progress struct {
	Node  string // empty: the cluster
	Phase Phase
	Text  string
	Took  time.Duration // with Done
	// Done marks a line worth keeping; others tell what is happening right now.
	Done bool
}

// Phase is what a node is in.
type Phase string

// The phases that are shown.
const (
	PhaseWaiting  Phase = "waiting"  // for the cluster to be healthy enough
	PhaseStarting Phase = "starting" // the node's process
	PhaseStaging  Phase = "staging"
	PhaseStaged   Phase = "staged"
	PhaseWorking  Phase = "working" // files replaced, components restarting
	PhaseVerified Phase = "verified"
	PhaseUndoing  Phase = "undoing" // rolling back
	PhaseUndone   Phase = "undone"
	PhaseFailed   Phase = "failed"
	PhaseForced   Phase = "forced" // continued although the gate found something
	PhaseEnding   Phase = "ending" // nothing more is done on any node
)

// Options are a rotation and how it is carried out.
type Options struct {
	Rotation
	// Timeout bounds how long a component may take to become healthy; 0: one minute.
	Timeout time.Duration
	// Pause is how long to wait between two control-plane nodes.
	Pause time.Duration
	// Force proceeds even if the gate finds the cluster unhealthy before anything is touched. It
	// overrides nothing else: no lock, no lost attribute, no invalid certificate or CA,
	// and nothing that broke after the start.
	Force bool
	// WithoutAPI means that no API server can be asked, so that there is no lock that all nodes
	// share. Every etcd member must be on a scanned node then, and OpenIdle is set as well: a node
	// refuses the process of another rotation.
	WithoutAPI bool
	// OpenIdle has a process on every control-plane node that was scanned, also on those that are
	// not changed, so that each is asked on the node about its own health. Without it, the API
	// servers of nodes that are not changed are asked over the network by those that are: hosts
	// of an external etcd may not reach them.
	OpenIdle bool
	// OnlyPlanned stops the rotation before any change where the plan has to be made anew and
	// then renews or restarts something else: the operator agreed to the plan as it was.
	OnlyPlanned bool
	// Command is the command line of this program for this cluster, for hints; empty:
	// "kubectl rotate-certs".
	Command string
	// Progress is called from several goroutines, one call at a time; may be nil.
	Progress func(Progress)
	Now      func() time.Time // nil: time.Now
}

// Rotate carries a rotation out:
//
//   - acquire the cluster's lock, with a fencing token above that of every node
//   - remove the pods of an earlier run that was killed; if there were any, scan and plan again
//   - compare the nodes' clocks
//   - have the API server admit every node pod (a dry run)
//   - stage all control-plane nodes: keys are made and certificates signed, nothing visible changes.
//     A node without the key of a CA has its certificates signed by one that has it
//   - commit them one after the other, the etcd leader last. Before and after each, the gate
//     checks quorum, etcd and every API server; the node itself replaces the files, restarts
//     and verifies, or puts everything back
//   - stage and commit the workers, wave by wave
//   - record on every node that the rotation has finished
//   - whatever happened: remove the node pods, release the lock, report
//
// The first failure stops it. When ctx ends, the node in progress finishes or undoes its part,
// and the rotation stops with a report.
//
// The report is never nil. The error is nil when everything is done and verified, and
// otherwise wraps one of [ErrStopped], [ErrManualInterventionRequired], [ErrInterrupted], or is what
// the Locker returned (nothing was changed).
func Rotate(ctx context.Context, c Cluster, o Options) (*v1alpha1.RotationReport, error) {
	r := newRun(c, o.withDefaults())
	return r.rotate(ctx, r.rotateControlPlane)
}

func (o Options) withDefaults() Options {
	o.Command = cmp.Or(o.Command, "kubectl rotate-certs")
	return o
}
