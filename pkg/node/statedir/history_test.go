package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func TestHistory(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	if history, token, err := ReadHistory(root); history != nil || token != 0 || err != nil {
		t.Errorf("a node without any: %v, %d, %v", history, token, err)
	}
	if _, err := os.Stat(filepath.Join(string(root), HostPath)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading has created the directory: %v", err)
	}
	d, err := OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	writeRecords(t, openRotation(t, d, "old"), 1, day, nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Committed, nodeapi.Finished)
	writeRecords(t, openRotation(t, d, "new"), 2, day.Add(time.Hour), nodeapi.Staging, nodeapi.Staged, nodeapi.Committing)
	if err := d.PassToken(9, "fenced"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(openRotation(t, d, "old").BackupDir(), "2"), 0o700); err != nil {
		t.Fatal(err)
	}
	history, token, err := ReadHistory(root)
	if err != nil || token != 9 || len(history) != 2 || history[0].ID != "new" {
		t.Fatalf("%+v, %d, %v", history, token, err)
	}
	if history[0].State != inventory.Committing || history[1].State != inventory.Finished {
		t.Errorf("states %s and %s", history[0].State, history[1].State)
	}
	if history[0].Backup || !history[1].Backup {
		t.Errorf("backups %t and %t, want only that of the old one", history[0].Backup, history[1].Backup)
	}
	if _, err := d.KnownRotation("other"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an unknown rotation: %v", err)
	}
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		kinds []nodeapi.Kind
		want  inventory.RotationState
	}{
		{[]nodeapi.Kind{nodeapi.Staging}, inventory.Staging},
		{[]nodeapi.Kind{nodeapi.Staging, nodeapi.Failed}, inventory.Failed},
		{[]nodeapi.Kind{nodeapi.Staging, nodeapi.Staged, nodeapi.Abandoned}, inventory.Staged},
		{[]nodeapi.Kind{nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.RollingBack, nodeapi.RolledBack}, inventory.RolledBack},
		{[]nodeapi.Kind{nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Unknown, nodeapi.Abandoned}, inventory.Unknown},
		{[]nodeapi.Kind{nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Committed, nodeapi.Staging, nodeapi.Failed}, inventory.Committed},
	} {
		var records []nodeapi.Record
		for _, k := range test.kinds {
			records = append(records, nodeapi.Record{Kind: k, Renewals: renewalsOf(k)})
		}
		got := nodeapi.SummarizeRecords("a", records)
		if got.State != test.want {
			t.Errorf("%v: %s, want %s", test.kinds, got.State, test.want)
		}
		if committed := slices.Contains(test.kinds, nodeapi.Committed); (len(got.Renewed) == 1) != committed {
			t.Errorf("%v: renewed %v", test.kinds, got.Renewed)
		}
	}
}

func renewalsOf(k nodeapi.Kind) []inventory.Renewal {
	if k != nodeapi.Committed && k != nodeapi.Staged {
		return nil
	}
	return []inventory.Renewal{{ID: "etcd/etcd-server@/x", New: certs.Facts{SerialNumber: "1"}}}
}

func TestTheLastThreeAreKept(t *testing.T) {
	_, d := openDir(t)
	ended := []nodeapi.Kind{nodeapi.Staging, nodeapi.Committing, nodeapi.Committed, nodeapi.Finished}
	for n := range 6 {
		writeRecords(t, openRotation(t, d, fmt.Sprintf("r%d", n)), 1, day.AddDate(0, 0, 2*n), ended...)
	}
	writeRecords(t, openRotation(t, d, "broken"), 1, day.Add(-time.Hour), nodeapi.Staging, nodeapi.Committing, nodeapi.Unknown)
	if err := os.Mkdir(filepath.Join(d.path, "rotations", ".gone-x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.PruneRotations("r0"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(d.path, "rotations"))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	// The one in progress, the damaged one, and the newest of the others.
	if want := []string{"broken", "r0", "r5"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

// The plugin reads unfinished rotations from all nodes, and only the nodes of the last wave
// have the record that it is finished.
func TestContinuableRotationsAreKept(t *testing.T) {
	_, d := openDir(t)
	ended := []nodeapi.Kind{nodeapi.Staging, nodeapi.Committing, nodeapi.Committed, nodeapi.Finished}
	for n := range 6 {
		r := openRotation(t, d, fmt.Sprintf("r%d", n))
		writeRecords(t, r, 1, day.Add(time.Duration(n)*time.Hour), ended...)
		if err := os.WriteFile(filepath.Join(r.BackupDir(), "key"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.PruneRotations("r5"); err != nil {
		t.Fatal(err)
	}
	rotations, err := d.ListRotations()
	if err != nil {
		t.Fatal(err)
	}
	var finished, backedUp []string
	for _, r := range rotations {
		records, err := r.ReadRecords()
		if err != nil {
			t.Fatal(err)
		}
		if nodeapi.SummarizeRecords(r.ID, records).State == inventory.Finished {
			finished = append(finished, r.ID)
		}
		if _, err := os.Stat(filepath.Join(r.BackupDir(), "key")); err == nil {
			backedUp = append(backedUp, r.ID)
		}
	}
	if want := []string{"r0", "r1", "r2", "r3", "r4", "r5"}; !slices.Equal(finished, want) {
		t.Errorf("known as finished: %v, want %v", finished, want)
	}
	if want := []string{"r3", "r4", "r5"}; !slices.Equal(backedUp, want) {
		t.Errorf("with backups: %v, want %v", backedUp, want)
	}
}

// TestIncompleteCopiesOfEtcdAreRemoved: a complete copy stays as long as the replaced files, and
// one that was interrupted is removed by the next rotation.
func TestIncompleteCopiesOfEtcdAreRemoved(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "killed")
	writeRecords(t, r, 1, day, nodeapi.Staging, nodeapi.Staged, nodeapi.CopyingEtcd)
	for _, dir := range []string{r.EtcdDir(), r.EtcdDir() + PartialSuffix} {
		if err := MkdirAll(filepath.Join(dir, "member")); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.PruneRotations("next"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.EtcdDir()); err != nil {
		t.Errorf("the complete copy: %v", err)
	}
	if _, err := os.Stat(r.EtcdDir() + PartialSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the incomplete copy is still there: %v", err)
	}
}

// TestSignaturesForOthersTakeNoPlaceOfBackups: a node that only signs has nothing to put back.
func TestSignaturesForOthersTakeNoPlaceOfBackups(t *testing.T) {
	_, d := openDir(t)
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	own := openRotation(t, d, "own")
	writeRecords(t, own, 1, begin, nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Committed, nodeapi.Finished)
	if err := MkdirAll(filepath.Join(own.BackupDir(), "2")); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * Kept {
		r := openRotation(t, d, fmt.Sprintf("signed-%d", i))
		writeRecords(t, r, int64(i+2), begin.Add(time.Duration(i+1)*time.Hour), nodeapi.Abandoned)
	}
	if err := d.PruneRotations(""); err != nil {
		t.Fatal(err)
	}
	if !own.hasBackup() {
		t.Error("the replaced files of the node's own rotation are missing")
	}
}
