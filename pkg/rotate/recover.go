package rotate

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/journal/statedir"
)

// Recover undoes what an interrupted process left on this node, and says what of it;
// nothing where there is nothing. boot says that no component runs yet: then files
// are put back and nothing is restarted or waited for. It needs no API server. A commit
// that is at work is left alone, and is a [*statedir.LockedError]. That the old
// certificates could not be put back is an error that wraps [ErrNeedsPerson].
func (e *Engine) Recover(ctx context.Context, boot bool) ([]journal.Record, error) {
	if _, err := e.Root.Stat(statedir.HostPath); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	dir, err := statedir.Open(e.Root)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, lockLook)
	defer cancel()
	unlock, err := dir.Lock(waiting, statedir.Holder{Rotation: "recovery", PID: os.Getpid(), Since: e.now().UTC()})
	if err != nil {
		return nil, err
	}
	defer unlock()
	s := &session{Engine: e, dir: dir, boot: boot}
	if err := s.recoverAll(ctx, ""); err != nil {
		return s.undone, err
	}
	for _, rec := range s.undone {
		if err := asError(rec); errors.Is(err, ErrNeedsPerson) {
			return s.undone, err
		}
	}
	return s.undone, s.unguard()
}

// lockLook is how long Recover waits for another process: it only looks.
const lockLook = time.Second

// recoverAll undoes every commit that a process began and did not complete, of
// whichever rotation, and proves what was put back at boot. Nothing else may be done on
// a node before.
func (s *session) recoverAll(ctx context.Context, current string) error {
	rotations, err := s.dir.Rotations()
	if err != nil {
		return err
	}
	for _, r := range rotations {
		records, err := r.Records()
		if err != nil {
			return err
		}
		if interrupted := incomplete(records); interrupted != nil {
			// The undoing must not be interrupted in its turn.
			if err := s.recoverOne(context.WithoutCancel(ctx), r, current, *interrupted, records); err != nil {
				return err
			}
		} else if restored := unproven(records); restored != nil && !s.boot {
			if err := s.proveRestored(context.WithoutCancel(ctx), r, current, *restored); err != nil {
				return err
			}
		}
		if err := s.destroyLeft(r, records); err != nil {
			return err
		}
	}
	return nil
}

// destroyLeft destroys the compromised keys of a commit that was proven, and whose
// process ended before it had done so.
func (s *session) destroyLeft(r *statedir.Rotation, records []journal.Record) error {
	for _, rec := range records {
		if rec.Kind != journal.Committed || rec.Unproven {
			continue
		}
		backup := backupDir(r, rec.Order)
		t, err := loadTransaction(backup)
		if err != nil || !t.DestroyOldKeys {
			continue // gone, which is how it should be; or kept on purpose
		}
		if err := s.destroyOldKeys(t, backup); err != nil {
			return err
		}
	}
	return nil
}

// incomplete returns the Committing record that has no answer; nil: there is none.
func incomplete(records []journal.Record) *journal.Record {
	var open *journal.Record
	for n := range records {
		switch {
		case records[n].Kind == journal.Committing:
			open = &records[n]
		case records[n].Kind.Ends():
			open = nil
		}
	}
	return open
}

func (s *session) recoverOne(ctx context.Context, r *statedir.Rotation, current string, began journal.Record, records []journal.Record) error {
	writer, err := r.Writer(s.Node, s.Engine.Now)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close() }()
	// In the name of the order that was interrupted, and as its answer.
	l := &log{writer: writer, token: began.Token, order: began.Order}
	defer func() { s.undone = append(s.undone, l.last) }()
	if r.ID == current {
		l.out = s.Records // who reads them expects no other rotation's
	}
	t, err := loadTransaction(backupDir(r, began.Order))
	if err != nil {
		rec := journal.Record{Kind: journal.Broken, Message: "the process ended in the middle of a commit, and what it did cannot be read: " + err.Error()}
		if errors.Is(err, os.ErrNotExist) {
			rec.Hint = "look at the certificates of this node: kubectl rotate-certs check"
		}
		return l.write(rec)
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r, writer: writer}
	c := &committing{session: older, t: t, log: l, boot: s.boot, late: true}
	for _, rec := range records {
		if rec.Kind == journal.Restarting && rec.Order == began.Order && rec.Seq > began.Seq {
			c.restarted = append(c.restarted, rec.Service)
		}
	}
	return c.undo(ctx, &failure{what: "the process on this node ended in the middle of a commit"})
}
