package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// reconnectEvery is the pause between attempts to reach a node whose connection broke.
const reconnectEvery = 250 * time.Millisecond

// worker is one node at work: its step, the session into its pod, and what its
// journal has told so far.
type worker struct {
	step    plan.Step
	session Session
	token   int64
	last    int64 // highest Seq seen
	records []journal.Record
}

// errAnswered ends a Follow once the order has its answer.
var errAnswered = errors.New("answered")

// carryOut delivers an order and follows the node's journal until it is answered,
// through any number of broken connections. Each record of this lock's token is given
// to see, in order; an error of see ends the wait. ctx bounds the whole.
func (w *worker) carryOut(ctx context.Context, o plan.Order, see func(journal.Record) error) (journal.Record, error) {
	if err := w.session.Order(ctx, o); err != nil {
		return journal.Record{}, fmt.Errorf("deliver order %q to node %q: %w", o.Kind, w.step.Node, err)
	}
	var answer journal.Record
	observe := func(r journal.Record) error {
		if r.Seq <= w.last {
			return nil
		}
		w.last = r.Seq
		// Records of an earlier run of the same rotation have an older token, and
		// answer nothing that we asked.
		if r.Token != w.token {
			return nil
		}
		w.records = append(w.records, r)
		if err := see(r); err != nil {
			return &seeError{err}
		}
		if r.Kind.Ends() {
			answer = r
			return errAnswered
		}
		return nil
	}
	for {
		err := w.session.Follow(ctx, w.last, observe)
		var refused *seeError
		switch {
		case errors.Is(err, errAnswered):
			return answer, nil
		case errors.As(err, &refused):
			return journal.Record{}, refused.err
		case err == nil:
			return journal.Record{}, fmt.Errorf("node %q: its process ended without an answer to order %q", w.step.Node, o.Kind)
		}
		select {
		case <-ctx.Done():
			return journal.Record{}, fmt.Errorf("follow node %q: %w (last connection: %w)", w.step.Node, ctx.Err(), err)
		case <-time.After(reconnectEvery):
		}
	}
}

// seeError marks an error of the caller's, as opposed to one of the connection.
type seeError struct{ err error }

func (e *seeError) Error() string { return e.err.Error() }

// of returns the records of one kind.
func (w *worker) of(kind journal.Kind) []journal.Record {
	var out []journal.Record
	for _, r := range w.records {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}
