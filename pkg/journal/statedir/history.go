package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
)

// History returns what a node's journals know of rotations, newest first, and the
// highest fencing token. It changes nothing; a node that never saw a rotation has
// none. A damaged journal is an error beside what the others tell.
func History(root hostfs.Root) ([]inventory.Rotation, int64, error) {
	d, err := at(root)
	if err != nil {
		return nil, 0, err
	}
	fence, err := d.Fence()
	problems := []error{err}
	rotations, err := d.Rotations()
	problems = append(problems, err)
	token := fence.Token
	var out []inventory.Rotation
	for _, r := range rotations {
		records, err := r.Records()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if len(records) == 0 {
			continue
		}
		summary := Summarize(r.ID, records)
		token = max(token, summary.Token)
		if summary.State != "" { // else nothing was ever begun
			out = append(out, summary)
		}
	}
	slices.SortStableFunc(out, func(a, b inventory.Rotation) int { return b.StartTime.Compare(a.StartTime) })
	return out, token, errors.Join(problems...)
}

// Rotations returns every rotation that the node remembers, by name.
func (d *Dir) Rotations() ([]*Rotation, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, "rotations"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list rotations: %w", err)
	}
	var out []*Rotation
	for _, e := range entries {
		if r, err := d.rotation(e.Name()); err == nil && e.IsDir() {
			out = append(out, r)
		}
	}
	return out, nil
}

// stateOf maps records to the state that they leave a rotation in.
var stateOf = map[journal.Kind]inventory.RotationState{
	journal.Staged:     inventory.Staged,
	journal.Committing: inventory.Committing,
	journal.Committed:  inventory.Committed,
	journal.RolledBack: inventory.RolledBack,
	journal.Broken:     inventory.Broken,
	journal.Finished:   inventory.Finished,
}

// Summarize says how far a rotation is, from its records.
func Summarize(id string, records []journal.Record) inventory.Rotation {
	r := inventory.Rotation{ID: id}
	for _, rec := range records {
		r.Token = max(r.Token, rec.Token)
		if r.StartTime.IsZero() {
			r.StartTime = rec.Time
		}
		switch rec.Kind {
		case journal.Staging:
			r.Scope = rec.Scope
			r.Services = rec.Services
			if rec.Start != nil {
				r.StartTime = *rec.Start
			}
			// What was committed before stays committed while more is staged.
			if r.State != inventory.Committed {
				r.State = inventory.Staging
			}
		case journal.Staged:
			if r.State != inventory.Committed {
				r.State = inventory.Staged
			}
			continue
		case journal.Failed:
			if r.State == inventory.Staging {
				r.State = inventory.Failed
			}
		case journal.Committed:
			r.Renewed = append(r.Renewed, rec.Renewals...)
		default:
		}
		if state, changes := stateOf[rec.Kind]; changes {
			r.State = state
		}
	}
	return r
}
