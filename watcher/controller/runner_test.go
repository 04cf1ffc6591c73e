package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func status(c *v1alpha1.CertificateRotation, kind string) metav1.ConditionStatus {
	if condition := meta.FindStatusCondition(c.Status.Conditions, kind); condition != nil {
		return condition.Status
	}
	return ""
}

func TestARotationThatGoesWell(t *testing.T) {
	c := asked("auto-1")
	c.Spec.Timeout, c.Spec.Pause = &v1alpha1.Duration{Duration: 2 * time.Minute}, &v1alpha1.Duration{Duration: 90 * time.Second}
	w := newWorld(t, c)
	r := w.runner()
	r.runNext(t.Context())

	c = w.rotation("auto-1")
	require.Len(t, w.engine.rotated, 1)
	assert.Equal(t, []time.Duration{2 * time.Minute, 90 * time.Second}, []time.Duration{w.engine.rotated[0].Timeout, w.engine.rotated[0].Pause})
	assert.Equal(t, v1alpha1.StateSucceeded, c.State())
	assert.Equal(t, "1d1d1d", c.Status.RotationID)
	assert.Equal(t, int64(1), c.Status.ObservedGeneration)
	assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionSucceeded))
	assert.Empty(t, status(c, v1alpha1.ConditionReconciling))
	assert.Empty(t, status(c, v1alpha1.ConditionStalled))
	assert.NotNil(t, c.Status.StartTime)
	assert.NotNil(t, c.Status.CompletionTime)
	require.Len(t, c.Status.Nodes, 1)
	assert.Equal(t, "Verified", c.Status.Nodes[0].Phase)
	assert.Equal(t, []string{"a note"}, c.Status.Notes)
	assert.Equal(t, []string{"rotation.started", "rotation.nodeverified", "rotation.succeeded"}, w.events.types())
	require.Len(t, w.engine.prepared, 1)
	assert.Equal(t, plan.Request{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Restart: plan.RestartIfNeeded, MaxUnavailable: "10%"}, w.engine.prepared[0])

	r.runNext(t.Context())
	assert.Len(t, w.engine.rotated, 1, "what has ended never runs again")
}

func TestHowItEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		result v1alpha1.Result
		want   v1alpha1.RotationState
		event  string
	}{
		"rolled back":                  {fleet.ErrStopped, v1alpha1.RolledBack, v1alpha1.StateRolledBack, "rotation.rolledback"},
		"stopped":                      {fleet.ErrStopped, v1alpha1.Failed, v1alpha1.StateFailed, "rotation.failed"},
		"manual intervention required": {fleet.ErrManualInterventionRequired, v1alpha1.Failed, v1alpha1.StateManualInterventionRequired, "rotation.failed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, asked("auto-1"))
			w.engine.rotate = func(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
				o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseUndone, Text: "back"})
				return &v1alpha1.RotationReport{Result: tt.result, Items: []v1alpha1.RotationItem{{Node: "cp1", Result: tt.result}}}, tt.err
			}
			w.runner().runNext(t.Context())
			c := w.rotation("auto-1")
			assert.Equal(t, tt.want, c.State())
			assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionStalled))
			assert.Equal(t, metav1.ConditionFalse, status(c, v1alpha1.ConditionSucceeded))
			assert.Contains(t, w.events.types(), tt.event)
			assert.Equal(t, []string{"cp1"}, pastOf(c).FailedNodes)
		})
	}
}

// TestInterruptedRotationIsContinued: the watcher ended in an orderly way; its successor continues
// the same rotation.
func TestInterruptedRotationIsContinued(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.engine.rotate = func(ctx context.Context, _ fleet.Options) (*v1alpha1.RotationReport, error) {
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fleet.ErrInterrupted
	}
	w.runner().runNext(t.Context())
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateInterrupted, c.State())
	assert.Equal(t, metav1.ConditionUnknown, status(c, v1alpha1.ConditionSucceeded), "it is not at its end")
	assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionReconciling))
	assert.Equal(t, []string{"rotation.started"}, w.events.types())

	w.engine.rotate = nil
	w.engine.unfinished = &plan.Unfinished{ID: "1d1d1d"}
	w.runner().runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-1").State())
	assert.Equal(t, "1d1d1d", w.engine.rotated[1].ID)
}

