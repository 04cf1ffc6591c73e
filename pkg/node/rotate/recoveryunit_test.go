package rotate

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// committedNode is a fake node with systemd, and a program to keep on it.
func committedNode(t *testing.T) (*fakeNode, string) {
	t.Helper()
	n := newFakeNode(t)
	for _, dir := range []string{systemdRuns, plan.UnitDirectory} {
		if err := os.MkdirAll(n.tree.Local(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	return n, program
}

// recoveryFiles lists the files of the recovery unit that are on a node.
func (n *fakeNode) recoveryFiles() (there []string) {
	for _, file := range []string{unitLink, unitFile, keptProgram} {
		if _, err := os.Lstat(n.tree.Local(file)); err == nil {
			there = append(there, file)
		}
	}
	return there
}

// The recovery unit is installed before the first file is replaced, and removed when the commit
// has its answer.
func TestTheRecoveryUnitIsThereWhileItIsNeeded(t *testing.T) {
	for name, spoil := range map[string]bool{"committed": false, "rolled back": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, program := committedNode(t)
				e, r := n.newEngine()
				e.Program = program
				n.stageServices(plan.RestartAlways, certs.Etcd)
				r.orderAfter(n, nodeapi.Staged, commitOrder)
				r.orderAfter(n, nodeapi.Committed, finish)
				r.orderAfter(n, nodeapi.RolledBack, finish)
				before := r.hook
				r.hook = func(rec nodeapi.Record) {
					before(rec)
					switch rec.Kind {
					case nodeapi.Committing, nodeapi.Replaced, nodeapi.Restarting, nodeapi.RollingBack:
						if there := n.recoveryFiles(); len(there) != 3 {
							t.Errorf("at %s only %q is there", rec.Kind, there)
						}
					case nodeapi.Staged:
						// The program is written ahead; the unit that runs it is not.
						if there := n.recoveryFiles(); !slices.Equal(there, []string{keptProgram}) {
							t.Errorf("%q is there before anything is replaced", there)
						}
					}
					if spoil && rec.Kind == nodeapi.Restarting {
						r.hook = before
						panic("whatever goes wrong")
					}
				}
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if got := len(r.recordsOf(nodeapi.RolledBack)); got != map[bool]int{false: 0, true: 1}[spoil] {
					t.Errorf("records: %s", r.kindsText())
				}
				if there := n.recoveryFiles(); len(there) != 0 {
					t.Errorf("%q was left behind", there)
				}
			})
		})
	}
}

// An abandoned staging leaves no recovery unit behind.
func TestAbandonedStagingKeepsNoProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, program := committedNode(t)
		e, r := n.newEngine()
		e.Program = program
		n.stageServices(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, nodeapi.Staged, nodeapi.Order{Kind: nodeapi.OrderAbandon})
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if there := n.recoveryFiles(); len(there) != 0 {
			t.Errorf("%q was left behind", there)
		}
	})
}

func TestTheRecoveryUnitStartsBeforeEverythingOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, program := committedNode(t)
		e, r := n.newEngine()
		e.Program = program
		n.stageServices(plan.RestartAlways, certs.Etcd)
		n.killAt(r, 4)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		unit, err := os.ReadFile(n.tree.Local(unitFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"Before=kubelet.service", "ExecStart=" + keptProgram + " recover --boot", "ConditionPathExists=" + keptProgram} {
			if !strings.Contains(string(unit), line) {
				t.Errorf("%q is missing in:\n%s", line, unit)
			}
		}
		if kept, err := os.ReadFile(n.tree.Local(keptProgram)); err != nil || string(kept) != "the program" {
			t.Errorf("the kept program is %q, %v", kept, err)
		}
		if to, err := os.Readlink(n.tree.Local(unitLink)); err != nil || to != unitFile {
			t.Errorf("the unit is enabled by a link to %q, %v", to, err)
		}
	})
}

