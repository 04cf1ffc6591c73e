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
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestTerminatedDuringACommitItIsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		ctx, sigterm := context.WithCancel(t.Context())
		n.stageServices(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		before := r.hook
		r.hook = func(rec nodeapi.Record) {
			before(rec)
			if rec.Kind == nodeapi.Restarting {
				sigterm()
			}
		}
		if err := runOrders(t, ctx, e); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd)
		if got := r.kindsText(); !strings.HasSuffix(got, "Committed Abandoned") {
			t.Errorf("records: %s", got)
		}
	})
}

func TestWithoutOrdersItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd)
		begun := time.Now()
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited < nodeapi.IdleTimeout || waited > nodeapi.IdleTimeout+time.Minute {
			t.Errorf("waited %s", waited)
		}
		if got := r.kindsText(); got != "Staging Staged Abandoned" {
			t.Errorf("records: %s", got)
		}
		n.stagedIsEmpty()
	})
}

func TestFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		dir, err := statedir.OpenDir(n.tree.Root)
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.PassToken(6, "newer"); err != nil {
			t.Fatal(err)
		}
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd) // with token 5
		r.orderAfter(n, nodeapi.Refused, nodeapi.Order{Kind: nodeapi.OrderAbandon, Token: 7})
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		refused := r.recordsOf(nodeapi.Refused)
		if len(refused) != 1 || !strings.Contains(refused[0].Message, `token 6 of rotation "newer"`) {
			t.Errorf("records: %s %+v", r.kindsText(), refused)
		}
		n.sameAs(before)
	})
}

func TestOnlyOneProcessWorksOnANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, _ := n.newEngine()
		_, release, err := e.openSession(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		err = e.RunOrders(t.Context(), "second")
		var locked *statedir.LockedError
		if !errors.As(err, &locked) || locked.Holder.Rotation != "first" || locked.Holder.PID != os.Getpid() {
			t.Errorf("error %v, want who holds the lock", err)
		}
		release()
		e.Idle = time.Second
		if err := e.RunOrders(t.Context(), "second"); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		req := plan.Request{Services: []certs.Service{certs.KubeScheduler}, Restart: plan.RestartAlways}
		if err := e.RotateByHand(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.KubeScheduler)
		if r.lastRecord().Kind != nodeapi.Finished || r.lastRecord().Token != 1 {
			t.Errorf("last record: %+v", r.lastRecord())
		}

		n.stuck[certs.KubeScheduler] = true
		if err := e.RotateByHand(t.Context(), req); !errors.Is(err, ErrManualInterventionRequired) {
			t.Errorf("never starts again: %v, want ErrManualInterventionRequired", err)
		}
		req.Services = []certs.Service{certs.KubeProxy}
		if err := e.RotateByHand(t.Context(), req); !errors.Is(err, plan.ErrNothing) {
			t.Errorf("kube-proxy: %v, want ErrNothing", err)
		}
	})
}
