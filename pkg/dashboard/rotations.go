package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// runFunction carries a plan out.
type runFunction = func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error)

// rotation is a plan that is carried out, or has been.
type rotation struct {
	ID      string
	Context Context
	Choice  Choice
	Plan    *Plan
	Began   time.Time
	log     *progressLog
	run     runFunction // nil after the end

	interruptions chan struct{} // closed by the first interruption
	once          sync.Once
	cause         error

	mu     sync.Mutex
	ended  time.Time
	report *v1alpha1.RotationReport
	err    error
}

func newRotation(p *plannedRotation, now time.Time) *rotation {
	return &rotation{ID: rand.Text(), Context: p.Context, Choice: p.Choice, Plan: p.Plan, run: p.run, Began: now,
		log: newProgressLog(), interruptions: make(chan struct{})}
}

// interrupt stops the rotation after the node in progress.
func (r *rotation) interrupt(cause error) {
	r.once.Do(func() {
		r.cause = cause
		close(r.interruptions)
	})
}

// isInterrupted reports whether the rotation has been asked to stop.
func (r *rotation) isInterrupted() bool {
	select {
	case <-r.interruptions:
		return true
	default:
		return false
	}
}

// carryOut runs the plan of a rotation. Whatever happens in it, the cluster is released and the
// page gets an end.
func (s *Server) carryOut(r *rotation) {
	defer s.work.active.Done()
	s.options.Report(printers.CleanText(fmt.Sprintf("%s: rotation of %s begins", r.Context.Name, choiceWords(r.Choice))))
	report, err := r.runPlan(s.options.Now)
	r.mu.Lock()
	r.ended = s.options.Now()
	r.report = report
	r.err = err
	r.mu.Unlock()
	s.work.releaseCluster(r)
	s.summaries.expireResult(r.Context.Name)
	s.states.expireResult(r.Context.Name)
	r.log.endLog()
	view := r.viewOutcome()
	s.options.Report(printers.CleanText(fmt.Sprintf("%s: rotation %s. %s", r.Context.Name, view.Word, view.Text)))
}

// runPlan calls Run. Its context is cancelled by an interruption only.
func (r *rotation) runPlan(now func() time.Time) (report *v1alpha1.RotationReport, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-r.interruptions:
			cancel(r.cause)
		case <-ctx.Done():
		}
	}()
	defer func() {
		if cause := recover(); cause != nil {
			report = nil
			err = hint.AddTo(fmt.Errorf("internal error: %v", cause), "kubectl rotate-certs status shows the state of the nodes")
		}
	}()
	report, err = r.run(ctx, func(p fleet.Progress) { r.log.addEvent(p, now()) })
	if report == nil && err == nil {
		err = hint.AddTo(errors.New("the rotation ended without a report"), "kubectl rotate-certs status shows the state of the nodes")
	}
	return report, err
}

// choiceWords names the services and nodes of a choice.
func choiceWords(c Choice) string {
	words := "all services"
	if n := len(c.Services); n > 0 && n < len(certs.Services()) {
		words = printers.JoinServices(c.Services, ", ")
	}
	if len(c.Nodes) > 0 {
		words += " on " + printers.SomeNames(c.Nodes)
	}
	return words
}

// linkTo is a link to the rotation's page.
func (r *rotation) linkTo() ownRotation {
	r.mu.Lock()
	defer r.mu.Unlock()
	link := ownRotation{Path: clusterPath(r.Context.Name, "rotations", r.ID), Words: choiceWords(r.Choice), Began: r.Began, Ended: r.ended}
	return link
}

// startRotation answers the button Save of a plan's page.
func (s *Server) startRotation(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseWithout(w, r, named, RightRotate) {
		return
	}
	id := r.PathValue("id")
	begun, state, found := s.work.beginRotation(named.Name, id)
	switch {
	case !found:
		s.writeMissingPlan(w, r, named)
	case state == planReady:
		go s.carryOut(begun)
		s.redirectTo(w, r, clusterPath(named.Name, "rotations", begun.ID))
	case begun != nil:
		s.redirectTo(w, r, clusterPath(begun.Context.Name, "rotations", begun.ID)+"?note="+string(state))
	default:
		s.redirectTo(w, r, clusterPath(named.Name, "plans", id))
	}
}

// findRotation is the rotation that the path of a request names.
func (s *Server) findRotation(w http.ResponseWriter, r *http.Request) (*rotation, bool) {
	named, found := s.findContext(w, r)
	if !found {
		return nil, false
	}
	if rotation := s.work.findRotation(named.Name, r.PathValue("id")); rotation != nil {
		return rotation, true
	}
	s.writeMessage(w, r, http.StatusNotFound, message{Title: "Unknown rotation", Back: clusterPath(named.Name),
		Text: "This dashboard has no such rotation: it has been restarted since, or the rotation is one of the oldest. The journals on the nodes have it."})
	return nil, false
}

// stopRotation answers the button Stop. A rotation of the watcher is only not followed any more.
func (s *Server) stopRotation(w http.ResponseWriter, r *http.Request) {
	rotation, found := s.findRotation(w, r)
	switch {
	case !found:
	case s.refuseReadOnly(w, r):
	default:
		rotation.interrupt(fleet.ErrInterrupted)
		s.redirectTo(w, r, clusterPath(rotation.Context.Name, "rotations", rotation.ID))
	}
}
