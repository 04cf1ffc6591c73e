package statedir

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func openDir(t *testing.T) (hostfs.Root, *Dir) {
	t.Helper()
	root := hostfs.Root(t.TempDir())
	d, err := OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, d
}

func openRotation(t *testing.T, d *Dir, id string) *Rotation {
	t.Helper()
	r, err := d.OpenRotation(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeRecords appends records of some kinds, a second apart.
func writeRecords(t *testing.T, r *Rotation, token int64, begin time.Time, kinds ...nodeapi.Kind) {
	t.Helper()
	w, err := r.OpenWriter("cp1", func() time.Time { begin = begin.Add(time.Second); return begin })
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if _, err := w.AppendRecord(nodeapi.Record{Kind: k, Token: token}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

var day = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

func TestEverythingIsForRootOnly(t *testing.T) {
	root, d := openDir(t)
	writeRecords(t, openRotation(t, d, "a"), 1, day, nodeapi.Staging)
	if _, err := openRotation(t, d, "a").PutOrder(nodeapi.Order{Kind: nodeapi.OrderCommit, Rotation: "a"}); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(filepath.Join(string(root), HostPath), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAJournalContinuesItsSequence(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	writeRecords(t, r, 1, day, nodeapi.Staging, nodeapi.Staged)
	writeRecords(t, r, 1, day, nodeapi.Committing)
	records, err := r.ReadRecords()
	if err != nil {
		t.Fatal(err)
	}
	for n, rec := range records {
		if rec.Seq != int64(n+1) || rec.Node != "cp1" || rec.Rotation != "a" {
			t.Errorf("record %d: %+v", n, rec)
		}
	}
	if len(records) != 3 {
		t.Errorf("%d records, want 3", len(records))
	}
}

// If any part of a line reached the disk, the lines before it are valid, and the next record is
// complete.
func TestATornLastLineIsToleratedAtEveryByte(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	writeRecords(t, r, 1, day, nodeapi.Staging, nodeapi.Staged)
	whole, err := os.ReadFile(r.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for size := first; size < len(whole); size++ {
		if err := os.WriteFile(r.journalPath(), whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if records, err := r.ReadRecords(); err != nil || len(records) != 1 {
			t.Fatalf("cut at byte %d: %d records, %v", size, len(records), err)
		}
		writeRecords(t, r, 1, day, nodeapi.Committing)
		records, err := r.ReadRecords()
		if err != nil || len(records) != 2 || records[1].Kind != nodeapi.Committing || records[1].Seq != 2 {
			t.Fatalf("continued after byte %d: %+v, %v", size, records, err)
		}
	}
}

func TestDamageInTheMiddleIsNotTolerated(t *testing.T) {
	root, d := openDir(t)
	r := openRotation(t, d, "a")
	writeRecords(t, r, 1, day, nodeapi.Staging)
	whole, err := os.ReadFile(r.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.journalPath(), append([]byte("{\"seq\":\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadRecords(); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v, want one that names the line", err)
	}
	// The others are still returned.
	writeRecords(t, openRotation(t, d, "b"), 4, day, nodeapi.Staging)
	history, token, err := ReadHistory(root)
	if err == nil || len(history) != 1 || token != 4 {
		t.Errorf("history %+v, token %d, error %v", history, token, err)
	}
}

func TestAnErrorEndsTheWriting(t *testing.T) {
	_, d := openDir(t)
	w, err := openRotation(t, d, "a").OpenWriter("cp1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.f.Close(); err != nil {
		t.Fatal(err)
	}
	_, first := w.AppendRecord(nodeapi.Record{Kind: nodeapi.Staging})
	_, second := w.AppendRecord(nodeapi.Record{Kind: nodeapi.Staged})
	if first == nil || !errors.Is(second, first) {
		t.Errorf("errors %v and %v", first, second)
	}
}

func TestARotationsNameIsNoPath(t *testing.T) {
	_, d := openDir(t)
	for _, id := range []string{"", "..", "a/b", "../x", "-a", ".gone-a", "A", strings.Repeat("a", 64)} {
		if _, err := d.OpenRotation(id); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v, want ErrBadID", id, err)
		}
	}
}

func TestFence(t *testing.T) {
	_, d := openDir(t)
	for _, test := range []struct {
		token    int64
		rotation string
		passes   bool
	}{
		{3, "a", true}, {3, "a", true}, {2, "a", false}, {3, "b", false}, {4, "b", true}, {3, "a", false}, {5, "a", true},
	} {
		err := d.PassToken(test.token, test.rotation)
		var fenced *FencedError
		if (err == nil) != test.passes || (err != nil && !errors.As(err, &fenced)) {
			t.Errorf("token %d of %s: %v", test.token, test.rotation, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	line, err := json.Marshal(nodeapi.Record{Seq: 1, Kind: nodeapi.Staging})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, '\n'))
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, size, err := parseLines("a", data)
		if err == nil && (size > int64(len(data)) || (size > 0 && data[size-1] != '\n')) {
			t.Errorf("%d records in %d of %d bytes", len(records), size, len(data))
		}
		nodeapi.SummarizeRecords("a", records)
	})
}

// A kubelet makes the directory for the mount of a pod, readable for all users.
func TestOnlyRootCanReadTheState(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	local := filepath.Join(string(root), HostPath)
	if err := os.MkdirAll(local, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(root); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(local)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
