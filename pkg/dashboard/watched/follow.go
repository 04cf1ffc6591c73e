package watched

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// NamePrefix begins the names of CertificateRotations that a dashboard creates. Names of the
// watcher's own have another one.
const NamePrefix = "dashboard-"

// PlansAgain explains that a rotation by the watcher may differ from its plan.
const PlansAgain = "The watcher scans and plans again before it begins."

// CompromisedMeans describes a rotation whose old keys are compromised, by its flag.
const CompromisedMeans = "--compromised: no certificate is requested with a node's own identity, and once the new certificates are verified the old private keys are destroyed on their nodes: " +
	"no roll back is possible after that. A copy of an old key can be used until its certificate expires or its CA is replaced: Kubernetes cannot revoke certificates."

// Rotation is a CertificateRotation that a dashboard has created.
type Rotation struct {
	Name string
	// Read reads the object.
	Read func(context.Context) (*v1alpha1.CertificateRotation, error)
	// Reports reads the agents' reports.
	Reports func(context.Context) ([]v1alpha1.NodeCertificateReport, error)
	// Explain is an error in one line.
	Explain func(error) string
	// Pause waits for [wait.RequestEvery]; false: ctx has ended. A test does not wait, so that time is
	// counted by calls.
	Pause func(context.Context) bool
	Now   func() time.Time
}

// Follow shows the progress of a rotation until it has ended, and returns its report with the
// error of a rotation that has not succeeded. The report is nil where the rotation is not followed
// to its end: the watcher continues it.
func (r Rotation) Follow(ctx context.Context, document v1alpha1.RotationPlan, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
	progress(fleet.Progress{Phase: fleet.PhaseStarting, Done: true, Text: fmt.Sprintf("created CertificateRotation %q, which the watcher carries out", r.Name)})
	ended, err := r.awaitEnd(ctx, progress)
	if err != nil {
		return nil, err
	}
	return r.reportOf(ctx, ended, document), rotationError(ended)
}

// awaitEnd reads the status of a rotation until it has ended, and shows its changes. The watcher
// continues it also where its status cannot be read any more.
func (r Rotation) awaitEnd(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.CertificateRotation, error) {
	shown := shownStatus{nodes: map[string]v1alpha1.RotationNodeStatus{}}
	failing := time.Duration(0) // counted, since tests do not wait
	for {
		now, err := r.Read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, hint.AddTo(fmt.Errorf("CertificateRotation %q: %w: %w; the watcher continues it", r.Name, dashboard.ErrNotFollowed, context.Cause(ctx)),
				"kubectl get certificaterotation %s shows it; to cancel it: kubectl delete certificaterotation %s", r.Name, r.Name)
		case apierrors.IsNotFound(err):
			return nil, hint.AddTo(fmt.Errorf("CertificateRotation %q was deleted, which cancels it", r.Name), "the node in progress is finished or rolled back first")
		case err != nil && failing >= toleratedFor(err):
			return nil, notFollowed(r.Name, r.Explain(err), "the watcher continues it")
		case err != nil:
			failing += wait.RequestEvery
		default:
			failing = 0
			shown.showChanges(now, progress)
			if now.HasEnded() {
				return now, nil
			}
			if now.Spec.Suspend && now.State() != v1alpha1.StateRunning { // else the node in progress is finished first
				return nil, notFollowed(r.Name, "it is suspended", "the watcher continues it once spec.suspend is false")
			}
		}
		r.Pause(ctx)
	}
}

// toleratedFor is how long an error is retried.
func toleratedFor(err error) time.Duration {
	switch {
	case kube.IsRestarting(err):
		// The API server may be the component that restarts.
		return 10 * time.Minute
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		// An API server that has restarted refuses everything until it has read the roles.
		return time.Minute
	}
	return 0
}

// notFollowed is the error of a rotation that the watcher has, and that has not ended.
func notFollowed(name, why, then string) error {
	return hint.AddTo(fmt.Errorf("CertificateRotation %q: %w: %s; %s", name, dashboard.ErrNotFollowed, why, then),
		"kubectl get certificaterotation %s", name)
}

// shownStatus is the status of a rotation as it was shown last.
type shownStatus struct {
	state   v1alpha1.RotationState
	message string
	nodes   map[string]v1alpha1.RotationNodeStatus
}

// showChanges shows each node of which the phase or message has changed, and why the rotation waits.
func (s *shownStatus) showChanges(c *v1alpha1.CertificateRotation, progress func(fleet.Progress)) {
	for _, n := range c.Status.Nodes {
		if before := s.nodes[n.Node]; before.Phase == n.Phase && before.Message == n.Message {
			continue
		}
		s.nodes[n.Node] = n
		phase := fleet.Phase(strings.ToLower(n.Phase))
		progress(fleet.Progress{Node: n.Node, Phase: phase, Text: n.Message, Done: endsPart(phase)})
	}
	if c.State() == s.state && c.Message() == s.message {
		return
	}
	s.state = c.State()
	s.message = c.Message()
	if s.state != v1alpha1.StateRunning && !c.HasEnded() {
		progress(fleet.Progress{Phase: fleet.PhaseWaiting, Text: strings.ToLower(string(s.state)) + ": " + s.message, Done: true})
	}
}

// endsPart reports whether a phase is a result and not an action.
func endsPart(phase fleet.Phase) bool {
	switch phase {
	case fleet.PhaseStaged, fleet.PhaseVerified, fleet.PhaseUndone, fleet.PhaseFailed, fleet.PhaseForced, phaseSkipped:
		return true
	}
	return false
}

// phaseSkipped is the phase of a node that the watcher could not rotate.
const phaseSkipped fleet.Phase = "skipped"

// rotationError is the error of a rotation that has not succeeded.
func rotationError(c *v1alpha1.CertificateRotation) error {
	switch c.State() {
	case v1alpha1.StateSucceeded:
		return nil
	case v1alpha1.StateManualInterventionRequired:
		return fmt.Errorf("%w: %w", fleet.ErrManualInterventionRequired, hint.FromText(c.Message()))
	}
	return hint.FromText(c.Message())
}
