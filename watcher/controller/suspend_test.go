package controller

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// setSuspended sets or clears spec.suspend, as an API server does: the generation counts.
func (w *world) setSuspended(name string, on bool) *v1alpha1.CertificateRotation {
	w.t.Helper()
	c := w.rotation(name)
	c.Spec.Suspend = on
	c.Generation++
	require.NoError(w.t, w.client.Update(w.t.Context(), c))
	return c
}

func TestSuspendedRotationDoesNotBeginAndHoldsUpNoOther(t *testing.T) {
	suspended, other := asked("suspended"), asked("other")
	other.CreationTimestamp = metav1.NewTime(noon.Add(time.Hour))
	suspended.Spec.Suspend = true
	w := newWorld(t, suspended, other)
	r := w.runner()
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("other").State())
	c := w.rotation("suspended")
	assert.Equal(t, v1alpha1.StateSuspended, c.State())
	assert.Equal(t, metav1.ConditionUnknown, status(c, v1alpha1.ConditionSucceeded))
	assert.Equal(t, renewal.Suspended, pastOf(c).State)
	require.Len(t, w.engine.rotated, 1)

	w.setSuspended("suspended", false)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("suspended").State())
}

// TestRotationThatRunsIsSuspended: it stops between two nodes, and continues under its id.
func TestRotationThatRunsIsSuspended(t *testing.T) {
	mine := asked("mine")
	mine.UID = "of-mine"
	w := newWorld(t, mine)
	r := w.runner()
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "working"})
		r.HandleChanged(w.rotation("mine"))
		require.NoError(t, ctx.Err(), "a label was changed, say")
		r.HandleChanged(w.setSuspended("mine", true))
		<-ctx.Done()
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed, Items: []v1alpha1.RotationItem{{Node: "cp1", Result: v1alpha1.Succeeded}}}, fleet.ErrInterrupted
	}
	r.runNext(t.Context())
	c := w.rotation("mine")
	assert.Equal(t, v1alpha1.StateSuspended, c.State())
	assert.Nil(t, c.Status.CompletionTime)
	assert.Equal(t, []string{"rotation.started"}, w.events.types())

	w.engine.rotate = nil
	r.runNext(t.Context())
	assert.Len(t, w.engine.rotated, 1)

	w.setSuspended("mine", false)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("mine").State())
	require.Len(t, w.engine.rotated, 2)
	assert.Equal(t, w.engine.rotated[0].ID, w.engine.rotated[1].ID)
	assert.Equal(t, []string{"", "1d1d1d"}, w.engine.continued)
}

// stoppedIn has the runner stop a rotation by its object while a node is worked on.
func (w *world) stoppedIn(r *Runner, phase fleet.Phase, result v1alpha1.Result, stop func()) {
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp1", Phase: phase, Text: "…"})
		stop()
		<-ctx.Done()
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed, Items: []v1alpha1.RotationItem{{Node: "cp1", Result: result}}}, fleet.ErrInterrupted
	}
	r.runNext(w.t.Context())
	w.engine.rotate = nil
}

// TestSuspendedBeforeItTouchedANode it is asked again whether it may begin: a freeze may have
// been written meanwhile.
func TestSuspendedBeforeItTouchedANode(t *testing.T) {
	mine := asked("mine")
	mine.UID = "of-mine"
	w := newWorld(t, mine)
	r := w.runner()
	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) { return "", nil }
	w.stoppedIn(r, fleet.PhaseStaging, v1alpha1.Skipped, func() { r.HandleChanged(w.setSuspended("mine", true)) })
	assert.Equal(t, v1alpha1.StateSuspended, w.rotation("mine").State())
	assert.Empty(t, w.rotation("mine").Status.RotationID)

	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) { return "frozen", nil }
	w.setSuspended("mine", false)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateCanceled, w.rotation("mine").State())
	assert.Len(t, w.engine.rotated, 1)
}

// TestSelectedNodesStay: a node that joins while a rotation is suspended is not drawn in.
func TestSelectedNodesStay(t *testing.T) {
	mine := asked("mine")
	mine.UID, mine.Spec.Trigger, mine.Spec.Nodes = "of-mine", nil, nil
	mine.Spec.NodeSelector = &v1alpha1.NodeSelector{MatchLabels: map[string]v1alpha1.LabelValue{"env": "test"}}
	w := newWorld(t, mine)
	w.engine.selected = []string{"cp1"}
	r := w.runner()
	w.stoppedIn(r, fleet.PhaseWorking, v1alpha1.Succeeded, func() { r.HandleChanged(w.setSuspended("mine", true)) })
	w.engine.selected = []string{"cp1", "cp2"}
	w.setSuspended("mine", false)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("mine").State())
	require.Len(t, w.engine.prepared, 2)
	assert.Equal(t, "env=test", w.engine.prepared[0].NodeSelector)
	assert.Equal(t, []string{"cp1"}, w.engine.prepared[1].Nodes)
	assert.Empty(t, w.engine.prepared[1].NodeSelector)
}

// TestDeletedAfterItWasSuspended, while its node finishes: its end is published.
func TestDeletedAfterItWasSuspended(t *testing.T) {
	mine := asked("mine")
	mine.UID = "of-mine"
	w := newWorld(t, mine)
	r := w.runner()
	w.stoppedIn(r, fleet.PhaseWorking, v1alpha1.Succeeded, func() {
		c := w.setSuspended("mine", true)
		r.HandleChanged(c)
		require.NoError(t, w.client.Delete(t.Context(), c))
		r.HandleDeleted("of-mine")
		r.HandleChanged(c)
	})
	assert.Equal(t, []string{"rotation.started", "rotation.failed"}, w.events.types())
}

// TestSuspendedMeanwhile: spec.suspend was set between the scan of the nodes and the start.
func TestSuspendedMeanwhile(t *testing.T) {
	w := newWorld(t, asked("mine"))
	r := w.runner()
	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) {
		w.setSuspended("mine", true)
		return "", nil
	}
	r.runNext(t.Context())
	assert.Empty(t, w.engine.rotated)
}

// TestChangeAfterTheEndIsObserved: tools that wait for an object compare its generation with
// the one that was observed.
func TestChangeAfterTheEndIsObserved(t *testing.T) {
	w := newWorld(t, asked("mine"))
	r := w.runner()
	r.runNext(t.Context())
	w.setSuspended("mine", true)
	r.runNext(t.Context())
	c := w.rotation("mine")
	assert.Equal(t, c.Generation, c.Status.ObservedGeneration)
	assert.Equal(t, v1alpha1.StateSucceeded, c.State())
	assert.Len(t, w.engine.rotated, 1)
}
