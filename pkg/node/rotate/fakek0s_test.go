package rotate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const k0sUnit = "k0scontroller.service"

// fakeK0s is a node on which k0s runs all components as its children. Its unit is active as
// soon as k0s runs; only then it writes new keys and certificates, one file after the other,
// those of etcd last, and starts the components. The kubelet's certificates it does not touch.
type fakeK0s struct {
	*fakeNode
	unit     string
	id       int
	running  bool
	starting bool // systemd is about to start the unit
	began    time.Time
	first    map[string]*x509.Certificate // those from before any rotation, and their keys
	keys     map[string]certs.Key

	// Fields that a test may change:
	keeps    map[string]bool // certificates that it does not make again
	ca       certstest.CA    // signs all certificates except those of etcd and of the front proxy
	validity []certstest.Option
	dies     bool // it exits before it has made anything
	orphans  map[certs.Service]bool
	writes   time.Duration // how long one file takes
	stops    time.Duration // how long it takes to exit
	sameKey  bool          // it keeps the old keys
}

func newFakeK0s(t *testing.T) *fakeK0s {
	n := newFakeNode(t)
	k := &fakeK0s{fakeNode: n, unit: k0sUnit, first: map[string]*x509.Certificate{}, keys: map[string]certs.Key{}, id: 1, running: true, began: n.clock(), keeps: map[string]bool{}, orphans: map[certs.Service]bool{},
		ca: n.tree.CA, writes: 100 * time.Millisecond, stops: 10 * time.Millisecond, validity: []certstest.Option{certstest.Valid(certstest.Now.Add(-5*time.Minute), certstest.Now.AddDate(2, 0, 0))}}
	for name := range owners {
		k.first[name] = n.onDisk(name)
		k.keys[name] = n.readStore(name).Key
	}
	return k
}

