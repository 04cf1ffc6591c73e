package rotate

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// rebootedNode is a node whose power went in mid-commit: the old files are back, and its
// components have started on them.
func rebootedNode(t *testing.T, change ...func(*fakeNode)) *fakeNode {
	t.Helper()
	n, program := committedNode(t)
	for _, f := range change {
		f(n)
	}
	e, r := n.newEngine()
	e.Program = program
	n.stageServices(plan.RestartAlways, certs.Etcd)
	n.killAt(r, 4) // Replaced
	r.orderAfter(n, nodeapi.Staged, commitOrder)
	if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	boot := &Engine{Root: n.tree.Root, Node: "cp1"}
	if _, err := boot.RecoverNode(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	n.dead = false
	for s := range n.all {
		n.launchService(s)
	}
	return n
}

func (n *fakeNode) isUnverified() bool {
	n.t.Helper()
	history, _, err := statedir.ReadHistory(n.tree.Root)
	if err != nil || len(history) != 1 || history[0].State != inventory.RolledBack {
		n.t.Fatalf("history %+v, %v", history, err)
	}
	return history[0].Unverified
}

// Certificates that were restored at boot are unverified until the next process on the node
// verifies them.
func TestRestoredAtBootIsVerifiedLater(t *testing.T) {
	for name, next := range map[string]func(*testing.T, *Engine) error{
		"by another rotation":  func(t *testing.T, e *Engine) error { e.Idle = time.Second; return e.RunOrders(t.Context(), "0ther") },
		"by the same rotation": func(t *testing.T, e *Engine) error { e.Idle = time.Second; return e.RunOrders(t.Context(), rotationID) },
		"by hand":              func(t *testing.T, e *Engine) error { _, err := e.RecoverNode(t.Context(), false); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := rebootedNode(t)
				before := n.takeSnapshot()
				if !n.isUnverified() {
					t.Fatal("nothing says that it is not verified yet")
				}
				e, _ := n.newEngine()
				if err := next(t, e); err != nil {
					t.Fatal(err)
				}
				if n.isUnverified() {
					t.Error("it was not verified")
				}
				records, err := statedir.ReadRecords(n.tree.Root, rotationID)
				if err != nil {
					t.Fatal(err)
				}
				said := ""
				for _, rec := range records {
					said += rec.Message
				}
				for _, words := range []string{"etcd is healthy", "127.0.0.1:2379 serves", "10.0.0.11:2380 serves"} {
					if !strings.Contains(said, words) {
						t.Errorf("no record says %q: %s", words, said)
					}
				}
				if len(n.started) > 0 {
					t.Errorf("%v were restarted without a gate", n.started)
				}
				n.sameAs(before)
			})
		})
	}
}

// A failed verification is recorded with its reason, and repeated by the next process.
func TestRestoredAtBootAndNotInUse(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(n *fakeNode)
		fix   func(n *fakeNode)
		said  string
	}{
		"a component is unhealthy": {
			func(n *fakeNode) { n.unhealthy[certs.Etcd] = true },
			func(n *fakeNode) { n.unhealthy[certs.Etcd] = false }, "etcd is unhealthy",
		},
		"another certificate is shown": {
			func(n *fakeNode) { n.all[certs.Etcd].loaded["etcd-peer"] = n.onDisk("apiserver") },
			func(n *fakeNode) { n.launchService(certs.Etcd) }, "10.0.0.11:2380 does not serve etcd-peer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := rebootedNode(t)
				c.spoil(n)
				e, _ := n.newEngine()
				undone, err := e.RecoverNode(t.Context(), false)
				if err != nil || len(undone) != 1 || !strings.Contains(undone[0].Message, c.said) {
					t.Errorf("%+v, %v", undone, err)
				}
				if !n.isUnverified() {
					t.Error("it is called verified")
				}
				c.fix(n)
				if _, err := e.RecoverNode(t.Context(), false); err != nil {
					t.Fatal(err)
				}
				if n.isUnverified() {
					t.Error("it was not tried again")
				}
				if undone, err := e.RecoverNode(t.Context(), false); err != nil || len(undone) > 0 {
					t.Errorf("once verified, it is verified again: %+v, %v", undone, err)
				}
			})
		})
	}
}