// TestKilledItIsNotDoneTwice, wherever the watcher was when it was killed.
func TestKilledItIsNotDoneTwice(t *testing.T) {
	running := func() *v1alpha1.CertificateRotation {
		c := asked("auto-1")
		setState(c, v1alpha1.StateRunning, "", noon)
		c.Status.RotationID = "aaaaaa"
		return c
	}
	t.Run("before any node knew", func(t *testing.T) {
		w := newWorld(t, running())
		w.runner().runNext(t.Context())
		require.Len(t, w.engine.rotated, 1)
		assert.Equal(t, "aaaaaa", w.engine.rotated[0].ID, "under the id that was written down")
	})
	t.Run("after the end, before it was written down", func(t *testing.T) {
		c := running()
		c.Spec.Trigger = nil // a user requested it: there are no fingerprints to compare
		w := newWorld(t, c)
		w.engine.nodes = []inventory.Node{{Name: "cp1", Rotations: []inventory.NodeRotation{{ID: "aaaaaa", Scope: "services=etcd", State: inventory.Finished}}}}
		w.runner().runNext(t.Context())
		assert.Empty(t, w.engine.rotated)
		assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-1").State())
		assert.Equal(t, []string{"rotation.succeeded"}, w.events.types())
	})
	t.Run("they were renewed meanwhile", func(t *testing.T) {
		w := newWorld(t, asked("auto-1"))
		w.engine.nodes = []inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{{Facts: certs.Facts{FingerprintSHA256: "another"}}}}}
		w.runner().runNext(t.Context())
		assert.Empty(t, w.engine.rotated)
		assert.Contains(t, w.rotation("auto-1").Message(), "nothing to do")
	})
}

func TestItWaitsForTheLockAndForTheCluster(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.engine.rotate = func(context.Context, fleet.Options) (*v1alpha1.RotationReport, error) {
		return &v1alpha1.RotationReport{}, &kube.HeldError{Holder: "root@laptop"}
	}
	r := w.runner()
	assert.Equal(t, retryAfter, r.runNext(t.Context()))
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StatePending, c.State())
	assert.Contains(t, c.Message(), "root@laptop")

	assert.NotContains(t, w.events.types(), "rotation.started", "it has not begun")

	assert.Equal(t, retryAfter, r.runNext(t.Context()))
	assert.Len(t, w.engine.prepared, 1, "its own write does not start another scan at once")

	w.clock.pass(retryAfter)
	w.engine.rotate, w.engine.prepareErr = nil, errors.New("connection reset")
	assert.Equal(t, retryAfter, r.runNext(t.Context()), "a scan that failed once, which the next success clears")
	w.clock.pass(retryAfter)
	w.engine.prepareErr = &kube.HeldError{Holder: "alice@desk"}
	assert.Equal(t, retryAfter, r.runNext(t.Context()), "a lock that is seen before anything else")
	w.clock.pass(6 * time.Minute)
	r.runNext(t.Context())
	assert.Contains(t, w.rotation("auto-1").Message(), "alice@desk", "is waited for as long as it takes")

	w.clock.pass(retryAfter)
	w.engine.prepareErr = errors.New("connection refused")
	assert.Equal(t, retryAfter, r.runNext(t.Context()))
	assert.Equal(t, v1alpha1.StatePending, w.rotation("auto-1").State())
	w.clock.pass(6 * time.Minute)
	r.runNext(t.Context())
	c = w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateRefused, c.State())
	assert.Contains(t, c.Message(), "connection refused")
}

func TestOneAtATimeTheUrgentFirst(t *testing.T) {
	older, urgent := asked("auto-older"), asked("auto-urgent")
	urgent.CreationTimestamp = metav1.NewTime(noon.Add(time.Minute))
	urgent.Spec.Compromised, urgent.Spec.Trigger.Reason = true, v1alpha1.TriggerCompromised
	w := newWorld(t, older, urgent)
	r := w.runner()
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-urgent").State())
	c := w.rotation("auto-older")
	assert.Equal(t, v1alpha1.StatePending, c.State())
	assert.Equal(t, `waiting for rotation "auto-urgent"`, c.Message())
	assert.True(t, w.engine.prepared[0].Compromised)
	assert.NotEmpty(t, w.rotation("auto-urgent").Status.Notes[1:], "what the old certificate still opens is said")
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-older").State())
}

func TestNotifyOnlyRunsNothingAndSaysHow(t *testing.T) {
	w := newWorld(t, asked("by-hand"))
	r := w.runner()
	r.NotifyOnly = true
	r.runNext(t.Context())
	assert.Empty(t, w.engine.prepared)
	assert.Contains(t, w.rotation("by-hand").Message(), "kubectl rotate-certs --service etcd --node cp1")
}
