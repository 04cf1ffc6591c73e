package statedir

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// PruneRotations removes all but the last [Kept] rotations, including their backups. It keeps
// rotations in progress, those that require manual intervention, and the one named. Of a
// rotation that could still be continued it keeps the journal: it may be the only one with the
// record that the rotation has finished.
func (d *Dir) PruneRotations(keep string) error {
	if err := d.removeLeftovers(); err != nil {
		return fmt.Errorf("forget old rotations: %w", err)
	}
	rotations, err := d.ListRotations()
	if err != nil {
		return err
	}
	type candidate struct {
		*Rotation
		last time.Time
	}
	var newest time.Time // the current time, by the newest record
	var candidates []candidate
	kept := 0
	for _, r := range rotations {
		records, err := r.ReadRecords()
		if err != nil {
			kept++ // damaged: evidence
			continue
		}
		state := nodeapi.SummarizeRecords(r.ID, records).State
		newest = laterOf(newest, lastOf(records))
		if r.ID == keep || state == inventory.Committing || state == inventory.Unknown {
			kept++
			continue
		}
		candidates = append(candidates, candidate{r, lastOf(records)})
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return b.last.Compare(a.last) })
	// Rotations in which this node changed nothing, such as those for which it only signed, take
	// no place of those with files to put back.
	places := map[bool]int{true: kept, false: kept}
	for _, c := range candidates {
		withFiles := c.hasBackup()
		if places[withFiles]++; places[withFiles] <= Kept {
			continue
		}
		err := c.removeFiles()
		if err == nil && newest.Sub(c.last) > plan.ResumeWithin {
			err = removeDir(c.path)
		}
		if err != nil {
			return fmt.Errorf("forget rotation %q: %w", c.ID, err)
		}
	}
	return nil
}

// IncompleteError means that a rotation began to replace certificates, and that no record shows
// its end.
type IncompleteError struct{ Rotation string }

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("rotation %q began to replace certificates, and no record shows the end", e.Rotation)
}

// Hint returns the next step; see package hint.
func (e *IncompleteError) Hint() string {
	return "run \"rotate-certs-node recover\" first; where its journal is damaged, verify this node's certificates and add --force"
}

// ForgetRotation removes a rotation from the node's state: journal, backups and staged files.
// If the rotation is incomplete it fails with an [*IncompleteError], unless forced. The caller
// holds the lock.
func (d *Dir) ForgetRotation(id string, force bool) error {
	r, err := d.rotationOf(id)
	if err != nil {
		return err
	}
	if _, err := os.Stat(r.path); err != nil {
		return fmt.Errorf("forget rotation %q: it is not known on this node", id)
	}
	if nodeapi.IncompleteCommit(r.SalvageRecords()) != nil && !force {
		return &IncompleteError{id}
	}
	if err := removeDir(r.path); err != nil {
		return fmt.Errorf("forget rotation %q: %w", id, err)
	}
	return nil
}

func lastOf(records []nodeapi.Record) time.Time {
	if len(records) == 0 {
		return time.Time{}
	}
	return records[len(records)-1].Time
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// removeFiles removes old keys, new ones that are not in use, and a copy of etcd's data.
func (r *Rotation) removeFiles() error {
	for _, dir := range []string{r.BackupDir(), r.StagedDir(), r.EtcdDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return SyncDir(r.path)
}

// removeLeftovers removes directories that a killed process left behind: those that [removeDir] had
// begun to remove, and incomplete copies of etcd's data.
func (d *Dir) removeLeftovers() error {
	for _, pattern := range []string{".gone-*", "*/etcd" + PartialSuffix} {
		left, err := filepath.Glob(filepath.Join(d.path, "rotations", pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDir removes a directory so that a crash leaves nothing with the name of a rotation: it
// is renamed first.
func removeDir(path string) error {
	gone := filepath.Join(filepath.Dir(path), ".gone-"+filepath.Base(path))
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
