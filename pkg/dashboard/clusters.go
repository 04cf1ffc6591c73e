package dashboard

import (
	"context"
	"errors"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Clusters are the clusters that the pages show, one per context of the kubeconfig.
type Clusters interface {
	// Contexts returns the contexts, sorted by name. It reads no more than the kubeconfig.
	Contexts() []Context
	// Open returns the cluster of a context; it sends no request. The error says why the
	// context cannot be used.
	Open(context string) (Cluster, error)
}

// Context is a context of the kubeconfig.
type Context struct {
	Name    string
	Cluster string
	User    string
	Server  string // URL of the API server
	// Key is the same for all contexts of one cluster: by the server's URL and whatever else decides
	// which server answers there. Empty: by the URL alone.
	Key     string
	Current bool
}

// Cluster is one cluster, in the operator's own name and with no other right. Every method ends
// with its ctx. Errors may have hints.
type Cluster interface {
	// State reads objects of the API server. It creates no pod.
	State(ctx context.Context) (State, error)
	// Scan scans every node through read-only pods, as the command check does.
	Scan(ctx context.Context) (v1alpha1.CertificateList, error)
	// Rotations reads the journals of every node through read-only pods, newest first, as the
	// command history does.
	Rotations(ctx context.Context) (v1alpha1.RotationList, error)
	// Records reads the records of one rotation, as history ID does.
	Records(ctx context.Context, id string) (v1alpha1.RotationHistory, error)
	// Plan scans the nodes where the operator may create pods, and reads the agents' reports
	// otherwise; it changes nothing.
	Plan(ctx context.Context, c Choice) (Plan, error)
	// MarkCompromised creates a CompromisedCertificate; only where the watcher is installed.
	MarkCompromised(ctx context.Context, m Mark) error
	// DeleteMark deletes a CompromisedCertificate by its name.
	DeleteMark(ctx context.Context, name string) error
	// WatcherEvents passes the events of the watcher to pass, oldest first: those since a time, or all
	// that are kept. With follow, it then passes others as they come until the connection ends. It
	// returns the error of pass.
	WatcherEvents(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error
}

// State is read from the API server. Parts that could not be read are named in NotRead, and do
// not make an error.
type State struct {
	Version string // of the API server, such as v1.37.2
	Nodes   int
	// Watcher is nil where the watcher is not installed, and where WatcherUnknown is not empty.
	Watcher *v1alpha1.WatcherStatus
	// WatcherUnknown says why it is not known whether the watcher is installed. NotRead has it, too.
	WatcherUnknown string
	// Certificates are those of the agents' reports; nil where there are none.
	Certificates *v1alpha1.CertificateList
	// Observed is when the oldest of the reports was written.
	Observed time.Time
	// Holder is the rotation in progress, by the cluster's lock; nil: none.
	Holder *v1alpha1.RunningRotation
	// Rotations are the watcher's, newest first.
	Rotations []v1alpha1.CertificateRotation
	Marks     []v1alpha1.CompromisedCertificate
	// Denied says why the operator may not do something: the missing permission. Without an
	// entry it is permitted.
	Denied  map[Right]string
	NotRead []string
}

// Right is something that the pages offer.
type Right string

// The rights that the pages ask for.
const (
	RightScan       Right = "scan"        // scan nodes, read their journals
	RightRotate     Right = "rotate"      // start a rotation
	RightMark       Right = "mark"        // mark as compromised
	RightDeleteMark Right = "delete-mark" // delete a CompromisedCertificate
)

// Choice is the operator's choice in the dialog.
type Choice struct {
	Services    []certs.Service // empty: all
	Nodes       []string        // empty: every node
	Restart     plan.RestartPolicy
	Compromised bool // the old keys are compromised
}

// Mark is a request to mark certificates as compromised.
type Mark struct {
	Service     certs.Service
	Nodes       []string // empty: every node
	Fingerprint string   // SHA-256 in hex; empty: every certificate of the service
	Reason      string
}

// The kinds of errors of Plan.Run that say what becomes of the rotation. They are wrapped.
var (
	// ErrNotBegun means that nothing has begun: another rotation holds the lock, the plan was used
	// already, or the CertificateRotation could not be created.
	ErrNotBegun = errors.New("the rotation has not begun")
	// ErrNotFollowed means that the watcher has the rotation and continues it, but that its status
	// is not read any more.
	ErrNotFollowed = errors.New("the rotation is not followed any more")
)

// Plan is a rotation that has been planned and not begun. A choice that changes makes another Plan.
// Run carries out exactly its Document in this process; the watcher scans and plans again before
// it begins.
type Plan struct {
	Document v1alpha1.RotationPlan
	// Notes are the other lines that the command prints.
	Notes []string
	// Command is the command line that does the same.
	Command string
	// ByWatcher says that Run creates a CertificateRotation, which the watcher carries out. Else
	// this process carries it out, and ctx ending stops it as Ctrl-C stops the command.
	ByWatcher bool
	// Run carries the plan out once. The report is nil where nothing has begun, and where the
	// rotation is not followed to its end. ctx ending ends the following only, where the watcher
	// carries the plan out.
	Run func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error)
}

// Options are the parameters of a server.
type Options struct {
	Clusters Clusters
	// ReadOnly serves no page that changes anything, and refuses every such request.
	ReadOnly bool
	// Token permits requests to the API outside the pages; empty: none. See [NewToken].
	Token string
	// TokenFile is the file that holds it, for the command lines that pages show.
	TokenFile string
	// Version is the plugin's, for the foot of the pages.
	Version string
	Now     func() time.Time
	// Report is called with a line for the terminal when a rotation begins and ends.
	Report func(line string)
	// Hosted says that the pages are served in a cluster, in a session of [Hosted].
	Hosted bool
	// User is the name of the session's user, for the head of the pages.
	User string
	// SignOut offers to sign out.
	SignOut bool
}
