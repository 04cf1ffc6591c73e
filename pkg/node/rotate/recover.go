package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// Recover undoes what an interrupted process left on this node, and says what of it;
// nothing where there is nothing. boot says that no component runs yet: then files
// are put back and nothing is restarted or waited for. It needs no API server. A commit
// that is at work is left alone, and is a [*statedir.LockedError]. That the old
// certificates could not be put back is an error that wraps [ErrManualInterventionRequired]. A damaged
// journal is a [*statedir.DamagedError], returned when everything else was done.
func (e *Engine) Recover(ctx context.Context, boot bool) ([]nodeapi.Record, error) {
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
		return s.undone, errors.Join(append(s.damaged, err)...)
	}
	for _, rec := range s.undone {
		if err := asError(rec); errors.Is(err, ErrManualInterventionRequired) {
			return s.undone, errors.Join(append(s.damaged, err)...)
		}
	}
	return s.undone, errors.Join(append(s.damaged, s.unguard())...)
}

// lockLook is how long Recover waits for another process: it only looks.
const lockLook = time.Second

// recoverAll undoes every commit that a process began and did not complete, of
// whichever rotation, and verifies what was put back at boot. Nothing else may be done on
// a node before. What fails for one rotation is told when the others had their turn; a
// damaged journal is a [*statedir.DamagedError] in s.damaged, and an error only where it
// is the current rotation's.
func (s *session) recoverAll(ctx context.Context, current string) error {
	rotations, err := s.dir.Rotations()
	if err != nil {
		return err
	}
	var problems []error
	for _, r := range rotations {
		err := s.recoverRotation(ctx, r, current)
		var damaged *statedir.DamagedError
		if errors.As(err, &damaged) {
			err = s.setAside(r, damaged)
			if r.ID != current {
				s.damaged = append(s.damaged, err)
				continue
			}
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (s *session) recoverRotation(ctx context.Context, r *statedir.Rotation, current string) error {
	records, err := r.Records()
	if err != nil {
		return err
	}
	// The undoing must not be interrupted in its turn.
	ctx = context.WithoutCancel(ctx)
	if interrupted := nodeapi.Incomplete(records); interrupted != nil {
		err = s.recoverOne(ctx, r, current, *interrupted, records)
	} else if restored := unverified(records); restored != nil && !s.boot {
		err = s.verifyRestored(ctx, r, current, *restored)
	}
	if err != nil {
		return err
	}
	return s.destroyLeft(r, records)
}

// setAside does what can be done about a damaged journal, and says what else can be. At
// boot the files of a commit are put back of which the readable records know no end: the
// node could not start otherwise. That is done once. It cannot be recorded in the journal, so
// it is seen by what was staged: a commit needs that until its end, and so does this.
func (s *session) setAside(r *statedir.Rotation, damaged error) error {
	interrupted := nodeapi.Incomplete(r.Salvage())
	hint := fmt.Sprintf("\nhint: remove it with \"rotate-certs-node forget %s\"", r.ID)
	if interrupted == nil {
		return fmt.Errorf("%w%s", damaged, hint)
	}
	if _, err := loadTransaction(r.Staged()); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; its commit had ended or was undone before, and its files are left as they are%s once this node's certificates are verified", damaged, hint)
	}
	hint = "; it began to replace certificates, and its end is unknown" + hint + " once this node's certificates are verified"
	t, err := loadTransaction(backupDir(r, interrupted.Order))
	if err != nil || !s.boot || t.Unit != "" {
		return fmt.Errorf("%w%s", damaged, hint)
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r}
	c := &committing{session: older, t: t, boot: true, late: true}
	if problems := c.putBack(); len(problems) > 0 {
		return fmt.Errorf("%w; its files could not be put back: %s%s", damaged, strings.Join(problems, "; "), hint)
	}
	if err := older.discardStaged(); err != nil {
		return fmt.Errorf("%w; the old certificates were put back; %w%s", damaged, err, hint)
	}
	return fmt.Errorf("%w; the old certificates were put back%s", damaged, hint)
}

// destroyLeft destroys the compromised keys of a commit that was verified, and whose
// process ended before it had done so.
func (s *session) destroyLeft(r *statedir.Rotation, records []nodeapi.Record) error {
	for _, rec := range records {
		if rec.Kind != nodeapi.Committed || rec.Unverified {
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

func (s *session) recoverOne(ctx context.Context, r *statedir.Rotation, current string, began nodeapi.Record, records []nodeapi.Record) error {
	writer, err := r.Writer(s.Node, s.Engine.Now)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close() }()
	// In the name of the order that was interrupted, and as its answer.
	l := &log{writer: writer, token: began.Token, order: began.Order}
	defer func() {
		if l.last.Kind != "" {
			s.undone = append(s.undone, l.last)
		}
	}()
	if r.ID == current {
		l.out = s.Records // who reads them expects no other rotation's
	}
	t, err := loadTransaction(backupDir(r, began.Order))
	if err != nil {
		rec := nodeapi.Record{Kind: nodeapi.Unknown, Message: "the process ended in the middle of a commit, and what it did cannot be read: " + err.Error()}
		if errors.Is(err, os.ErrNotExist) {
			rec.Hint = "look at the certificates of this node: kubectl rotate-certs check"
		}
		return l.write(rec)
	}
	if t.Unit != "" && s.boot {
		return nil // the unit has yet to start, and there is nothing to put back
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r, writer: writer}
	c := &committing{session: older, t: t, log: l, boot: s.boot, late: true}
	for _, rec := range records {
		if rec.Kind == nodeapi.Restarting && rec.Order == began.Order && rec.Seq > began.Seq {
			c.restarted = append(c.restarted, rec.Service)
		}
	}
	return c.undo(ctx, &failure{what: "the process on this node ended in the middle of a commit"})
}
