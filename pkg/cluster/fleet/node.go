package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// worker is one node in progress: its step, the session into its pod, and the records
// of its journal so far.
type worker struct {
	step    plan.Step
	session Session
	token   int64
	timeout time.Duration // for a component to become healthy
	limit   time.Duration // for one order
	undoes  bool          // its process first undoes what it was at, before it takes an order
	// copyEtcd has etcd's data copied by the order to commit.
	copyEtcd bool
	last     int64 // highest Seq seen
	records  []nodeapi.Record
	// stagedAt is when it was staged before its turn; zero: it was not.
	stagedAt time.Time
}

// errAnswered ends a Follow once the order has its answer.
var errAnswered = errors.New("answered")

// patienceAfter is how long the record after this one may take.
func (w *worker) patienceAfter(r nodeapi.Record) time.Duration {
	switch {
	case r.Kind == "" && w.undoes:
		return w.limit
	case r.WithinSeconds > 0 && r.WithinSeconds < w.limit.Seconds():
		return time.Duration(r.WithinSeconds*float64(time.Second)) + 30*time.Second
	case r.Kind == nodeapi.CSRPosted, r.Kind == nodeapi.CSRNeeded:
		return nodeapi.SignatureTimeout + time.Minute
	}
	// A component may take the first time to become healthy. Besides, the node makes keys, backs
	// up, writes.
	return w.timeout + 2*time.Minute
}

// quietError means that a node has written no record for longer than it may take.
type quietError struct {
	since time.Duration
	last  nodeapi.Record
}

func (e *quietError) Error() string {
	since := "its order was delivered"
	if e.last.Kind != "" {
		since = strings.TrimSpace(fmt.Sprintf("its record %s %s", e.last.Kind, e.last.Service))
	}
	return fmt.Sprintf("the node has reported nothing for %s, since %s", e.since, since)
}

// carryOut delivers an order and follows the node's journal until it is answered,
// through any number of broken connections. Each record of this lock's token is given
// to see, in order; an error of see ends the wait. lost is called when the node has been
// out of reach for 15 seconds, and for how long it is waited for; it may be nil. The wait
// ends with ctx, or when no record came for longer than the node may take.
func (w *worker) carryOut(ctx context.Context, o nodeapi.Order, see func(nodeapi.Record) error, lost func(why error, atMost time.Duration)) (nodeapi.Record, error) {
	delivering, delivered := context.WithTimeout(ctx, 2*time.Minute)
	defer delivered()
	if err := w.session.Order(delivering, o); err != nil {
		return nodeapi.Record{}, fmt.Errorf("deliver order %q to node %q: %w", o.Kind, w.step.Node, err)
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	within := w.patienceAfter(nodeapi.Record{})
	until := time.Now().Add(within)
	var newest nodeapi.Record
	silence := time.AfterFunc(within, func() { giveUp(&quietError{since: within, last: newest}) })
	defer silence.Stop()
	var answer nodeapi.Record
	observe := func(r nodeapi.Record) error {
		// The session checks this too: a node must not report in the name of another.
		if r.Node != w.step.Node || r.Rotation != o.Rotation {
			return &seeError{fmt.Errorf("node %q: a record claims to be of node %q in rotation %q", w.step.Node, r.Node, r.Rotation)}
		}
		if r.Seq <= w.last {
			return nil
		}
		w.last = r.Seq
		// Records of an earlier run of the same rotation have an older token, and
		// answer nothing that we asked.
		if r.Token != w.token {
			return nil
		}
		// So do records of an earlier order, whose answer was not waited for to the end.
		if r.OrderID != "" && r.OrderID != o.ID {
			return nil
		}
		w.records = append(w.records, r)
		if silence.Stop() { // else it has just been given up
			newest = r
			within = w.patienceAfter(r)
			until = time.Now().Add(within)
			silence.Reset(within)
		}
		if err := see(r); err != nil {
			return &seeError{err}
		}
		if r.Kind.IsAnswer() {
			answer = r
			return errAnswered
		}
		return nil
	}
	var broke time.Time // since when nothing connects
	reported := false
	for {
		before := w.last
		began := time.Now()
		err := w.session.Follow(ctx, w.last, observe)
		var refused *seeError
		switch {
		case errors.Is(err, errAnswered):
			return answer, nil
		case errors.As(err, &refused):
			return nodeapi.Record{}, refused.err
		case err == nil:
			return nodeapi.Record{}, fmt.Errorf("node %q: its process ended without an answer to order %q", w.step.Node, o.Kind)
		}
		switch {
		case w.last > before, time.Since(began) > 30*time.Second:
			broke = time.Time{}
			reported = false
		case broke.IsZero():
			broke = time.Now()
		case !reported && lost != nil && time.Since(broke) > 15*time.Second:
			reported = true
			lost(err, time.Until(until))
		}
		if wait.SleepFor(ctx, wait.ConnectEvery) != nil {
			return nodeapi.Record{}, fmt.Errorf("follow node %q: %w (last connection: %w)", w.step.Node, context.Cause(ctx), err)
		}
	}
}

// seeError marks an error of the caller's, as opposed to one of the connection.
type seeError struct{ err error }

func (e *seeError) Error() string { return e.err.Error() }

// recordsOf returns the records of one kind.
func (w *worker) recordsOf(kind nodeapi.Kind) []nodeapi.Record {
	var out []nodeapi.Record
	for _, r := range w.records {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}
