package rotate

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/journal/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A process killed at any of its records leaves a node that the next process makes
// all old, or that is all new and says so.
func TestKilledAtEveryRecord(t *testing.T) {
	survived := 0
	for count := 1; ; count++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			n := newFakeNode(t)
			before := n.snapshot()
			n.stage(plan.RestartAlways, certs.Etcd, certs.KubeScheduler, certs.Kubelet)
			e, r := n.engine()
			n.killAt(r, count)
			r.orderAfter(n, journal.Staged, commitOrder)
			r.orderAfter(n, journal.Committed, finish)
			if err := run(t, t.Context(), e); !errors.Is(err, errKilled) {
				if err != nil {
					t.Fatal(err)
				}
				ended = true // it got through before its turn came
				return
			}
			committed := len(r.of(journal.Committed)) > 0
			synctest.Wait()
			n.dead = false
			time.Sleep(5 * time.Second) // what was being restarted starts meanwhile
			e, r = n.engine()
			n.order(abandon)
			if err := run(t, t.Context(), e); err != nil {
				t.Fatal(err)
			}
			n.isAll(committed, certs.Etcd, certs.KubeScheduler, certs.Kubelet)
			if !committed {
				n.sameAs(before)
			}
			n.stagedIsEmpty()
			if left := r.of(journal.Broken); len(left) > 0 {
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
func TestAnotherRotationUndoesWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.snapshot()
		n.stage(plan.RestartAlways, certs.Etcd)
		e, r := n.engine()
		n.killAt(r, 4) // Swapped
		r.orderAfter(n, journal.Staged, commitOrder)
		if err := run(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		n.dead = false
		e, r = n.engine()
		e.Idle = time.Second
		if err := e.Run(t.Context(), "0ther"); err != nil {
			t.Fatal(err)
		}
		n.sameAs(before)
		for _, rec := range r.all {
			if rec.Rotation != "0ther" {
				t.Errorf("record %s of rotation %q shows among those of another", rec.Kind, rec.Rotation)
			}
		}
		history, token, err := statedir.History(n.tree.Root)
		if err != nil || token != 5 || len(history) != 1 {
			t.Fatalf("history %+v, token %d, %v", history, token, err)
		}
		if history[0].ID != rotationID || history[0].State != inventory.RolledBack {
			t.Errorf("the interrupted rotation: %+v", history[0])
		}
	})
}

func TestTerminatedDuringACommitItGoesOnToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.engine()
		ctx, sigterm := context.WithCancel(t.Context())
		n.stage(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, journal.Staged, commitOrder)
		before := r.hook
		r.hook = func(rec journal.Record) {
			before(rec)
			if rec.Kind == journal.Restarting {
				sigterm()
			}
		}
		if err := run(t, ctx, e); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd)
		if got := r.kinds(); !strings.HasSuffix(got, "Committed Abandoned") {
			t.Errorf("records: %s", got)
		}
	})
}

func TestWithoutOrdersItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.engine()
		n.stage(plan.RestartAlways, certs.Etcd)
		begun := time.Now()
		if err := run(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited < DefaultIdle || waited > DefaultIdle+time.Minute {
			t.Errorf("waited %s", waited)
		}
		if got := r.kinds(); got != "Staging Staged Abandoned" {
			t.Errorf("records: %s", got)
		}
		n.stagedIsEmpty()
	})
}

func TestFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.snapshot()
		dir, err := statedir.Open(n.tree.Root)
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Pass(6, "newer"); err != nil {
			t.Fatal(err)
		}
		e, r := n.engine()
		n.stage(plan.RestartAlways, certs.Etcd) // with token 5
		r.orderAfter(n, journal.Refused, plan.Order{Kind: plan.OrderAbandon, Token: 7})
		if err := run(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		refused := r.of(journal.Refused)
		if len(refused) != 1 || !strings.Contains(refused[0].Message, `token 6 of rotation "newer"`) {
			t.Errorf("records: %s %+v", r.kinds(), refused)
		}
		n.sameAs(before)
	})
}

// A commit that was ordered of a process which died before it began is not begun by
// the next: nobody has asked lately whether the cluster can bear it.
func TestAStaleCommitIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.snapshot()
		e, r := n.engine()
		n.stage(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, journal.Staged, commitOrder)
		n.killAt(r, 2)
		// The order is in the inbox when the process dies.
		hook := r.hook
		r.hook = func(rec journal.Record) {
			if rec.Kind == journal.Staged {
				n.order(commitOrder)
			}
			hook(rec)
		}
		if err := run(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		n.dead = false
		e, r = n.engine()
		n.order(abandon)
		if err := run(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if got := r.kinds(); got != "Refused Abandoned" {
			t.Errorf("records: %s", got)
		}
		n.sameAs(before)
	})
}

func TestOnlyOneProcessWorksOnANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, _ := n.engine()
		_, release, err := e.open(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		err = e.Run(t.Context(), "second")
		var locked *statedir.LockedError
		if !errors.As(err, &locked) || locked.Holder.Rotation != "first" || locked.Holder.PID != os.Getpid() {
			t.Errorf("error %v, want who holds the lock", err)
		}
		release()
		e.Idle = time.Second
		if err := e.Run(t.Context(), "second"); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.engine()
		req := plan.Request{Services: []certs.Service{certs.KubeScheduler}, Restart: plan.RestartAlways}
		if err := e.ByHand(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.KubeScheduler)
		if r.last().Kind != journal.Finished || r.last().Token != 1 {
			t.Errorf("last record: %+v", r.last())
		}

		n.stuck[certs.KubeScheduler] = true
		if err := e.ByHand(t.Context(), req); !errors.Is(err, ErrNeedsPerson) {
			t.Errorf("never starts again: %v, want ErrNeedsPerson", err)
		}
		req.Services = []certs.Service{certs.KubeProxy}
		if err := e.ByHand(t.Context(), req); !errors.Is(err, plan.ErrNothing) {
			t.Errorf("kube-proxy: %v, want ErrNothing", err)
		}
	})
}
