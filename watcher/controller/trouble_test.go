package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// TestHavingWaitedForOthersIsNoFailure: the API server that the one before has restarted
// may be unavailable for a moment when it is another's turn, however long that one has waited.
func TestHavingWaitedForOthersIsNoFailure(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	r := w.runner()
	r.setPending(t.Context(), w.rotation("auto-1"), "waiting for another")
	w.clock.pass(10 * time.Minute)
	w.engine.prepareErr = errors.New("connection refused")
	assert.Equal(t, retryAfter, r.runNext(t.Context()))
	assert.Equal(t, v1alpha1.StatePending, w.rotation("auto-1").State())
}

// TestStartedRotationFailsIfScansKeepFailing: it would keep all others waiting for ever.
func TestStartedRotationFailsIfScansKeepFailing(t *testing.T) {
	c := asked("auto-1")
	setState(c, v1alpha1.StateRunning, "", noon)
	c.Status.RotationID = "aaaaaa"
	w := newWorld(t, c)
	w.engine.prepareErr = errors.New("no node could be scanned")
	r := w.runner()
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateRunning, w.rotation("auto-1").State())
	w.clock.pass(6 * time.Minute)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateFailed, w.rotation("auto-1").State())
}

// TestRefusedPlanFailsItsNodesOnly, at once: another scan would change nothing.
func TestRefusedPlanFailsItsNodesOnly(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.engine.prepareErr = fmt.Errorf("plan: %w", &plan.RefusedError{Problems: []plan.Problem{{Node: "w3", Text: "its key is missing"}, {Node: "w7", Text: "no CA"}}})
	w.runner().runNext(t.Context())
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateRefused, c.State())
	assert.Equal(t, []string{"w3", "w7"}, pastOf(c).FailedNodes)
	assert.Equal(t, "its key is missing", c.Status.Nodes[0].Message)
	assert.Contains(t, c.Message(), "w7: no CA")
}

// TestAStatusThatIsTooMuch: Kubernetes refuses conditions with long messages and etcd large
// objects. A rotation that could not be written down would never end.
func TestAStatusThatIsTooMuch(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	refusals := 0
	w.client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, options ...client.SubResourceUpdateOption) error {
			s := o.(*v1alpha1.CertificateRotation).Status
			for _, condition := range s.Conditions {
				if len(condition.Message) > 32768 {
					return apierrors.NewInvalid(schema.GroupKind{}, o.GetName(), nil)
				}
			}
			if len(s.Nodes) > 500 {
				refusals++
				return apierrors.NewRequestEntityTooLargeError("etcdserver: request is too large")
			}
			return c.SubResource(sub).Update(ctx, o, options...)
		},
	})
	w.engine.rotate = func(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		for i := range maxNodes {
			o.Progress(fleet.Progress{Node: fmt.Sprint("w", i), Phase: fleet.PhaseVerified, Text: strings.Repeat("long ", 500)})
		}
		o.Progress(fleet.Progress{Node: "one-more", Phase: fleet.PhaseFailed, Text: "broken"})
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed, Items: []v1alpha1.RotationItem{{Node: "one-more", Result: v1alpha1.Failed}}}, errors.New(strings.Repeat("much to say\n", 10000))
	}
	synctest.Test(t, func(t *testing.T) { w.runner().runNext(t.Context()) })
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateFailed, c.State())
	assert.Equal(t, 1, refusals)
	assert.Equal(t, []string{"one-more"}, pastOf(c).FailedNodes, "what failed is what a person needs")
	assert.LessOrEqual(t, len(c.Message()), maxMessage)
}

// TestAnotherOfTheSameNameKeepsItsStatus: the rotation that runs was deleted, and
// a user created one of the same name, which has not run.
func TestAnotherOfTheSameNameKeepsItsStatus(t *testing.T) {
	c := asked("by-hand")
	c.UID = "first"
	w := newWorld(t, c)
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		require.NoError(t, w.client.Delete(ctx, w.rotation("by-hand")))
		second := asked("by-hand")
		second.UID = "second"
		require.NoError(t, w.client.Create(ctx, second))
		return &v1alpha1.RotationReport{Result: v1alpha1.Succeeded}, nil
	}
	w.runner().runNext(t.Context())
	assert.Empty(t, w.rotation("by-hand").State())
}

// TestProgressIsWrittenOverALabel that was added meanwhile, and not only at the
// end. (With -race it also shows that events do not read what is being written.)
func TestProgressIsWrittenOverALabel(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	r := w.runner()
	r.Recorder = events.NewFakeRecorder(100)
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		labelled := w.rotation("auto-1")
		labelled.Labels = map[string]string{"seen": "by-me"}
		require.NoError(t, w.client.Update(ctx, labelled))
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "replacing"})
		<-time.After(2 * time.Second) // by a clock that jumps
		require.Len(t, w.rotation("auto-1").Status.Nodes, 1)
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseVerified, Text: "verified", Done: true})
		return &v1alpha1.RotationReport{Result: v1alpha1.Succeeded}, nil
	}
	synctest.Test(t, func(t *testing.T) { r.runNext(t.Context()) })
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-1").State())
	assert.Equal(t, "by-me", w.rotation("auto-1").Labels["seen"])
}

