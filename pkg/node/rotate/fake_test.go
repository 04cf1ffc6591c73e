package rotate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// fakeNode is a kubeadm control-plane node: real files, and components that load them
// when they start, as the real ones do. It is Restarter and Prober at once.
type fakeNode struct {
	t     *testing.T
	tree  *certstest.Tree
	start time.Time // of the test's clock
	// ordered wakes the engine that waits for orders.
	ordered chan struct{}

	reading sync.Mutex
	parsed  map[string]parsedStore // by the certificate's name

	mu      sync.Mutex
	all     map[certs.Service]*fakeComponent
	started []certs.Service // by a restart, in order
	dead    bool            // the process under test was killed: its next request ends it

	// Fields that a test may change:
	breaks    map[certs.Service]bool // cannot start with anything but the old certificates
	stuck     map[certs.Service]bool // once stopped, never starts again
	keepsOld  map[certs.Service]bool // continues to serve its old certificate after a restart
	reloads   bool                   // serving pairs are re-read on every handshake
	rejects   func(c inventory.Certificate, leaf *x509.Certificate) error
	onStop    func(s certs.Service) // called with mu locked, and may end the process that asked
	original  map[string]string     // certificate's name to fingerprint, before any rotation
	unhealthy map[certs.Service]bool
	refuses   map[certs.Service]bool // accepts no client certificate that asks for its health
	backOff   time.Duration          // of static pods
	pause     time.Duration          // of the supervisor before every start, where longer than half a second
	failing   map[certs.Service]bool // was started again and again before the commit
	exits     time.Duration          // how long everything takes to exit
	noKubelet bool                   // it does not run, and no static pod is started while it does not
	startedBy map[certs.Service]inventory.RuntimeKind
	etcdData  []string                         // directories of the member's data
	elsewhere map[certs.Service]bool           // the key of its CA is on another node
	keyUses   map[string][]inventory.KeyUse    // by the certificate's name
	others    map[string][]inventory.OtherUser // by the name of the certificate whose file they read
}

type fakeComponent struct {
	id      int
	running bool
	began   time.Time
	loaded  map[string]*x509.Certificate // by the certificate's name
}

// serves and clients hold the verification of the pairs of a kubeadm node.
var serves = map[string][]string{
	"apiserver": {"127.0.0.1:6443"}, "etcd-server": {"127.0.0.1:2379"}, "etcd-peer": {"10.0.0.11:2380"}, "kubelet-server": {"127.0.0.1:10250"},
}

var clients = map[string]inventory.ClientKind{
	"apiserver-etcd-client": inventory.ToEtcd, "apiserver-kubelet-client": inventory.ToKubelet, "front-proxy-client": inventory.ToAPIServerAsProxy,
	"etcd-healthcheck-client": inventory.ToEtcd, "kubelet-client": inventory.ToAPIServer,
	"scheduler.conf": inventory.ToAPIServer, "controller-manager.conf": inventory.ToAPIServer, "admin.conf": inventory.ToAPIServer,
}

// servers are whom a client certificate authenticates to.
var servers = map[inventory.ClientKind]certs.Service{
	inventory.ToEtcd: certs.Etcd, inventory.ToKubelet: certs.Kubelet,
	inventory.ToAPIServer: certs.KubeAPIServer, inventory.ToAPIServerAsProxy: certs.KubeAPIServer,
}

var owners = map[string]certs.Service{
	"apiserver": certs.KubeAPIServer, "apiserver-etcd-client": certs.KubeAPIServer, "apiserver-kubelet-client": certs.KubeAPIServer,
	"front-proxy-client": certs.KubeAPIServer, "etcd-server": certs.Etcd, "etcd-peer": certs.Etcd, "etcd-healthcheck-client": certs.Etcd,
	"kubelet-client": certs.Kubelet, "kubelet-server": certs.Kubelet, "scheduler.conf": certs.KubeScheduler,
	"controller-manager.conf": certs.KubeControllerManager, "admin.conf": certs.Admin,
}

func newFakeNode(t *testing.T) *fakeNode {
	n := &fakeNode{t: t, tree: certstest.Kubeadm(t, "cp1"), start: time.Now(), ordered: make(chan struct{}, 1), parsed: map[string]parsedStore{}, all: map[certs.Service]*fakeComponent{},
		breaks: map[certs.Service]bool{}, stuck: map[certs.Service]bool{}, keepsOld: map[certs.Service]bool{},
		unhealthy: map[certs.Service]bool{}, refuses: map[certs.Service]bool{}, original: map[string]string{}, elsewhere: map[certs.Service]bool{}, rejects: func(inventory.Certificate, *x509.Certificate) error { return nil }}
	for name := range owners {
		n.original[name] = certs.Fingerprint(n.onDisk(name))
	}
	for _, s := range []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer, certs.KubeScheduler, certs.KubeControllerManager} {
		n.all[s] = &fakeComponent{}
		n.launchService(s)
	}
	return n
}

// clock is certstest.Now plus the time that the test's clock has passed.
func (n *fakeNode) clock() time.Time { return certstest.Now.Add(time.Since(n.start)) }

