package nodeapi

import "github.com/rotate-certs/rotate-certs/pkg/inventory"

// stateOf maps kinds of records to the state of a rotation after them.
var stateOf = map[Kind]inventory.RotationState{
	Staged:     inventory.Staged,
	Committing: inventory.Committing,
	Committed:  inventory.Committed,
	RolledBack: inventory.RolledBack,
	Unknown:    inventory.Unknown,
	Finished:   inventory.Finished,
}

// IncompleteCommit returns the Committing record that has no answer; nil: there is none.
func IncompleteCommit(records []Record) *Record {
	var open *Record
	for n := range records {
		switch {
		case records[n].Kind == Committing:
			open = &records[n]
		case records[n].Kind.IsAnswer():
			open = nil
		}
	}
	return open
}

// SummarizeRecords derives the state of a rotation from its records.
func SummarizeRecords(id string, records []Record) inventory.NodeRotation {
	r := inventory.NodeRotation{ID: id}
	for _, rec := range records {
		r.LastTime = rec.Time
		r.Token = max(r.Token, rec.Token)
		if r.StartTime.IsZero() {
			r.StartTime = rec.Time
		}
		switch rec.Kind {
		case Staging:
			r.Scope = rec.Scope
			r.Services = rec.Services
			if rec.Start != nil {
				r.StartTime = *rec.Start
			}
			// A committed rotation stays committed while further certificates are staged.
			if r.State != inventory.Committed {
				r.State = inventory.Staging
			}
		case Staged:
			if r.State != inventory.Committed {
				r.State = inventory.Staged
			}
			continue
		case Failed:
			if r.State == inventory.Staging {
				r.State = inventory.Failed
			}
		case Committed:
			r.Renewed = append(r.Renewed, rec.Renewals...)
		default:
		}
		if state, changes := stateOf[rec.Kind]; changes {
			r.State = state
			if rec.Kind != Finished { // the end of the rotation is no verification
				r.Unverified = rec.Unverified
			}
		}
	}
	return r
}
