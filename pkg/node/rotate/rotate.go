// Package rotate carries out a rotation on one node. Orders come through the state
// directory's inbox, what happens is written to its journal first:
//
//	Stage   scan, make keys, have certificates issued, check; nothing visible changes
//	Commit  back up, replace every file, restart, verify; what fails is undone and verified
//	Finish, Abandon  end
//
// Where the restart of a unit makes the new certificates (k0s), nothing is signed or replaced,
// and the restart cannot be undone: it is verified, or a person must look.
//
// Whatever interrupts it, the next start undoes a commit that was not completed. So
// a node is all old or all new.
package rotate

import (
	"context"
	"crypto/x509"
	"io"
	"os"
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
	// Current returns the newest instance of a component, running or not.
	Current(ctx context.Context, c inventory.Component) (component.Instance, error)
	// Stop ends an instance; it returns when that is gone. Where it does not run, Stop
	// sees to it that a next one is started.
	Stop(ctx context.Context, c inventory.Component, i component.Instance) error
	// Await waits until an instance runs that did not run as old.
	Await(ctx context.Context, c inventory.Component, old component.Instance) (component.Instance, error)
}

// Prober looks at live endpoints.
type Prober interface {
	// Handshake returns the certificate that an endpoint shows.
	Handshake(ctx context.Context, address, serverName string) (*x509.Certificate, error)
	// Health requests a component's health endpoint once, with a client certificate of the
	// node where it wants one. Unasked: the component is there, but answers no such request.
	Health(ctx context.Context, node inventory.Node, c inventory.Component) inventory.Probe
	// Client authenticates with a client certificate, which may not be on disk yet. An
	// error that is [component.ErrRejected] means that the server would not have it,
	// any other that it could not be asked.
	Client(ctx context.Context, c inventory.Certificate, m store.Material) (nodeapi.Evidence, error)
}

// Requests asks the cluster for certificates in the node's own name.
type Requests interface {
	// Post creates a CertificateSigningRequest. An error means that this identity
	// cannot ask: expired, refused, or the API server is away.
	Post(ctx context.Context, csr nodeapi.CSR) (name string, err error)
	// Get returns the issued chain as PEM; nil while it waits. denied says who refused
	// it and why. An error means that it could not be asked just now.
	Get(ctx context.Context, name string) (pem []byte, denied string, err error)
}

// Engine works on one node.
type Engine struct {
	Root hostfs.Root
	Node string // the node's name
	// Scan looks at the node as it is now.
	Scan      func(ctx context.Context) (inventory.Node, error)
	Restarter Restarter
	Prober    Prober
	Requests  Requests // nil: the node cannot ask for certificates by itself
	// LastWords returns what a component wrote last, without secrets; may be nil.
	LastWords func(ctx context.Context, c inventory.Component) []string
	// Records gets every record as a JSON line, besides the journal; may be nil.
	Records io.Writer
	// Warn gets what does not keep the work from being done; may be nil.
	Warn func(error)
	// Now is the clock; nil: the real one.
	Now func() time.Time
	// Idle is for how long Run waits for an order; 0: [DefaultIdle].
	Idle time.Duration
	// LeftOut is called by ByHand with what the plan leaves out, before anything is
	// changed; may be nil.
	LeftOut func([]plan.LeftOut)
	// Timeout is for how long a component may take to become healthy in ByHand; 0:
	// [DefaultTimeout].
	Timeout time.Duration
	// Alone says that no administrator can be asked for a signature.
	Alone bool
	// Program is this program's file, of which the node keeps a copy while it commits,
	// see [RecoveryUnit]; empty: it gets none.
	Program string

	// waitOrders is replaced where a test has its own clock.
	waitOrders func(ctx context.Context, r *statedir.Rotation, after int64) ([]statedir.Order, error)
	// issuerOf is replaced where a test has its own issuers.
	issuerOf func(inventory.Issuer) issue.Issuer
}

const (
	// DefaultIdle is for how long the process on a node waits for an order: whoever
	// gave the last one is gone, then.
	DefaultIdle = 15 * time.Minute
	// DefaultTimeout is for how long a component may take to become healthy, besides
	// its supervisor's back-off.
	DefaultTimeout = time.Minute
)

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

// Forget removes a rotation from this node's state, see [statedir.Dir.Forget]. Where a
// process works on the node it fails with a [*statedir.LockedError].
func (e *Engine) Forget(ctx context.Context, id string, force bool) error {
	dir, err := statedir.Open(e.Root)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, lockLook)
	defer cancel()
	unlock, err := dir.Lock(waiting, statedir.Holder{Rotation: "recovery", PID: os.Getpid(), Since: e.now().UTC()})
	if err != nil {
		return err
	}
	defer unlock()
	return dir.Forget(id, force)
}

func (e *Engine) lastWords(ctx context.Context, c inventory.Component) []string {
	if e.LastWords == nil {
		return nil
	}
	return e.LastWords(ctx, c)
}

// issuer returns who can issue a certificate at once; nil: the cluster must be asked.
func (e *Engine) issuer(i inventory.Issuer) issue.Issuer {
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
