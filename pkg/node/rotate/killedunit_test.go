package rotate

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// unitNode is a node whose certificates are renewed by its unit or by a command.
type unitNode interface {
	newEngine() (*Engine, *records)
	stageServices(order nodeapi.Order, services ...certs.Service)
}

// recoverByNext runs the process after the one that was killed.
func (n *fakeNode) recoverByNext(of unitNode) *records {
	n.t.Helper()
	n.dead = false
	e, r := of.newEngine()
	n.putOrder(abandon)
	if err := runOrders(n.t, n.t.Context(), e); err != nil {
		n.t.Fatal(err)
	}
	return r
}

// commitKilled commits a service in a process that is killed meanwhile, and returns the records of
// the next process.
func (n *fakeNode) commitKilled(of unitNode, service certs.Service) *records {
	n.t.Helper()
	e, r := of.newEngine()
	of.stageServices(nodeapi.Order{}, service)
	r.orderAfter(n, nodeapi.Staged, commitOrder)
	if err := runOrders(n.t, n.t.Context(), e); !errors.Is(err, errKilled) {
		n.t.Fatal(err)
	}
	return n.recoverByNext(of)
}

// killAtEveryRecord kills a process at each of its records, each time on another node. The next
// process must find out whether the renewal happened, and must not repeat it. actions is how many
// restarts or commands there were, verify checks which certificates are in place.
func killAtEveryRecord[N unitNode](t *testing.T, newNode func(*testing.T) N, fakeOf func(N) *fakeNode, actions func(N) int, verify func(of N, renewed bool)) {
	t.Helper()
	committed := 0
	rolledBack := 0
	for count := 1; ; count++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			of := newNode(t)
			node := fakeOf(of)
			e, r := of.newEngine()
			of.stageServices(nodeapi.Order{}, certs.Etcd)
			node.killAt(r, count)
			r.orderAfter(node, nodeapi.Staged, commitOrder)
			r.orderAfter(node, nodeapi.Committed, finish)
			if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
				ended = true
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			began := len(r.recordsOf(nodeapi.Committing)) > 0 && len(r.recordsOf(nodeapi.Committed)) == 0
			done := actions(of)
			node.dead = false
			boot := &Engine{Root: node.tree.Root, Node: "cp1"}
			if undone, err := boot.RecoverNode(t.Context(), true); err != nil || len(undone) > 0 {
				t.Fatalf("at boot there is nothing to restore: %+v, %v", undone, err)
			}
			r = node.recoverByNext(of)
			if actions(of) != done {
				t.Errorf("repeated: %d actions after %d", actions(of), done)
			}
			verify(of, done > 0)
			switch {
			case !began:
			case done > 0 && len(r.recordsOf(nodeapi.Committed)) == 1:
				committed++
			case done == 0 && len(r.recordsOf(nodeapi.RolledBack)) == 1:
				rolledBack++
			default:
				t.Errorf("killed at record %d: %s %+v", count, r.kindsText(), r.lastRecord())
			}
			node.stagedIsEmpty()
		})
		if ended || t.Failed() {
			break
		}
	}
	if committed < 10 || rolledBack < 3 {
		t.Errorf("%d recovered as committed, %d as rolled back", committed, rolledBack)
	}
}