// onDisk returns the certificate that a component would load. A component refuses a key that
// does not fit.
func (n *fakeNode) onDisk(name string) *x509.Certificate {
	content := n.readStore(name)
	if content.KeyErr != nil {
		n.t.Errorf("read %s: %v", name, content.KeyErr)
	}
	return content.LeafCert()
}

// readStore reads a store. It is parsed again only if its files have changed.
func (n *fakeNode) readStore(name string) store.Content {
	files := n.filesOf(name)
	n.reading.Lock()
	last, known := n.parsed[name]
	n.reading.Unlock()
	if known && files == last.files {
		return last.content
	}
	content, err := store.ReadStore(n.tree.Root, n.tree.Stores[name])
	if err != nil {
		n.t.Fatalf("read %s: %v", name, err)
	}
	if n.filesOf(name) == files { // not replaced meanwhile
		n.reading.Lock()
		n.parsed[name] = parsedStore{files, content}
		n.reading.Unlock()
	}
	return content
}

// parsedStore is what the files of a store hold, and how that was parsed.
type parsedStore struct {
	files   [2]string
	content store.Content
}

// filesOf returns what the files of a store hold; nothing for one that cannot be read.
func (n *fakeNode) filesOf(name string) [2]string {
	s := n.tree.Stores[name]
	cert, _ := n.tree.Root.ReadFile(s.Cert)
	key, _ := n.tree.Root.ReadFile(s.Key)
	return [2]string{string(cert), string(key)}
}

// launchService starts a component: it reads its files, or dies of them.
func (n *fakeNode) launchService(s certs.Service) {
	c := n.all[s]
	c.id++
	c.began = n.clock()
	c.running = !n.stuck[s] || c.id == 1
	loaded := map[string]*x509.Certificate{}
	for name, owner := range owners {
		reads := slices.ContainsFunc(n.others[name], func(u inventory.OtherUser) bool { return certs.Service(u.Name) == s })
		if owner != s && !reads {
			continue
		}
		loaded[name] = n.onDisk(name)
		if n.breaks[s] && certs.Fingerprint(loaded[name]) != n.original[name] {
			c.running = false
		}
	}
	if !n.keepsOld[s] || c.loaded == nil {
		c.loaded = loaded
	}
}

func (n *fakeNode) scanNode(context.Context) (inventory.Node, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := inventory.Node{Name: "cp1", KubeletConf: "/etc/kubernetes/kubelet.conf", CRISocket: "/run/cri.sock", DBusSocket: "/run/dbus.sock", Time: n.clock()}
	node.Rotations, node.Token, _ = statedir.ReadHistory(n.tree.Root) // a damaged journal does not stop a scan
	for s := range n.all {
		if !slices.Contains(certs.Services(), s) {
			continue
		}
		c := inventory.Component{Service: s, Runtime: inventory.StaticPod, ContainerName: string(s), Health: "fake://" + string(s)}
		if s == certs.Kubelet {
			c.Runtime = inventory.Systemd
			c.Unit = "kubelet.service"
		}
		if s == certs.Etcd {
			c.DataDirectories = n.etcdData
		}
		if kind := n.startedBy[s]; kind != "" {
			c.Runtime = kind
			c.PID = 100
		}
		node.Components = append(node.Components, c)
	}
	for name, s := range owners {
		c := inventory.Certificate{Facts: certs.DescribeCertificate(n.readStore(name).LeafCert()), Service: s, UsedBy: []certs.Service{s}, Name: name,
			Store: n.tree.Stores[name], Issuer: issuerFor(name), Status: certs.OK, KeyUses: n.keyUses[name], KeyFile: n.keyFile(name)}
		leaf := n.readStore(name).LeafCert()
		if c.Reason = certs.RefusedSignature(leaf) + certs.RefusedKey(leaf.PublicKey); c.Reason != "" {
			c.Status = certs.Invalid
			c.Refused = true
		}
		for _, a := range serves[name] {
			c.Served = append(c.Served, inventory.Served{Address: a, FingerprintSHA256: certs.Fingerprint(n.all[s].loaded[name])})
		}
		c.OtherUsers = n.others[name]
		if n.elsewhere[s] {
			c.Issuer = n.onlyElsewhere(c.Issuer)
		}
		if kind, ok := clients[name]; ok {
			c.Client = &inventory.Client{Kind: kind, Address: "server-of-" + name}
		}
		node.Certificates = append(node.Certificates, c)
	}
	slices.SortFunc(node.Certificates, func(a, b inventory.Certificate) int { return compareServices(a.Name, b.Name) })
	return node, nil
}

// keyFile is where the key of a certificate really lies.
func (n *fakeNode) keyFile(name string) string {
	s := n.tree.Stores[name]
	file := s.Cert
	switch s.Kind {
	case inventory.Kubeconfig:
		return ""
	case inventory.Pair:
		file = s.Key
	}
	local, err := n.tree.Root.LocalPath(file)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.tree.Root.HostPath(local)
}

