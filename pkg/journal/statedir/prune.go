package statedir

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
)

// Prune forgets all but the last [Kept] rotations, their backups included. It never
// forgets one that is in the middle of its work, nor one that a person must look at,
// nor the one named.
func (d *Dir) Prune(keep string) error {
	if err := d.sweep(); err != nil {
		return fmt.Errorf("forget old rotations: %w", err)
	}
	rotations, err := d.Rotations()
	if err != nil {
		return err
	}
	type candidate struct {
		path string
		last time.Time
	}
	var candidates []candidate
	kept := 0
	for _, r := range rotations {
		records, err := r.Records()
		if err != nil {
			kept++ // damaged: evidence
			continue
		}
		state := journal.Summarize(r.ID, records).State
		if r.ID == keep || state == inventory.Committing || state == inventory.Broken {
			kept++
			continue
		}
		c := candidate{path: r.path}
		if len(records) > 0 {
			c.last = records[len(records)-1].Time
		}
		candidates = append(candidates, c)
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return b.last.Compare(a.last) })
	for i := max(0, Kept-kept); i < len(candidates); i++ {
		if err := forget(candidates[i].path); err != nil {
			return fmt.Errorf("forget rotation %q: %w", filepath.Base(candidates[i].path), err)
		}
	}
	return nil
}

// sweep removes what a crash in [forget] left behind.
func (d *Dir) sweep() error {
	left, err := filepath.Glob(filepath.Join(d.path, "rotations", ".gone-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a directory so that a crash leaves nothing that looks like a
// rotation: its name goes first.
func forget(path string) error {
	gone := filepath.Join(filepath.Dir(path), ".gone-"+filepath.Base(path))
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
