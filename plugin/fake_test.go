package plugin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// fake is a cluster whose node programs are simulated: its calls are in log,
// and each field makes something go wrong.
type fake struct {
	sync.Mutex
	nodes       []kubenode.Node
	scanned     []inventory.Node
	missing     []plan.NotInspected
	unhealthy   string // node whose API server is not ready
	denied      error
	down        error                   // of every question
	refused     error                   // by admission
	held        error                   // what taking the lock meets
	heldNow     error                   // what reading the lock returns
	holder      *kube.HeldError         // of the lock, as status reads it
	lockErr     error                   // of reading it
	survey      *v1alpha1.WatcherStatus // of the watcher
	policy      *v1alpha1.RotationPolicy
	logs        map[string]nodeapi.Journal // by node
	ends        map[string]nodeapi.Kind    // how a node's commit ends
	unsigned    string                     // node on which staging fails
	onCommit    func(node string)
	notSearched string // of what may hold copies
	rootCA      []byte // nil: that of the hosts
	rootCAErr   error
	noTerminal  bool      // no question can be asked
	out         io.Writer // instead of the buffer, where set
	onScan      func()    // and then the scan lasts until it is interrupted
	who         *identity
	secrets     []kube.SecretCopy
	rotation    context.Context // of the engine, once it runs
	connection  connection      // of the last command
	reports     []v1alpha1.NodeCertificateReport
	log         []string
}

func newFake(nodes ...inventory.Node) *fake {
	f := &fake{scanned: nodes, ends: map[string]nodeapi.Kind{}}
	for _, n := range nodes {
		f.nodes = append(f.nodes, kubenode.Node{Name: n.Name, Ready: true, OS: "linux", Arch: "amd64", ControlPlane: n.ControlPlane()})
	}
	return f
}

func (f *fake) note(format string, args ...any) {
	f.Lock()
	defer f.Unlock()
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *fake) did(part string) bool {
	f.Lock()
	defer f.Unlock()
	return slices.ContainsFunc(f.log, func(l string) bool { return strings.Contains(l, part) })
}

// run is one call of the program against the fake.
func (f *fake) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return f.interrupted(t, nil, strings.NewReader(""), args...)
}

func (f *fake) interrupted(t *testing.T, signals <-chan os.Signal, in io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	var out, errOut lockedBuffer
	a := f.app(genericiooptions.IOStreams{In: in, Out: &out, ErrOut: &errOut})
	if f.out != nil {
		a.Out = f.out
	}
	code = a.runUntilSignal(args, signals)
	return code, out.String(), errOut.String()
}

// app is the program with the fake as its cluster.
func (f *fake) app(streams genericiooptions.IOStreams) *app {
	a := &app{IOStreams: streams, now: func() time.Time { return noon }}
	a.terminal.in = !f.noTerminal
	a.survey = func(context.Context, connection) (*v1alpha1.WatcherStatus, error) { return f.survey, nil }
	a.readPolicy = func(context.Context, connection) (*v1alpha1.RotationPolicy, error) { return f.policy, nil }
	a.readReports = func(context.Context, connection) ([]v1alpha1.NodeCertificateReport, error) { return f.reports, f.down }
	a.dial = func(c connection) (*cluster, error) {
		f.Lock()
		f.connection = c
		f.Unlock()
		return &cluster{Cluster: fleet.Cluster{Nodes: f, Locker: f, Signers: f, Observer: f, Scanner: f}, api: f, journals: f, who: f.who,
			held:   func(context.Context) error { return f.heldNow },
			rootCA: func(context.Context) ([]byte, error) { return f.authorities(), f.rootCAErr }}, nil
	}
	return a
}

// lockedBuffer may be written by a rotation that was left to itself.
type lockedBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

func (f *fake) Nodes(context.Context) ([]kubenode.Node, error) { return f.nodes, f.down }

func (f *fake) MayRotate(ctx context.Context) error { return f.Permitted(ctx, kube.UseRotate) }

func (f *fake) Permitted(_ context.Context, use kube.Use) error {
	f.note("permissions for %s", use)
	return f.denied
}

func (f *fake) DefaultValidity(context.Context) (time.Duration, error) { return 90 * day, nil }

func (f *fake) Holder(context.Context) (*kube.HeldError, error) {
	return f.holder, cmp.Or(f.lockErr, f.down)
}

func (f *fake) SecretCopies(_ context.Context, fingerprints []string) (kube.Copies, error) {
	f.note("secrets")
	var out kube.Copies
	for _, s := range f.secrets {
		if slices.Contains(fingerprints, s.FingerprintSHA256) {
			out.Found = append(out.Found, s)
		}
	}
	out.NotSearched = f.notSearched
	return out, f.down
}

func (f *fake) Journals(_ context.Context, nodes []string, rotation string) ([]nodeapi.Journal, []plan.NotInspected, error) {
	f.note("journals of %s on %s", rotation, strings.Join(nodes, ","))
	var out []nodeapi.Journal
	for _, n := range nodes {
		if log, ok := f.logs[n]; ok && log.Rotation == rotation {
			out = append(out, log)
			continue
		}
		out = append(out, nodeapi.Journal{Node: n, Rotation: rotation})
	}
	return out, f.missing, nil
}

func (f *fake) Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.NotInspected, error) {
	f.note("scan %s", strings.Join(nodes, ","))
	if f.onScan != nil {
		f.onScan()
		<-ctx.Done()
		return nil, nil, fmt.Errorf("scan: %w", ctx.Err())
	}
	var out []inventory.Node
	for _, n := range f.scanned {
		if slices.Contains(nodes, n.Name) && !slices.ContainsFunc(f.missing, func(x plan.NotInspected) bool { return x.Node == n.Name }) {
			out = append(out, n)
		}
	}
	return out, f.missing, nil
}

