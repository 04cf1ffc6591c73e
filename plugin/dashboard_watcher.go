package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/dashboard"
)

// rotationPrefix begins the names of CertificateRotations that the dashboard creates. Names of
// the watcher's own have another one.
const rotationPrefix = "dashboard-"

// unreachableFor is how long the API server may be unavailable while a rotation is followed: it
// may be the component that restarts.
const unreachableFor = 10 * time.Minute

// refusedFor is how long an API server may refuse to show the rotation: one that has restarted
// refuses everything until it has read the roles.
const refusedFor = time.Minute

// runByWatcher has the watcher carry a plan out, and follows it to its end.
func (d *contextCluster) runByWatcher(o *rotateOptions, c *cluster, document v1alpha1.RotationPlan) runFunc {
	return d.onceOnly(func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if err := d.checkLock(ctx, c); err != nil {
			return nil, err
		}
		api, err := openObjects(d.conn)
		if err != nil {
			return nil, d.notBegun(err)
		}
		name, err := d.createRotation(ctx, api, o)
		switch {
		case err != nil && isTransient(err):
			return nil, hint.AddTo(explainError(err, d.flags), "it may have been created: kubectl get certificaterotations")
		case err != nil:
			return nil, d.notBegun(err)
		}
		progress(fleet.Progress{Phase: fleet.PhaseStarting, Done: true, Text: fmt.Sprintf("created CertificateRotation %q, which the watcher carries out", name)})
		ended, err := d.followRotation(ctx, api, name, progress)
		if err != nil {
			return nil, explainError(err, d.flags)
		}
		report := d.reportOf(ctx, ended, document)
		return report, rotationError(ended)
	})
}

// createRotation creates the object of a request, and returns its name.
func (d *contextCluster) createRotation(ctx context.Context, api *objects, o *rotateOptions) (string, error) {
	object, err := newObject(&v1alpha1.CertificateRotation{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "CertificateRotation"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: rotationPrefix},
		Spec: v1alpha1.CertificateRotationSpec{
			Services: o.request.Services, Nodes: o.request.Nodes, Restart: o.request.Restart.APIName(), Compromised: o.request.Compromised,
		},
	})
	if err != nil {
		return "", err
	}
	created, err := api.resourceOf(rotationsResource, "").Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsForbidden(err):
		return "", hint.AddTo(fmt.Errorf("create CertificateRotation: %w", err),
			"an administrator can bind the ClusterRole rotate-certs:start to you, or run: %s", o.sameCommand())
	case err != nil:
		return "", fmt.Errorf("create CertificateRotation: %w", err)
	}
	return created.GetName(), nil
}

// followRotation reads the status of a rotation until it has ended, and shows its changes. The
// watcher continues it also where its status cannot be read any more.
func (d *contextCluster) followRotation(ctx context.Context, api *objects, name string, progress func(fleet.Progress)) (*v1alpha1.CertificateRotation, error) {
	shown := shownStatus{nodes: map[string]v1alpha1.RotationNodeStatus{}}
	failing := time.Duration(0) // counted, since tests do not wait
	for {
		now, err := readRotation(ctx, api, name)
		switch {
		case ctx.Err() != nil:
			return nil, hint.AddTo(fmt.Errorf("CertificateRotation %q: %w: %w; the watcher continues it", name, dashboard.ErrNotFollowed, context.Cause(ctx)),
				"kubectl get certificaterotation %s shows it; to cancel it: kubectl delete certificaterotation %s", name, name)
		case apierrors.IsNotFound(err):
			return nil, hint.AddTo(fmt.Errorf("CertificateRotation %q was deleted, which cancels it", name), "the node in progress is finished or rolled back first")
		case err != nil && failing >= toleratedFor(err):
			return nil, notFollowed(name, firstLine(err), "the watcher continues it")
		case err != nil:
			failing += checkEvery
		default:
			failing = 0
			shown.showChanges(now, progress)
			if now.HasEnded() {
				return now, nil
			}
			if now.Spec.Suspend && now.State() != v1alpha1.StateRunning { // else the node in progress is finished first
				return nil, notFollowed(name, "it is suspended", "the watcher continues it once spec.suspend is false")
			}
		}
		d.app.pauseOnce(ctx)
	}
}

// toleratedFor is how long an error is retried.
func toleratedFor(err error) time.Duration {
	switch {
	case isTransient(err):
		return unreachableFor
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return refusedFor
	}
	return 0
}

// notFollowed is the error of a rotation that the watcher has, and that has not ended.
func notFollowed(name, why, then string) error {
	return hint.AddTo(fmt.Errorf("CertificateRotation %q: %w: %s; %s", name, dashboard.ErrNotFollowed, why, then),
		"kubectl get certificaterotation %s", name)
}

func readRotation(ctx context.Context, api *objects, name string) (*v1alpha1.CertificateRotation, error) {
	object, err := api.resourceOf(rotationsResource, "").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := &v1alpha1.CertificateRotation{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out); err != nil {
		return nil, fmt.Errorf("read CertificateRotation %q: %w", name, err)
	}
	return out, nil
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