// A node without systemd has none, nor has one whose units cannot be written; the journal
// records it. Any other failure stops the commit before it begins.
func TestWithoutARecoveryUnit(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(n *fakeNode)
		want  string
		said  string
	}{
		"no systemd":     {func(n *fakeNode) { _ = os.RemoveAll(n.tree.Local(systemdRuns)) }, "Committed", "no systemd runs"},
		"units in a way": {func(n *fakeNode) { _ = os.RemoveAll(n.tree.Local(plan.UnitDirectory)) }, "Failed", "install recovery unit"},
		"a file in their place": {func(n *fakeNode) {
			_ = os.RemoveAll(n.tree.Local(plan.UnitDirectory))
			_ = os.WriteFile(n.tree.Local(plan.UnitDirectory), nil, 0o600)
		}, "Failed", "install recovery unit"},
		"a file in the way of the link": {func(n *fakeNode) {
			_ = os.WriteFile(filepath.Dir(n.tree.Local(unitLink)), nil, 0o600)
		}, "Failed", "install recovery unit"},
		"a read-only file system": {func(n *fakeNode) {
			units := n.tree.Local(plan.UnitDirectory)
			err := unix.Mount("tmpfs", units, "tmpfs", unix.MS_RDONLY, "")
			if errors.Is(err, unix.EPERM) {
				n.t.Skip("only a root that may mount can make one")
			}
			if err != nil {
				n.t.Fatal(err)
			}
			n.t.Cleanup(func() { _ = unix.Unmount(units, unix.MNT_DETACH) })
		}, "Committed", "without a recovery unit: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, program := committedNode(t)
				c.spoil(n)
				before := n.takeSnapshot()
				e, r := n.newEngine()
				e.Program = program
				n.stageServices(plan.RestartAlways, certs.Etcd)
				r.orderAfter(n, nodeapi.Staged, commitOrder)
				r.orderAfter(n, nodeapi.Committed, finish)
				r.orderAfter(n, nodeapi.Failed, abandon)
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if len(r.recordsOf(nodeapi.Kind(c.want))) != 1 {
					t.Errorf("want %s in %s", c.want, r.kindsText())
				}
				if c.want == "Failed" {
					n.sameAs(before)
				}
				said := ""
				for _, rec := range r.all {
					said += rec.Message
				}
				if !strings.Contains(said, c.said) {
					t.Errorf("%q is not said: %q", c.said, said)
				}
				if there := n.recoveryFiles(); len(there) != 0 {
					t.Errorf("%q was left behind", there)
				}
			})
		})
	}
}

// At boot nothing runs that could be restarted or asked.
func TestRecoveryAtBootOnlyRestoresFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, program := committedNode(t)
		before := n.takeSnapshot()
		e, r := n.newEngine()
		e.Program = program
		n.stageServices(plan.RestartAlways, certs.Etcd)
		n.killAt(r, 4) // Replaced
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if reflect.DeepEqual(n.takeSnapshot(), before) {
			t.Error("there is nothing to restore, so the test is void")
		}
		boot := &Engine{Root: n.tree.Root, Node: "cp1"} // whom to ask or to restart it does not even know
		undone, err := boot.RecoverNode(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if len(undone) != 1 || undone[0].Kind != nodeapi.RolledBack || !strings.Contains(undone[0].Message, "not verified yet") {
			t.Errorf("%+v", undone)
		}
		n.dead = false
		n.sameAs(before)
		if there := n.recoveryFiles(); len(there) != 0 {
			t.Errorf("%q was left behind", there)
		}
		if undone, err := boot.RecoverNode(t.Context(), true); err != nil || len(undone) != 0 {
			t.Errorf("a second recovery did %+v, %v", undone, err)
		}
	})
}

func TestRecoveryRefusesDuringARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := committedNode(t)
		e, _ := n.newEngine()
		if undone, err := e.RecoverNode(t.Context(), false); err != nil || len(undone) != 0 {
			t.Errorf("on a node that never saw a rotation it did %+v, %v", undone, err)
		}
		if _, err := os.Stat(n.tree.Local(statedir.HostPath)); err == nil {
			t.Error("it made a state directory where there was none")
		}
		_, release, err := e.openSession(t.Context(), rotationID)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		var locked *statedir.LockedError
		if _, err := e.RecoverNode(t.Context(), false); !errors.As(err, &locked) {
			t.Errorf("it did not notice: %v", err)
		}
	})
}
