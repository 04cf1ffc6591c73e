package rotate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// damageJournal makes a journal unreadable in its middle, of a rotation that comes first by name.
func (n *fakeNode) damageJournal(id string) {
	n.t.Helper()
	dir := filepath.Join(n.tree.Local(statedir.HostPath), "rotations", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	path := filepath.Join(dir, "journal.jsonl")
	rest, _ := os.ReadFile(path) // none: a new one
	if err := os.WriteFile(path, append([]byte("{\"seq\":1,\n"), rest...), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// With a damaged journal, other rotations are rolled back all the same, at boot or later, and
// the error names the command that removes it.
func TestDamagedJournalOfAnotherRotation(t *testing.T) {
	for name, boot := range map[string]bool{"at boot": true, "by the next process": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				before := n.takeSnapshot()
				n.interruptCommit(certs.Etcd)
				n.damageJournal("000old")
				e, _ := n.newEngine()
				undone, err := e.RecoverNode(t.Context(), boot)
				n.sameAs(before)
				var damaged *statedir.DamagedError
				if !errors.As(err, &damaged) || damaged.Rotation != "000old" || !strings.Contains(hint.TextOf(err), "rotate-certs-node forget 000old") {
					t.Errorf("error: %v", err)
				}
				if len(undone) != 1 || undone[0].Kind != nodeapi.RolledBack {
					t.Errorf("undone: %+v", undone)
				}
				if left := n.recoveryFiles(); len(left) > 0 {
					t.Errorf("the recovery unit stays: %v", left)
				}
			})
		})
	}
}

// Other rotations continue; the operator is warned.
func TestDamagedJournalStopsNoOtherRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.damageJournal("000old")
		e, _ := n.newEngine()
		e.Alone = true
		var warned []string
		e.Warn = func(err error) { warned = append(warned, hint.TextOf(err)) }
		if err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd)
		if len(warned) != 1 || !strings.Contains(warned[0], "forget 000old") {
			t.Errorf("warnings: %v", warned)
		}
		if err := e.RunOrders(t.Context(), "000old"); err == nil {
			t.Error("the rotation with the damaged journal continues")
		}
		if err := e.ForgetRotation(t.Context(), "000old", false); err != nil {
			t.Fatal(err)
		}
		if _, err := e.RecoverNode(t.Context(), false); err != nil {
			t.Errorf("after it was removed: %v", err)
		}
	})
}

// The interrupted commit itself has the damaged journal: at boot its files are put back
// all the same, and it is not forgotten by mistake.
func TestDamagedJournalOfTheInterruptedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		n.interruptCommit(certs.Etcd)
		newOnes := n.takeSnapshot()
		n.damageJournal(rotationID)
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), true); err == nil || !strings.Contains(err.Error(), "the old certificates were restored") {
			t.Errorf("error: %v", err)
		}
		n.sameAs(before)
		// The operator has the new certificates back. A later boot leaves them.
		n.copyBack(newOnes)
		if _, err := e.RecoverNode(t.Context(), true); err == nil || strings.Contains(err.Error(), "were restored") {
			t.Errorf("at a later boot: %v", err)
		}
		n.sameAs(newOnes)
		var incomplete *statedir.IncompleteError
		if err := e.ForgetRotation(t.Context(), rotationID, false); !errors.As(err, &incomplete) {
			t.Errorf("forget: %v", err)
		}
		if err := e.ForgetRotation(t.Context(), rotationID, true); err != nil {
			t.Error(err)
		}
	})
}

// Only the record that ended a commit is damaged: its new certificates are in use, and no
// boot puts the old ones back.
func TestDamagedEndOfACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		rotateAll(n, plan.RestartAlways, certs.Etcd)
		after := n.takeSnapshot()
		journalFile := n.fileState("journal.jsonl")
		data, err := os.ReadFile(journalFile)
		if err != nil {
			t.Fatal(err)
		}
		before, _, found := strings.Cut(string(data), `"kind":"Committed"`)
		if !found {
			t.Fatalf("no record of the commit:\n%s", data)
		}
		if err := os.WriteFile(journalFile, []byte(before+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		e, _ := n.newEngine()
		var damaged *statedir.DamagedError
		if _, err := e.RecoverNode(t.Context(), true); !errors.As(err, &damaged) || !strings.Contains(hint.TextOf(err), "forget "+rotationID) {
			t.Errorf("error: %v", err)
		}
		n.sameAs(after)
	})
}

// copyBack writes a snapshot's files.
func (n *fakeNode) copyBack(files map[string]string) {
	n.t.Helper()
	for path, content := range files {
		if mode := "-rw-------"; strings.HasPrefix(content, "-") {
			if err := os.WriteFile(n.tree.Local(path), []byte(content[len(mode):]), 0o600); err != nil {
				n.t.Fatal(err)
			}
		}
	}
}

// Damaged files of an interrupted commit's backup are named, the intact ones are restored, and
// the next process is not blocked.
func TestDamagedBackup(t *testing.T) {
	for _, file := range []string{"transaction.json", "0/0.saved"} {
		t.Run(file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.interruptCommit(certs.Etcd)
				if err := os.WriteFile(n.fileState("backup/2/"+file), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
				e, _ := n.newEngine()
				if _, err := e.RecoverNode(t.Context(), true); !errors.Is(err, ErrManualInterventionRequired) {
					t.Errorf("error: %v", err)
				}
				if got := n.nodeRotation(); got.State != inventory.Unknown {
					t.Errorf("it stands as %s", got.State)
				}
				e.Idle = time.Second
				if err := e.RunOrders(t.Context(), "0ther"); err != nil {
					t.Errorf("the next process: %v", err)
				}
			})
		})
	}
}
