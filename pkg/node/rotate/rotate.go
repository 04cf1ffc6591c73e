// Package rotate carries out a rotation on one node. Orders arrive in the inbox of the state
// directory. Every step is written to its journal first:
//
//	Stage   scan, make keys, have certificates issued, check; nothing visible changes
//	Commit  back up, replace every file, restart, verify; a failure is rolled back and verified
//	Finish, Abandon  end
//
// Where the program of a unit makes the new certificates, nothing is signed or replaced: it does
// so at every start (k0s), or after a command that is run while it is stopped (RKE2, K3s). That
// cannot be rolled back: it is verified, or manual intervention is required.
//
// After any interruption, the next start rolls back an incomplete commit. A node has all old
// certificates or all new ones.
package rotate

import (
	"context"
	"crypto/x509"
	"io"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Restarter stops components, whose supervisors then start them again.
type Restarter interface {
	// CurrentInstance returns the newest instance of a component, running or not.
	CurrentInstance(ctx context.Context, c inventory.Component) (component.Instance, error)
	// StopInstance stops an instance and returns when it has exited. If it does not run,
	// StopInstance makes sure that the next one is started.
	StopInstance(ctx context.Context, c inventory.Component, i component.Instance) error
	// AwaitInstance waits until an instance other than old runs.
	AwaitInstance(ctx context.Context, c inventory.Component, old component.Instance) (component.Instance, error)
}

// UnitCommander runs commands of a distribution that renew certificates.
type UnitCommander interface {
	// RunRenewal stops a unit, runs the commands and starts the unit again, also if a command
	// fails or this process ends. It returns when the unit's old instance has exited. Commands
	// that restart the unit themselves are only started.
	RunRenewal(ctx context.Context, c inventory.Component, renewal component.Renewal, old component.Instance) error
	// ActiveDependents returns the active units that stop together with a unit and are not started
	// again with it.
	ActiveDependents(ctx context.Context, unit string) ([]string, error)
	// CommandResult waits until the commands of the last RunRenewal have ended, and returns the
	// error that they ended with. Nil if none was run.
	CommandResult(ctx context.Context) error
	// WithdrawCommand makes sure that these commands do not run later, and starts the unit if it
	// had to stop them. An error means that they may still run.
	WithdrawCommand(ctx context.Context, c inventory.Component) error
}

// Prober requests the endpoints of running components.
type Prober interface {
	// ServedCertificate returns the certificate that an endpoint serves.
	ServedCertificate(ctx context.Context, address, serverName string) (*x509.Certificate, error)
	// CheckHealth requests a component's health endpoint once, with a client certificate of the
	// node if it requires one. Unasked: the component runs, but answers no such request.
	CheckHealth(ctx context.Context, node inventory.Node, c inventory.Component) inventory.Probe
	// VerifyClient authenticates with a client certificate, which may not be on disk yet.
	// [component.ErrRejected] means that the server rejected it, any other error that the
	// server could not be asked.
	VerifyClient(ctx context.Context, c inventory.Certificate, m store.Material) (nodeapi.Evidence, error)
}

// Requests requests certificates from the cluster with the node's own identity.
type Requests interface {
	// PostCSR creates a CertificateSigningRequest. An error means that this identity cannot: it
	// has expired, it was refused, or the API server is not reachable.
	PostCSR(ctx context.Context, csr nodeapi.CSR) (name string, err error)
	// GetIssued returns the issued chain as PEM; nil while the request is pending. denied is
	// the reason of a refusal. An error means that the API server did not answer.
	GetIssued(ctx context.Context, name string) (pem []byte, denied string, err error)
}

// Engine carries out rotations on one node.
type Engine struct {
	Root hostfs.Root
	Node string // the node's name
	// Scan reads the node as it is now.
	Scan      func(ctx context.Context) (inventory.Node, error)
	Restarter Restarter
	Commander UnitCommander
	Prober    Prober
	Requests  Requests // nil: the node has no identity to request certificates with
	// LastLog returns the last lines of a component's log, without secrets; may be nil.
	LastLog func(ctx context.Context, c inventory.Component) []string
	// Records gets every record as a JSON line, besides the journal; may be nil.
	Records io.Writer
	// Warn gets errors that do not stop the work; may be nil.
	Warn func(error)
	// Now is the clock; nil: the real one.
	Now func() time.Time
	// Idle is how long RunOrders waits for an order; 0: [nodeapi.IdleTimeout].
	Idle time.Duration
	// LeftOut is called by RotateByHand with the certificates that the plan leaves out, before
	// anything is changed; may be nil.
	LeftOut func([]plan.LeftOut)
	// Timeout is how long a component may take to become healthy in RotateByHand; 0:
	// [nodeapi.ComponentTimeout].
	Timeout time.Duration
	// Alone means that neither the plugin nor the watcher follows the journal, so that no
	// request can be posted for the node.
	Alone bool
	// Program is this program's file. The node keeps a copy during a commit, see
	// [RecoveryUnit]; empty: no copy and no unit.
	Program string

	// waitOrders is replaced by tests with their own clock.
	waitOrders func(ctx context.Context, r *statedir.Rotation, after int64) ([]statedir.Order, error)
	// issuerOf is replaced by tests with their own issuers.
	issuerOf func(inventory.Issuer) issue.Issuer
}

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Engine) warn(err error) {
	if e.Warn != nil {
		e.Warn(err)
	}
}

// ForgetRotation removes a rotation from this node's state, see [statedir.Dir.ForgetRotation].
// While another process works on the node it fails with a [*statedir.LockedError].
func (e *Engine) ForgetRotation(ctx context.Context, id string, force bool) error {
	dir, err := statedir.OpenDir(e.Root)
	if err != nil {
		return err
	}
	unlock, err := e.lockForRecovery(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	return dir.ForgetRotation(id, force)
}

func (e *Engine) lastLog(ctx context.Context, c inventory.Component) []string {
	if e.LastLog == nil {
		return nil
	}
	return e.LastLog(ctx, c)
}

// localIssuer returns the issuer that can sign on this node; nil: the certificate must be
// requested from the cluster.
func (e *Engine) localIssuer(i inventory.Issuer) issue.Issuer {
	if e.issuerOf != nil {
		return e.issuerOf(i)
	}
	switch i.Kind {
	case inventory.LocalCA:
		return issue.LocalCA{Root: e.Root, CACert: i.CACert, CAKey: i.CAKey}
	case inventory.Throwaway:
		return issue.Throwaway{}
	default:
		return nil
	}
}
