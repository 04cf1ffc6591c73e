package rotate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const rotationID = "7f3c2a"

// records collects the records that an engine writes, and may react.
type records struct {
	mu   sync.Mutex
	all  []nodeapi.Record
	hook func(nodeapi.Record) // called for each
}

func (r *records) Write(line []byte) (int, error) {
	var rec nodeapi.Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.all = append(r.all, rec)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(rec)
	}
	return len(line), nil
}

func (r *records) kindsText() string {
	var out []string
	for _, rec := range r.all {
		out = append(out, string(rec.Kind))
	}
	return strings.Join(out, " ")
}

func (r *records) recordsOf(kind nodeapi.Kind) []nodeapi.Record {
	var out []nodeapi.Record
	for _, rec := range r.all {
		if rec.Kind == kind {
			out = append(out, rec)
		}
	}
	return out
}

func (r *records) lastRecord() nodeapi.Record {
	if len(r.all) == 0 {
		return nodeapi.Record{}
	}
	return r.all[len(r.all)-1]
}

// newEngine is an engine on a fake node, whose clock is the test's.
func (n *fakeNode) newEngine() (*Engine, *records) {
	r := &records{}
	return &Engine{
		Root: n.tree.Root, Node: "cp1", Scan: n.scanNode, Restarter: n, Prober: n, Records: r,
		Now: func() time.Time {
			n.checkAlive() // asked before every record: the dead write none
			return n.clock()
		},
		LastLog: func(_ context.Context, c inventory.Component) []string {
			return []string{"panic: bad certificate in " + string(c.Service)}
		},
		waitOrders: func(ctx context.Context, r *statedir.Rotation, after int64) ([]statedir.Order, error) {
			for {
				if orders, err := r.OrdersAfter(after); err != nil || len(orders) > 0 {
					return orders, err
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-n.ordered:
				}
			}
		},
	}, r
}

// planStep plans some services of the node; none: all.
func (n *fakeNode) planStep(policy plan.RestartPolicy, services ...certs.Service) *plan.Step {
	n.t.Helper()
	if len(services) == 0 {
		services = certs.Services()
	}
	node, err := n.scanNode(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	node.Known.ControlPlane = true
	p, err := plan.BuildPlan([]inventory.Node{node, n.otherNode()}, plan.Request{Services: services, Restart: policy, Nodes: []string{"cp1"}}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return &p.AllSteps()[0]
}

// putOrder puts an order into the node's inbox.
func (n *fakeNode) putOrder(o nodeapi.Order) {
	n.t.Helper()
	dir, err := statedir.OpenDir(n.tree.Root)
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := dir.OpenRotation(rotationID)
	if err != nil {
		n.t.Fatal(err)
	}
	o.Rotation = rotationID
	if o.Token == 0 {
		o.Token = 5
	}
	if o.ID == "" {
		o.ID = rand.Text()
	}
	if _, err := r.PutOrder(o); err != nil {
		n.t.Fatal(err)
	}
	select {
	case n.ordered <- struct{}{}:
	default: // the engine has not read the inbox since the last order
	}
}

func (n *fakeNode) stageServices(policy plan.RestartPolicy, services ...certs.Service) {
	n.t.Helper()
	n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: n.planStep(policy, services...), Restart: policy, Scope: "test", StartTime: n.clock()})
}

// orderAfter gives an order as soon as a record of a kind is written.
func (r *records) orderAfter(n *fakeNode, kind nodeapi.Kind, orders ...nodeapi.Order) {
	before := r.hook
	r.hook = func(rec nodeapi.Record) {
		if before != nil {
			before(rec)
		}
		if rec.Kind == kind {
			for _, o := range orders {
				n.putOrder(o)
			}
		}
	}
}

// runOrders runs an engine as a process of its own would: it may be killed.
func runOrders(t *testing.T, ctx context.Context, e *Engine) error { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	err := errKilled
	var done sync.WaitGroup
	done.Go(func() { err = e.RunOrders(ctx, rotationID) })
	done.Wait()
	return err
}

var errKilled = os.ErrProcessDone

// killAt ends the process at its n-th record.
func (n *fakeNode) killAt(r *records, count int) {
	r.hook = func(nodeapi.Record) {
		r.mu.Lock()
		now := len(r.all) >= count
		r.mu.Unlock()
		if now {
			n.killProcess()
		}
	}
}

// killProcess ends the process whose goroutine calls this.
func (n *fakeNode) killProcess() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.killProcessLocked()
}

// killProcessLocked is killProcess with mu locked.
func (n *fakeNode) killProcessLocked() {
	n.dead = true
	runtime.Goexit()
}

// isVerified reports whether there is evidence of a kind for the certificate whose ID contains
// a text.
func (r *records) isVerified(name string, method nodeapi.Method) bool {
	for _, rec := range r.recordsOf(nodeapi.Verified) {
		if strings.Contains(rec.Evidence.TargetID, "/"+name) && rec.Evidence.Method == method {
			return true
		}
	}
	return false
}

func (r *records) indexOf(kind nodeapi.Kind, s certs.Service) int {
	for n, rec := range r.all {
		if rec.Kind == kind && rec.Service == s {
			return n
		}
	}
	return -1
}

func (r *records) indexVerified(name string) int {
	for n, rec := range r.all {
		if rec.Kind == nodeapi.Verified && strings.Contains(rec.Evidence.TargetID, "/"+name) {
			return n
		}
	}
	return -1
}
