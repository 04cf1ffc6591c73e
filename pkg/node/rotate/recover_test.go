package rotate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A process killed at any of its records leaves a node that the next process rolls back
// completely, or that is all new, with a record of it.
func TestKilledAtEveryRecord(t *testing.T) {
	survived := 0
	for count := 1; ; count++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			n := newFakeNode(t)
			before := n.takeSnapshot()
			n.stageServices(plan.RestartAlways, certs.Etcd, certs.KubeScheduler, certs.Kubelet)
			e, r := n.newEngine()
			n.killAt(r, count)
			r.orderAfter(n, nodeapi.Staged, commitOrder)
			r.orderAfter(n, nodeapi.Committed, finish)
			if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
				if err != nil {
					t.Fatal(err)
				}
				ended = true // it got through before its turn came
				return
			}
			committed := len(r.recordsOf(nodeapi.Committed)) > 0
			synctest.Wait()
			n.dead = false
			time.Sleep(5 * time.Second) // the component starts in the meantime
			e, r = n.newEngine()
			n.putOrder(abandon)
			if err := runOrders(t, t.Context(), e); err != nil {
				t.Fatal(err)
			}
			n.isAll(committed, certs.Etcd, certs.KubeScheduler, certs.Kubelet)
			if !committed {
				n.sameAs(before)
			}
			n.stagedIsEmpty()
			if left := r.recordsOf(nodeapi.Unknown); len(left) > 0 {
				t.Errorf("killed at record %d: %s", count, left[0].Message)
			}
			survived++
		})
		if ended || t.Failed() {
			break
		}
	}
	if survived < 20 {
		t.Errorf("killed only %d times: the rotation is not what this test thinks it is", survived)
	}
	t.Logf("killed and recovered %d times", survived)
}

// An interrupted commit is undone whichever rotation comes next, in its own journal.
func TestAnotherRotationRollsBackAnIncompleteCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		n.stageServices(plan.RestartAlways, certs.Etcd)
		e, r := n.newEngine()
		n.killAt(r, 4) // Replaced
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		n.dead = false
		e, r = n.newEngine()
		e.Idle = time.Second
		if err := e.RunOrders(t.Context(), "0ther"); err != nil {
			t.Fatal(err)
		}
		n.sameAs(before)
		for _, rec := range r.all {
			if rec.Rotation != "0ther" {
				t.Errorf("record %s of rotation %q shows among those of another", rec.Kind, rec.Rotation)
			}
		}
		history, token, err := statedir.ReadHistory(n.tree.Root)
		if err != nil || token != 5 || len(history) != 1 {
			t.Fatalf("history %+v, token %d, %v", history, token, err)
		}
		if history[0].ID != rotationID || history[0].State != inventory.RolledBack {
			t.Errorf("the interrupted rotation: %+v", history[0])
		}
	})
}

// A commit that was ordered of a process which died before it began is not begun by the next:
// the gate's checks of the cluster are outdated.
func TestAStaleCommitIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		n.killAt(r, 2)
		// The order is in the inbox when the process dies.
		hook := r.hook
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.Staged {
				n.putOrder(commitOrder)
			}
			hook(rec)
		}
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		n.dead = false
		e, r = n.newEngine()
		n.putOrder(abandon)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if got := r.kindsText(); got != "Refused Abandoned" {
			t.Errorf("records: %s", got)
		}
		n.sameAs(before)
	})
}

func TestARecordThatCannotBeWrittenStopsEverythingAndIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		e, r := n.newEngine()
		s, release, err := e.openSession(t.Context(), rotationID)
		if err != nil {
			t.Fatal(err)
		}
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.Restarting {
				_ = s.writer.Close() // as good as a full disk
			}
		}
		n.stageServices(plan.RestartAlways)
		n.putOrder(commitOrder)
		orders, err := s.rotation.OrdersAfter(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.handleOrder(t.Context(), orders[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.handleOrder(t.Context(), orders[1]); err == nil {
			t.Fatal("the process continues although it cannot write records")
		}
		release()
		n.isAll(false)
		n.sameAs(before)
		// The next process records it.
		e, r = n.newEngine()
		n.putOrder(abandon)
		if err := runOrders(t, context.Background(), e); err != nil {
			t.Fatal(err)
		}
		if len(r.recordsOf(nodeapi.RolledBack)) != 1 {
			t.Errorf("records of the next process: %s", r.kindsText())
		}
		n.sameAs(before)
	})
}
