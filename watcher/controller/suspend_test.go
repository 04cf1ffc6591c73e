package controller

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// suspend sets or clears spec.suspend, as an API server does: the generation counts.
func (w *world) suspend(name string, on bool) *v1alpha1.CertificateRotation {
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
	r.next(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("other").State())
	c := w.rotation("suspended")
	assert.Equal(t, v1alpha1.StateSuspended, c.State())
	assert.Equal(t, metav1.ConditionUnknown, status(c, v1alpha1.ConditionSucceeded))
	assert.Equal(t, renewal.Suspended, pastOf(c).State)
	require.Len(t, w.engine.rotated, 1)

	w.suspend("suspended", false)
	r.next(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("suspended").State())
}

// TestRotationThatRunsIsSuspended: it stops between two nodes, and goes on under its id.
func TestRotationThatRunsIsSuspended(t *testing.T) {
	mine := asked("mine")
	mine.UID = "of-mine"
	w := newWorld(t, mine)
	r := w.runner()
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "working"})
		r.Changed(w.rotation("mine"))
		require.NoError(t, ctx.Err(), "a label was changed, say")
		r.Changed(w.suspend("mine", true))
		<-ctx.Done()
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fleet.ErrInterrupted
	}
	r.next(t.Context())
	c := w.rotation("mine")
	assert.Equal(t, v1alpha1.StateSuspended, c.State())
	assert.Nil(t, c.Status.CompletionTime)
	assert.Equal(t, []string{"rotation.started"}, w.story.types())

	w.engine.rotate = nil
	r.next(t.Context())
	assert.Len(t, w.engine.rotated, 1)

	w.suspend("mine", false)
	r.next(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("mine").State())
	require.Len(t, w.engine.rotated, 2)
	assert.Equal(t, w.engine.rotated[0].ID, w.engine.rotated[1].ID)
}

// TestSuspendedMeanwhile: spec.suspend was set between the look at the nodes and the start.
func TestSuspendedMeanwhile(t *testing.T) {
	w := newWorld(t, asked("mine"))
	r := w.runner()
	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) {
		w.suspend("mine", true)
		return "", nil
	}
	r.next(t.Context())
	assert.Empty(t, w.engine.rotated)
}

// TestChangeAfterTheEndIsObserved: tools that wait for an object compare its generation with
// the one that was observed.
func TestChangeAfterTheEndIsObserved(t *testing.T) {
	w := newWorld(t, asked("mine"))
	r := w.runner()
	r.next(t.Context())
	w.suspend("mine", true)
	r.next(t.Context())
	c := w.rotation("mine")
	assert.Equal(t, c.Generation, c.Status.ObservedGeneration)
	assert.Equal(t, v1alpha1.StateSucceeded, c.State())
	assert.Len(t, w.engine.rotated, 1)
}
