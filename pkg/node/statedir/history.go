package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// ReadHistory returns the rotations of a node's journals, newest first, and the highest fencing
// token. It changes nothing; a node without any rotation has none. A damaged journal is an
// error in addition to the other rotations.
func ReadHistory(root hostfs.Root) ([]inventory.NodeRotation, int64, error) {
	d, err := dirAt(root)
	if err != nil {
		return nil, 0, err
	}
	fence, err := d.ReadFence()
	problems := []error{err}
	rotations, err := d.ListRotations()
	problems = append(problems, err)
	token := fence.Token
	var out []inventory.NodeRotation
	for _, r := range rotations {
		records, err := r.ReadRecords()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if len(records) == 0 {
			continue
		}
		summary := nodeapi.SummarizeRecords(r.ID, records)
		summary.Backup = r.hasBackup()
		token = max(token, summary.Token)
		if summary.State != "" { // otherwise nothing was ever begun
			out = append(out, summary)
		}
	}
	slices.SortStableFunc(out, func(a, b inventory.NodeRotation) int { return b.StartTime.Compare(a.StartTime) })
	return out, token, errors.Join(problems...)
}

// hasBackup reports whether files that the rotation has replaced are still kept.
func (r *Rotation) hasBackup() bool {
	entries, err := os.ReadDir(r.BackupDir())
	return err == nil && len(entries) > 0
}

// ListRotations returns every rotation whose journal the node keeps, by name.
func (d *Dir) ListRotations() ([]*Rotation, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, "rotations"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list rotations: %w", err)
	}
	var out []*Rotation
	for _, e := range entries {
		if r, err := d.rotationOf(e.Name()); err == nil && e.IsDir() {
			out = append(out, r)
		}
	}
	return out, nil
}

// ReadRecords returns the records of one rotation in this node's journal; none if the node had
// no part in it. It changes nothing.
func ReadRecords(root hostfs.Root, id string) ([]nodeapi.Record, error) {
	d, err := dirAt(root)
	if err != nil {
		return nil, err
	}
	r, err := d.rotationOf(id)
	if err != nil {
		return nil, err
	}
	return r.ReadRecords()
}
