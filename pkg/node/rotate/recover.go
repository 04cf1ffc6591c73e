package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// RecoverNode rolls back the commit of an interrupted process on this node, and returns the
// records of it; none if there is nothing to do. boot means that no component runs yet: files
// are restored, and nothing is restarted or awaited. It needs no API server. If a commit is in
// progress it fails with a [*statedir.LockedError]. If the old certificates could not be
// restored, its error wraps [ErrManualInterventionRequired]. A damaged journal is a
// [*statedir.DamagedError], returned after the other journals were handled.
func (e *Engine) RecoverNode(ctx context.Context, boot bool) ([]nodeapi.Record, error) {
	if _, err := e.Root.Stat(statedir.HostPath); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	dir, err := statedir.OpenDir(e.Root)
	if err != nil {
		return nil, err
	}
	unlock, err := e.lockForRecovery(ctx, dir)
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
	return s.undone, errors.Join(append(s.damaged, s.removeRecovery())...)
}

// lockForRecovery takes the node's lock. It does not wait long for another process, since the
// command can be repeated.
func (e *Engine) lockForRecovery(ctx context.Context, dir *statedir.Dir) (unlock func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return dir.TakeLock(waiting, statedir.Holder{Rotation: "recovery", PID: os.Getpid(), Since: e.now().UTC()})
}

// recoverAll rolls back every incomplete commit, of all rotations, and verifies the
// certificates that were restored at boot. Nothing else may be done on a node before. An error
// of one rotation is returned after the others were handled; a damaged journal is a
// [*statedir.DamagedError] in s.damaged, and an error only if it is the current rotation's.
func (s *session) recoverAll(ctx context.Context, current string) error {
	rotations, err := s.dir.ListRotations()
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
	records, err := r.ReadRecords()
	if err != nil {
		return err
	}
	// The rollback itself must not be interrupted.
	ctx = context.WithoutCancel(ctx)
	if interrupted := nodeapi.IncompleteCommit(records); interrupted != nil {
		err = s.recoverOne(ctx, r, current, *interrupted, records)
	} else if restored := findUnverified(records); restored != nil && !s.boot {
		err = s.verifyRestored(ctx, r, current, *restored)
	}
	if err != nil {
		return err
	}
	return s.destroyLeft(r, records)
}

// setAside handles a damaged journal and returns an error with a hint.
func (s *session) setAside(r *statedir.Rotation, damaged error) error {
	interrupted := nodeapi.IncompleteCommit(r.SalvageRecords())
	if interrupted == nil {
		return hint.AddTo(damaged, "remove it with \"rotate-certs-node forget %s\"", r.ID)
	}
	return hint.AddTo(s.undoDamaged(r, *interrupted, damaged), "remove it with \"rotate-certs-node forget %s\" once this node's certificates are verified", r.ID)
}

// undoDamaged restores at boot the files of a commit if the readable records do not show its
// end: the node could not start otherwise. It does so once. This cannot be recorded in the
// damaged journal, so the staged files are the record: a commit keeps them until its end, and
// undoDamaged removes them. It returns the error of the journal, and adds the outcome.
func (s *session) undoDamaged(r *statedir.Rotation, interrupted nodeapi.Record, damaged error) error {
	if _, err := loadTransaction(r.StagedDir()); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; its commit is complete or rolled back, and its files are left unchanged", damaged)
	}
	const unknown = "it began to replace certificates, and its end is unknown"
	t, err := loadTransaction(backupDir(r, interrupted.Order))
	if err != nil || !s.boot || t.Unit != "" {
		return fmt.Errorf("%w; %s", damaged, unknown)
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r}
	c := &committing{session: older, t: t, boot: true, late: true}
	if problems := c.restoreFiles(); len(problems) > 0 {
		return fmt.Errorf("%w; its files could not be restored: %s; %s", damaged, strings.Join(problems, "; "), unknown)
	}
	if err := older.discardStaged(); err != nil {
		return fmt.Errorf("%w; the old certificates were restored; %w; %s", damaged, err, unknown)
	}
	return fmt.Errorf("%w; the old certificates were restored; %s", damaged, unknown)
}

// destroyLeft destroys the compromised keys of a verified commit whose process ended before it
// had done so.
func (s *session) destroyLeft(r *statedir.Rotation, records []nodeapi.Record) error {
	for _, rec := range records {
		if rec.Kind != nodeapi.Committed || rec.Unverified {
			continue
		}
		backup := backupDir(r, rec.Order)
		t, err := loadTransaction(backup)
		if err != nil || !t.DestroyOldKeys {
			continue // destroyed already, or kept on purpose
		}
		if err := s.destroyOldKeys(t, backup); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) recoverOne(ctx context.Context, r *statedir.Rotation, current string, began nodeapi.Record, records []nodeapi.Record) error {
	writer, err := r.OpenWriter(s.Node, s.Engine.Now)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close() }()
	// The records carry the number of the interrupted order, and are its answer.
	l := &log{writer: writer, token: began.Token, order: began.Order, orderID: began.OrderID}
	defer func() {
		if l.last.Kind != "" {
			s.undone = append(s.undone, l.last)
		}
	}()
	if r.ID == current {
		l.out = s.Records // the reader expects the records of the current rotation only
	}
	t, err := loadTransaction(backupDir(r, began.Order))
	if err != nil {
		rec := nodeapi.Record{Kind: nodeapi.Unknown, Message: "the process ended in the middle of a commit, and its transaction cannot be read: " + err.Error()}
		if errors.Is(err, os.ErrNotExist) {
			rec.Hint = "check the certificates of this node: kubectl rotate-certs check"
		}
		return l.write(rec)
	}
	if t.Unit != "" && s.boot {
		return nil // the unit has yet to start, and there is nothing to restore
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r, writer: writer}
	c := &committing{session: older, t: t, log: l, boot: s.boot, late: true}
	for _, rec := range records {
		if rec.Kind == nodeapi.Restarting && rec.Order == began.Order && rec.Seq > began.Seq {
			c.restarted = append(c.restarted, rec.Service)
		}
	}
	return c.rollBack(ctx, &failure{what: "the process on this node ended in the middle of a commit"})
}