func (f *fake) DryRun(ctx context.Context, _ string, steps []plan.Step) error {
	f.rotation = ctx
	f.note("dry run of %d pods", len(steps))
	return f.refused
}

func (f *fake) Open(_ context.Context, rotation string, step plan.Step) (fleet.Session, error) {
	f.note("open %s for %s", step.Node, rotation)
	return &fakeSession{fake: f, node: step.Node, step: step, news: make(chan struct{}, 100)}, nil
}

func (f *fake) Close(context.Context, string) (int, error) { return 0, nil }

func (f *fake) Acquire(context.Context, string, int64) (fleet.Lock, error) {
	f.note("lock")
	return f, f.held
}

func (f *fake) Token() int64                  { return 1 }
func (f *fake) Confirm(context.Context) error { return nil }
func (f *fake) Release(context.Context) error { return nil }

func (f *fake) Approve(context.Context, string, nodeapi.CSR) error { return nil }
func (f *fake) Issue(context.Context, string, nodeapi.CSR) ([]byte, error) {
	return nil, errors.New("nothing in these tests needs an administrator's signature")
}

func (f *fake) Restarts(context.Context, string) (map[string]fleet.Restart, error) { return nil, nil }
func (f *fake) Ready(context.Context, string, time.Time) error                     { return nil }

// fakeSession is a node program that carries out every order at once.
type fakeSession struct {
	*fake
	node    string
	of      string // the rotation of the last order
	step    plan.Step
	records []nodeapi.Record
	news    chan struct{}
}

func (s *fakeSession) write(kind nodeapi.Kind, change func(*nodeapi.Record)) {
	s.Lock()
	defer s.Unlock()
	r := nodeapi.Record{Seq: int64(len(s.records) + 1), Time: noon, Node: s.node, Rotation: s.of, Token: 1, Kind: kind}
	if change != nil {
		change(&r)
	}
	s.records = append(s.records, r)
	s.news <- struct{}{}
}

func (s *fakeSession) Order(_ context.Context, o nodeapi.Order) error {
	s.note("%s %s for %s", o.Kind, s.node, time.Duration(o.ValiditySeconds)*time.Second)
	s.of = o.Rotation
	if o.Compromised {
		s.note("%s %s compromised", o.Kind, s.node)
	}
	switch o.Kind {
	case nodeapi.OrderStage:
		if s.node == s.unsigned {
			s.write(nodeapi.Failed, func(r *nodeapi.Record) { r.Message = "sign etcd-peer: the CA has expired" })
			return nil
		}
		s.write(nodeapi.Staged, nil)
	case nodeapi.OrderCommit:
		s.write(nodeapi.Committing, nil)
		if s.onCommit != nil {
			s.onCommit(s.node)
		}
		s.commit()
	case nodeapi.OrderFinish:
		s.write(nodeapi.Finished, nil)
	case nodeapi.OrderAbandon:
		s.write(nodeapi.Abandoned, nil)
	case nodeapi.OrderIssued, nodeapi.OrderKeepAlive:
	}
	return nil
}

func (s *fakeSession) commit() {
	if end := s.ends[s.node]; end != "" {
		s.write(nodeapi.RollingBack, func(r *nodeapi.Record) { r.Message = "etcd did not become healthy within 60s on its new certificate" })
		s.write(end, func(r *nodeapi.Record) { r.Message = `"tls: private key does not match public key"` })
		return
	}
	for _, service := range s.step.Restarts {
		s.write(nodeapi.Restarted, func(r *nodeapi.Record) { r.Service, r.UnavailableSeconds = service, 3.2 })
	}
	for _, t := range s.step.Targets {
		s.write(nodeapi.Verified, func(r *nodeapi.Record) {
			r.Evidence = &nodeapi.Evidence{TargetID: t.ID, Service: t.Service, Method: nodeapi.Handshake, Detail: "10.0.0.1 serves it"}
		})
	}
	s.write(nodeapi.Committed, func(r *nodeapi.Record) {
		for _, t := range s.step.Targets {
			old := facts(t.Name, "ca", 0)
			old.NotAfter = t.OldNotAfter
			r.Renewals = append(r.Renewals, inventory.Renewal{ID: t.ID, Old: old, New: facts(t.Name, "ca", 90*day)})
		}
	})
}

func (s *fakeSession) Follow(ctx context.Context, after int64, fn func(nodeapi.Record) error) error {
	for {
		s.Lock()
		records := slices.Clone(s.records)
		s.Unlock()
		for _, r := range records {
			if r.Seq > after {
				if err := fn(r); err != nil {
					return err
				}
				after = r.Seq
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.news:
		}
	}
}

func (*fakeSession) Sign(context.Context, nodeapi.SignRequest) ([]byte, error) {
	return nil, errors.New("it has no CA's key")
}

func (s *fakeSession) Health(_ context.Context, others []inventory.Peer) (inventory.Health, error) {
	h := inventory.Health{Node: s.node, APIServer: s.probe(s.node)}
	for _, p := range others {
		h.Others = append(h.Others, inventory.PeerHealth{Node: p.Node, Probe: *s.probe(p.Node)})
	}
	return h, nil
}

func (s *fakeSession) probe(node string) *inventory.Probe {
	if node == s.unhealthy {
		return &inventory.Probe{Message: "connection refused"}
	}
	return &inventory.Probe{Healthy: true}
}
