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
		e, r := n.engine()
		ctx, sigterm := context.WithCancel(t.Context())
		n.stage(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		before := r.hook
		r.hook = func(rec nodeapi.Record) {
			before(rec)
			if rec.Kind == nodeapi.Restarting {
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
		r.orderAfter(n, nodeapi.Refused, nodeapi.Order{Kind: nodeapi.OrderAbandon, Token: 7})
		if err := run(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		refused := r.of(nodeapi.Refused)
		if len(refused) != 1 || !strings.Contains(refused[0].Message, `token 6 of rotation "newer"`) {
			t.Errorf("records: %s %+v", r.kinds(), refused)
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
		if r.last().Kind != nodeapi.Finished || r.last().Token != 1 {
			t.Errorf("last record: %+v", r.last())
		}

		n.stuck[certs.KubeScheduler] = true
		if err := e.ByHand(t.Context(), req); !errors.Is(err, ErrManualInterventionRequired) {
			t.Errorf("never starts again: %v, want ErrManualInterventionRequired", err)
		}
		req.Services = []certs.Service{certs.KubeProxy}
		if err := e.ByHand(t.Context(), req); !errors.Is(err, plan.ErrNothing) {
			t.Errorf("kube-proxy: %v, want ErrNothing", err)
		}
	})
}