// TestNodesThatAreLeftOutAreNamed: "done and verified" is not true of a node that was NotReady.
func TestNodesThatAreLeftOutAreNamed(t *testing.T) {
	c := asked("auto-1")
	c.Spec.Nodes = []string{"cp1", "w7"}
	w := newWorld(t, c)
	notReady := func(node string) plan.NotInspected {
		return plan.NotInspected{Node: node, Reason: "NotReady"}
	}
	w.engine.plan.NotInspected = []plan.NotInspected{notReady("w7"), notReady("w8")}
	w.runner().runNext(t.Context())
	c = w.rotation("auto-1")
	assert.Equal(t, "done and verified, except for nodes that could not be rotated: w7", c.Message())
	assert.Equal(t, "Skipped", c.Status.Nodes[0].Phase)
	assert.Equal(t, "NotReady", c.Status.Nodes[0].Message)
	assert.Empty(t, pastOf(c).FailedNodes)
}

// TestCertificatesThatAreLeftOutAreInTheStatus: the rotation has succeeded without them.
func TestCertificatesThatAreLeftOutAreInTheStatus(t *testing.T) {
	c := asked("auto-1")
	c.Spec.RequireAll = true
	w := newWorld(t, c)
	left := plan.LeftOut{Node: "cp1", Service: certs.KubeAPIServer, Name: "apiserver-etcd-client", Path: "/pki/a.crt", NotAfter: noon, Reason: "no CA key"}
	w.engine.plan.LeftOut = []plan.LeftOut{left}
	w.engine.rotate = func(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		return &v1alpha1.RotationReport{ID: o.ID, Result: v1alpha1.Succeeded, LeftOut: printers.LeftOutItems(o.Plan.LeftOut)}, nil
	}
	w.runner().runNext(t.Context())
	c = w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateSucceeded, c.State())
	assert.Equal(t, "done and verified; left out, cannot be renewed: apiserver-etcd-client of cp1", c.Message())
	require.Len(t, c.Status.LeftOut, 1)
	assert.Equal(t, "no CA key", c.Status.LeftOut[0].Reason)
	assert.True(t, c.Status.LeftOut[0].NotAfter.Time.Equal(noon))
	assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionLeftOut))
	assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionSucceeded))
	assert.True(t, w.engine.prepared[0].RequireAll)
	assert.Empty(t, pastOf(c).FailedNodes, "no node is blamed")
}

// TestNewLeaderPublishesEndsAgain: its predecessor was killed after it had written the end
// down and before it was published. The id is the same, so that NATS has it once.
func TestNewLeaderPublishesEndsAgain(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.runner().runNext(t.Context())
	before := w.events.published[len(w.events.published)-1]
	w.events.types()
	w.clock.pass(time.Minute)
	w.runner().republishEnds(t.Context())
	require.Len(t, w.events.published, 1)
	assert.Equal(t, event.New("prod", noon, before).ID, event.New("prod", w.clock.now(), w.events.published[0]).ID)
	w.events.types()
	w.clock.pass(time.Hour)
	w.runner().republishEnds(t.Context())
	assert.Empty(t, w.events.types())
}

// TestDeletedObjectCancelsItsRotation: the node that is being worked on comes to its end, and
// no other is begun. The object of another rotation has nothing to do with it.
func TestDeletedObjectCancelsItsRotation(t *testing.T) {
	c, other := asked("mine"), asked("other")
	c.UID, other.UID, other.CreationTimestamp = "of-mine", "of-other", metav1.NewTime(noon.Add(time.Hour))
	w := newWorld(t, c, other)
	r := w.runner()
	canceled := make(chan error, 1)
	w.engine.rotate = func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "working"})
		r.HandleDeleted("of-other")
		canceled <- ctx.Err()
		require.NoError(t, w.client.Delete(t.Context(), c))
		r.HandleDeleted("of-mine")
		<-ctx.Done()
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fleet.ErrInterrupted
	}
	var state v1alpha1.RotationState
	r.Finished = func(s v1alpha1.RotationState, _ time.Duration) { state = s }
	r.runNext(t.Context())
	assert.NoError(t, <-canceled, "another object was deleted")
	assert.Equal(t, v1alpha1.StateCanceled, state)
	assert.Equal(t, []string{"rotation.started", "rotation.failed"}, w.events.types())
	w.engine.rotate = nil
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("other").State(), "the next one runs")
}

// TestDeletedObjectHidesNoTrouble: the node that was being worked on could not be undone.
func TestDeletedObjectHidesNoTrouble(t *testing.T) {
	c := asked("mine")
	c.UID = "of-mine"
	w := newWorld(t, c)
	r := w.runner()
	w.engine.rotate = func(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "working"})
		r.HandleDeleted("of-mine")
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fleet.ErrManualInterventionRequired
	}
	var state v1alpha1.RotationState
	r.Finished = func(s v1alpha1.RotationState, _ time.Duration) { state = s }
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateManualInterventionRequired, state)
}