func (k *fakeK0s) scanNode(ctx context.Context) (inventory.Node, error) {
	node, err := k.fakeNode.scanNode(ctx)
	if err != nil {
		return node, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range node.Components {
		c := &node.Components[i]
		f := k.all[c.Service]
		*c = inventory.Component{Service: c.Service, Runtime: inventory.Supervised, Unit: k.unit, Health: c.Health}
		if f.running {
			began := f.began
			c.PID = 100*(slices.Index(certs.Services(), c.Service)+1) + f.id
			c.StartedAt = &began
		}
	}
	for i := range node.Certificates {
		c := &node.Certificates[i]
		if c.Service == certs.Kubelet {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			c.Reason = "k0s leaves it to the kubelet"
			continue
		}
		c.Issuer.Kind = inventory.UnitStart
		c.Issuer.Unit = k.unit
	}
	return node, nil
}

// CurrentInstance implements Restarter. A component that runs below another unit is refused, as the
// real one does.
func (k *fakeK0s) CurrentInstance(_ context.Context, c inventory.Component) (component.Instance, error) {
	k.checkAlive()
	if c.Runtime != inventory.Systemd || c.Unit != k.unit {
		return component.Instance{}, fmt.Errorf("restart %s: it is a child process", c.Service)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return component.Instance{ID: fmt.Sprint(k.id), Running: k.running, Exited: !k.running && !k.starting, StartedAt: k.began}, nil
}

// StopInstance implements Restarter.
func (k *fakeK0s) StopInstance(ctx context.Context, c inventory.Component, i component.Instance) error {
	if _, err := k.CurrentInstance(ctx, c); err != nil {
		return err
	}
	k.mu.Lock()
	if i.ID != fmt.Sprint(k.id) {
		k.mu.Unlock()
		return errors.New("that instance no longer exists")
	}
	k.started = append(k.started, certs.Service(c.Unit))
	k.mu.Unlock()
	go k.restartUnit()
	k.runOnStop(certs.Service(c.Unit))
	for {
		now, err := k.CurrentInstance(ctx, c)
		if err != nil || !now.Running || now.ID != i.ID {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// restartUnit does what systemd does when it is asked to, even if the process that asked has
// ended.
func (k *fakeK0s) restartUnit() {
	if !k.sleepFor(k.stops) {
		return
	}
	k.mu.Lock()
	k.running = false
	for s, f := range k.all {
		f.running = f.running && k.orphans[s]
	}
	k.mu.Unlock()
	k.startUnit()
}

// AwaitInstance implements Restarter.
func (k *fakeK0s) AwaitInstance(ctx context.Context, c inventory.Component, old component.Instance) (component.Instance, error) {
	for {
		now, err := k.CurrentInstance(ctx, c)
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

// startUnit is a start of k0s.
func (k *fakeK0s) startUnit() {
	if !k.sleepFor(500 * time.Millisecond) {
		return
	}
	k.mu.Lock()
	k.id++
	k.starting = false
	k.running = !k.dies
	k.began = k.clock()
	dies := k.dies
	k.mu.Unlock()
	if dies {
		return
	}
	names := make([]string, 0, len(owners))
	for name, s := range owners {
		if s != certs.Kubelet && !k.keeps[name] {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return 2*(intOf(issuerFor(a).CACert == certstest.PKIDir+"/etcd/ca.crt")-intOf(issuerFor(b).CACert == certstest.PKIDir+"/etcd/ca.crt")) + compareServices(a, b)
	})
	for _, name := range names {
		if !k.sleepFor(k.writes) {
			return
		}
		k.mu.Lock()
		k.renewPair(name)
		k.mu.Unlock()
	}
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeScheduler, certs.KubeControllerManager, certs.Kubelet} {
		if !k.sleepFor(500 * time.Millisecond) {
			return
		}
		k.mu.Lock()
		if !k.all[s].running {
			k.launchService(s)
		}
		k.mu.Unlock()
	}
}

// sleepFor is false when the test has ended meanwhile.
func (k *fakeK0s) sleepFor(d time.Duration) bool {
	select {
	case <-k.t.Context().Done():
		return false
	case <-time.After(d):
		return true
	}
}

func intOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// renewPair writes a new key and then its certificate, with the subject and names of the old one.
func (k *fakeK0s) renewPair(name string) {
	ca := k.ca
	switch issuerFor(name).CACert {
	case certstest.PKIDir + "/etcd/ca.crt":
		ca = k.tree.EtcdCA
	case certstest.PKIDir + "/front-proxy-ca.crt":
		ca = k.tree.FrontProxyCA
	}
	old := k.first[name]
	is := append([]certstest.Option{certstest.Template(func(c *x509.Certificate) {
		c.Subject = old.Subject
		c.DNSNames = old.DNSNames
		c.IPAddresses = old.IPAddresses
		c.ExtKeyUsage = old.ExtKeyUsage
	})}, k.validity...)
	if k.sameKey {
		is = append(is, certstest.OfKey(k.keys[name]))
	}
	p := ca.Leaf(k.t, is...)
	store := k.tree.Stores[name]
	if store.Kind == inventory.Kubeconfig {
		k.tree.Write(k.t, store.Cert, certstest.Kubeconfig(k.t, ca, store.User, p), 0o600)
		return
	}
	k.tree.WritePair(k.t, store.Cert[:len(store.Cert)-len(".crt")], p)
}

func (k *fakeK0s) newEngine() (*Engine, *records) {
	e, r := k.fakeNode.newEngine()
	e.Scan = k.scanNode
	e.Restarter = k
	return e, r
}

func (k *fakeK0s) stageServices(order nodeapi.Order, services ...certs.Service) {
	k.t.Helper()
	k.stageScanned(k.scanNode, order, services)
}

// stageScanned puts the order to stage some services of the node as a scan finds it.
func (k *fakeK0s) stageScanned(scan func(context.Context) (inventory.Node, error), order nodeapi.Order, services []certs.Service) {
	k.t.Helper()
	node, err := scan(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	step, _, err := planStep(node, plan.Request{Services: services, Restart: plan.RestartAlways, Compromised: order.Compromised})
	if err != nil {
		k.t.Fatal(err)
	}
	order.Kind = nodeapi.OrderStage
	order.Step = step
	order.Restart = plan.RestartAlways
	order.Scope = "test"
	order.StartTime = k.clock()
	k.putOrder(order)
}

// rotateServices carries out a whole rotation of some services.
func (k *fakeK0s) rotateServices(services ...certs.Service) *records {
	k.t.Helper()
	e, r := k.newEngine()
	k.stageServices(nodeapi.Order{}, services...)
	return k.runToEnd(e, r)
}

// runToEnd carries the staged order out, and all that follow from its answers.
func (k *fakeK0s) runToEnd(e *Engine, r *records) *records {
	k.t.Helper()
	r.orderAfter(k.fakeNode, nodeapi.Staged, commitOrder)
	r.orderAfter(k.fakeNode, nodeapi.Committed, finish)
	for _, bad := range []nodeapi.Kind{nodeapi.RolledBack, nodeapi.Unknown, nodeapi.Failed, nodeapi.Refused} {
		r.orderAfter(k.fakeNode, bad, abandon)
	}
	if err := runOrders(k.t, k.t.Context(), e); err != nil {
		k.t.Fatal(err)
	}
	return r
}

// The certificates of k0s on the node, except those that the API signs for the kubelet.
var ofK0s = []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeScheduler, certs.KubeControllerManager, certs.Admin}
