package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// session is a process's work on one rotation.
type session struct {
	*Engine
	dir      *statedir.Dir
	rotation *statedir.Rotation
	writer   *statedir.Writer
	done     int64  // the highest order that is answered
	token    int64  // of the last order
	boot     bool   // no component runs on this node yet
	kept     string // the fate of the earlier certificates of the last commit, if a unit renewed them
	// undone holds the answers to incomplete commits of earlier processes.
	undone []nodeapi.Record
	// damaged holds an error for each other rotation whose journal cannot be read.
	damaged []error
}

// RunOrders carries out a rotation's orders until one of them ends it, none arrives for the
// idle time, or ctx ends (SIGTERM): the order in progress is completed or rolled back then. It
// first rolls back incomplete commits of earlier processes, of all rotations.
//
// Orders that fail are answered in the journal and are no error; an error means that
// the process could not do its work at all.
func (e *Engine) RunOrders(ctx context.Context, id string) error {
	s, release, err := e.openSession(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	if err := s.refuseStale(); err != nil {
		return err
	}
	for {
		order, err := s.nextOrder(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return s.abandonStaged(fmt.Sprintf("no order came for %s", s.idleTime()))
		case ctx.Err() != nil:
			return s.abandonStaged("the process was asked to end")
		case err != nil:
			return err
		}
		ended, err := s.handleOrder(ctx, order)
		if err != nil || ended {
			return err
		}
	}
}

// openSession takes the node's lock, rolls back incomplete commits and opens the journal.
func (e *Engine) openSession(ctx context.Context, id string) (*session, func(), error) {
	dir, err := statedir.OpenDir(e.Root)
	if err != nil {
		return nil, nil, err
	}
	// Another process on this node may be finishing or rolling back its commit.
	waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	unlock, err := dir.TakeLock(waiting, statedir.Holder{Rotation: id, PID: os.Getpid(), Since: e.now().UTC()})
	if err != nil {
		return nil, nil, err
	}
	s := &session{Engine: e, dir: dir}
	if err := s.openLocked(ctx, id); err != nil {
		unlock()
		return nil, nil, err
	}
	return s, func() { _ = s.writer.Close(); unlock() }, nil
}

func (s *session) openLocked(ctx context.Context, id string) error {
	if err := s.recoverAll(ctx, id); err != nil {
		return err
	}
	for _, err := range s.damaged {
		s.warn(err)
	}
	if err := s.removeRecovery(); err != nil {
		return err
	}
	// Before the new rotation is one of those that are kept: it may roll back the oldest one.
	if err := s.dir.PruneRotations(id); err != nil {
		return err
	}
	rotation, err := s.dir.OpenRotation(id)
	if err != nil {
		return err
	}
	records, err := rotation.ReadRecords()
	if err != nil {
		return err
	}
	for _, rec := range records {
		s.token = max(s.token, rec.Token)
		if rec.Kind.IsAnswer() {
			s.done = max(s.done, rec.Order)
		}
	}
	s.rotation = rotation
	s.writer, err = rotation.OpenWriter(s.Node, s.Engine.Now)
	return err
}

// nextOrder returns the next unanswered order. Its error is [context.DeadlineExceeded] if none
// arrived for the idle time, which an order of kind KeepAlive restarts.
func (s *session) nextOrder(ctx context.Context) (statedir.Order, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waiting := time.AfterFunc(s.idleTime(), func() { cancel(context.DeadlineExceeded) })
	defer waiting.Stop()
	wait := s.waitOrders
	if wait == nil {
		wait = func(ctx context.Context, r *statedir.Rotation, after int64) ([]statedir.Order, error) {
			return r.WaitOrders(ctx, after)
		}
	}
	for after := s.done; ; {
		orders, err := wait(ctx, s.rotation, after)
		if ctx.Err() != nil && len(orders) == 0 {
			return statedir.Order{}, context.Cause(ctx)
		}
		if err != nil {
			return statedir.Order{}, err
		}
		for _, o := range orders {
			after = o.Number
			switch o.Kind {
			case nodeapi.OrderIssued: // read by the staging that waits for it
			case nodeapi.OrderKeepAlive:
				if o.Token >= s.token {
					waiting.Reset(s.idleTime())
				}
			default:
				return o, nil
			}
		}
	}
}

// handleOrder carries out one order; ended means that it was the last. Its error stops the
// process.
func (s *session) handleOrder(ctx context.Context, o statedir.Order) (ended bool, err error) {
	if ctx.Err() != nil {
		return true, s.abandonStaged("the process was asked to end")
	}
	l := s.newLog(o.Token, o.Number, o.ID)
	if err := s.dir.PassToken(o.Token, s.rotation.ID); err != nil {
		var fenced *statedir.FencedError
		if !errors.As(err, &fenced) {
			return false, err
		}
		s.done = o.Number
		return false, l.write(nodeapi.Record{Kind: nodeapi.Refused, Message: fenced.Error(),
			Hint: "another rotation has taken over this cluster: see kubectl rotate-certs history"})
	}
	s.token = o.Token
	switch o.Kind {
	case nodeapi.OrderStage:
		err = s.stage(ctx, o, l)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return true, s.abandonStaged("the process was asked to end while it was staging")
		}
	case nodeapi.OrderCommit:
		// A commit that has begun is completed or rolled back, even if the process is asked to
		// end.
		err = s.commit(context.WithoutCancel(ctx), o, l)
	case nodeapi.OrderFinish:
		return true, s.finishRotation(l)
	case nodeapi.OrderAbandon:
		return true, s.abandonStaged("the rotation may be continued later")
	default:
		err = l.write(nodeapi.Record{Kind: nodeapi.Refused, Message: fmt.Sprintf("unknown order %q", o.Kind),
			Hint: "the node program is older than the plugin: use the image of the plugin's own version"})
	}
	s.done = o.Number
	return false, err
}

// refuseStale refuses commits whose process ended before it began them: the gate must be passed
// again.
func (s *session) refuseStale() error {
	orders, err := s.rotation.OrdersAfter(s.done)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if o.Kind != nodeapi.OrderCommit {
			continue
		}
		err := s.newLog(o.Token, o.Number, o.ID).write(nodeapi.Record{Kind: nodeapi.Refused,
			Message: "the process on this node ended before it began the commit; nothing was changed",
			Hint:    "run the same command again"})
		if err != nil {
			return err
		}
		s.done = o.Number
	}
	return nil
}

// finishRotation ends a rotation that has succeeded on all nodes.
func (s *session) finishRotation(l *log) error {
	if err := l.write(nodeapi.Record{Kind: nodeapi.Finished, Message: s.kept}); err != nil {
		return err
	}
	if err := s.discardStaged(); err != nil {
		return err
	}
	return s.dir.PruneRotations(s.rotation.ID)
}

// abandonStaged ends the process, not the rotation. New keys that are not in use are removed,
// and orders that were not begun are void.
func (s *session) abandonStaged(why string) error {
	if err := s.cleanUp(); err != nil {
		return err
	}
	last := s.done
	orders, err := s.rotation.OrdersAfter(s.done)
	if err != nil {
		return err
	}
	for _, o := range orders {
		last = o.Number
		s.token = max(s.token, o.Token)
	}
	return s.newLog(s.token, last, "").write(nodeapi.Record{Kind: nodeapi.Abandoned, Message: why})
}

func (s *session) newLog(token, order int64, orderID string) *log {
	return &log{writer: s.writer, out: s.Records, token: token, order: order, orderID: orderID}
}

func (s *session) idleTime() time.Duration {
	if s.Idle > 0 {
		return s.Idle
	}
	return nodeapi.IdleTimeout
}