func compareServices(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func issuerFor(name string) inventory.Issuer {
	local := func(path string) inventory.Issuer {
		return inventory.Issuer{Kind: inventory.LocalCA, CACert: certstest.PKIDir + path + ".crt", CAKey: certstest.PKIDir + path + ".key"}
	}
	switch name {
	case "etcd-server", "etcd-peer", "etcd-healthcheck-client", "apiserver-etcd-client":
		return local("/etcd/ca")
	case "front-proxy-client":
		return local("/front-proxy-ca")
	case "kubelet-server":
		return inventory.Issuer{Kind: inventory.Throwaway}
	default:
		return local("/ca")
	}
}

// checkAlive ends the caller where the process under test is dead.
func (n *fakeNode) checkAlive() {
	n.mu.Lock()
	dead := n.dead
	n.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

// CurrentInstance implements Restarter.
func (n *fakeNode) CurrentInstance(_ context.Context, c inventory.Component) (component.Instance, error) {
	n.checkAlive()
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.all[c.Service]
	i := component.Instance{ID: fmt.Sprint(c.Service, f.id), Running: f.running, Exited: !f.running, StartedAt: f.began}
	i.Failing = n.failing[c.Service]
	if c.Runtime == inventory.StaticPod {
		i.BackOff = n.backOff
	}
	return i, nil
}

// StopInstance implements Restarter; the supervisor starts the next instance half a second later.
func (n *fakeNode) StopInstance(ctx context.Context, c inventory.Component, i component.Instance) error {
	n.checkAlive()
	select {
	case <-time.After(n.exits):
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	f := n.all[c.Service]
	if i.ID != fmt.Sprint(c.Service, f.id) {
		n.mu.Unlock()
		return errors.New("that instance no longer exists")
	}
	if !f.running && c.Service != certs.Kubelet {
		n.mu.Unlock()
		return nil // its supervisor is at it already
	}
	f.running = false
	n.started = append(n.started, c.Service)
	n.mu.Unlock()
	go n.superviseService(c.Service)
	n.runOnStop(c.Service)
	return nil
}

// runOnStop calls what a test wants done when a component was asked to stop. Its health is still
// probed meanwhile.
func (n *fakeNode) runOnStop(s certs.Service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.onStop != nil {
		n.onStop(s)
	}
}

// superviseService starts a component after a while, again and again until it runs or the test
// ends.
func (n *fakeNode) superviseService(s certs.Service) {
	for {
		select {
		case <-n.t.Context().Done():
			return
		case <-time.After(max(n.pause, 500*time.Millisecond)):
		}
		n.mu.Lock()
		n.noKubelet = n.noKubelet && s != certs.Kubelet
		if !n.all[s].running && !n.noKubelet {
			n.launchService(s)
		}
		running := n.all[s].running
		stuck := n.stuck[s]
		n.mu.Unlock()
		if running || stuck {
			return
		}
	}
}

// AwaitInstance implements Restarter.
func (n *fakeNode) AwaitInstance(ctx context.Context, c inventory.Component, old component.Instance) (component.Instance, error) {
	for {
		now, err := n.CurrentInstance(ctx, c)
		if err != nil || (now.Running && (now.ID != old.ID || !old.Running)) {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ServedCertificate implements Prober.
func (n *fakeNode) ServedCertificate(_ context.Context, address, _ string) (*x509.Certificate, error) {
	n.checkAlive()
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, addresses := range serves {
		f := n.all[owners[name]]
		if !slices.Contains(addresses, address) {
			continue
		}
		if !f.running {
			return nil, errors.New("connection refused")
		}
		if n.reloads {
			f.loaded[name] = n.onDisk(name)
		}
		return f.loaded[name], nil
	}
	return nil, errors.New("no such address")
}

// CheckHealth implements Prober.
func (n *fakeNode) CheckHealth(_ context.Context, _ inventory.Node, c inventory.Component) inventory.Probe {
	n.checkAlive()
	n.mu.Lock()
	defer n.mu.Unlock()
	p := inventory.Probe{Address: c.Health}
	switch s := c.Service; {
	case !n.all[s].running:
		p.Message = "connection refused"
	case n.refuses[s]:
		p.Unasked = true
		p.Message = "no client certificate is accepted"
	case n.unhealthy[s]:
		p.Message = "status 500: not well"
	default:
		p.Healthy = true
	}
	return p
}

// VerifyClient implements Prober.
func (n *fakeNode) VerifyClient(_ context.Context, c inventory.Certificate, m store.Material) (nodeapi.Evidence, error) {
	n.checkAlive()
	if !m.Key.FitsCert(m.Chain[0]) {
		n.t.Errorf("%s presented with a key that is not its own", c.Name)
	}
	n.mu.Lock()
	up := n.all[servers[c.Client.Kind]].running
	n.mu.Unlock()
	if !up {
		return nodeapi.Evidence{}, fmt.Errorf("%w: connection refused", component.ErrCannotVerify)
	}
	if err := n.rejects(c, m.Chain[0]); err != nil {
		return nodeapi.Evidence{}, err
	}
	return nodeapi.Evidence{Method: nodeapi.Authenticated, Detail: c.Client.Address + " accepted it"}, nil
}

var (
	_ Restarter = (*fakeNode)(nil)
	_ Prober    = (*fakeNode)(nil)
)
