package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

func (w *world) rotations() (out []v1alpha1.CertificateRotation) {
	w.t.Helper()
	var list v1alpha1.CertificateRotationList
	require.NoError(w.t, w.client.List(w.t.Context(), &list))
	return list.Items
}

// TestNATSHoldsNoRotationUp: what is asked for through NATS comes about without it.
func TestNATSHoldsNoRotationUp(t *testing.T) {
	for name, tt := range map[string]struct {
		left  time.Duration // of the certificate's life
		err   error         // of publishing
		after time.Duration
	}{
		"no consumer":               {left: 20 * day, after: createDirectlyAfter},
		"it cannot be published":    {left: 20 * day, err: errors.New("the outbox is full")},
		"no consumer, expires soon": {left: 2 * day},
		"no consumer, expired":      {left: -time.Hour},
		"not published, expired":    {left: -time.Hour, err: errors.New("the outbox is full")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.events.err = tt.err
			d := w.decider()
			w.node("cp1", true)
			w.report("cp1", oldPrint, tt.left)
			var made []v1alpha1.CertificateRotation
			for made = w.rotations(); len(made) == 0 && !w.clock.now().After(noon.Add(tt.after)); made = w.rotations() {
				next := w.decideOnce(d)
				if len(w.rotations()) == 0 {
					w.clock.pass(next.Sub(w.clock.now()))
				}
			}
			require.Len(t, made, 1)
			assert.Equal(t, noon.Add(tt.after), w.clock.now())
			assert.Equal(t, []string{oldPrint}, made[0].Spec.Trigger.Fingerprints)
			if requests := w.events.requests(); tt.err == nil {
				require.NoError(t, d.ReceiveRequest(t.Context(), requests[0], "event-1", w.clock.now()), "the event comes in the end")
				assert.Len(t, w.rotations(), 1)
			}
		})
	}
}

// TestNoticesArePublishedAgainWhileTheyHold, every day; what was not taken, as soon as possible.
func TestNoticesArePublishedAgainWhileTheyHold(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	p := renewal.Default().NotifyOnly()
	d.UsePolicy(&p)
	w.node("cp1", true)
	w.report("cp1", oldPrint, 10*day)
	w.events.err = errors.New("the outbox is full")
	next := w.decideOnce(d)
	assert.Equal(t, noon.Add(requestInterval), next)
	for range 2 * noticesPerNode { // what was not taken is not counted against the node
		d.publishNotices(noon, d.assessed["cp1"].Notices)
	}
	w.events.err = nil
	published := 0
	for next.Before(noon.Add(5 * day)) {
		w.clock.pass(next.Sub(w.clock.now()))
		next = w.decideOnce(d)
		published += len(w.events.types())
	}
	assert.Equal(t, 5, published)
}

// TestANodeCannotDrownTheStream with certificates that it invents, however often it changes
// its report.
func TestANodeCannotDrownTheStream(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	p := renewal.Default().NotifyOnly()
	d.UsePolicy(&p)
	w.node("w1", false)
	w.node("w2", false)
	for i := range 2 * noticesPerNode {
		w.report("w1", fmt.Sprintf("%064x", i), 10*day)
		w.decideOnce(d)
	}
	w.report("w2", oldPrint, 10*day)
	w.decideOnce(d)
	assert.Equal(t, noticesPerNode+1, len(w.events.types()))
	w.clock.pass(certs.Day)
	w.report("w1", newPrint, 10*day)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.renewed", "certificate.expiring", "certificate.expiring"}, w.events.types(), "another day")
}

// TestRotationNoLongerPermittedIsCanceled: the freeze was written after the rotation was asked
// for, and another one kept it waiting. Once the freeze is over, it is asked for anew.
func TestRotationNoLongerPermittedIsCanceled(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	w.decideOnce(d)
	require.NoError(t, d.ReceiveRequest(t.Context(), w.events.requests()[0], "event-1", noon))
	first := w.rotations()[0]

	p := renewal.Default()
	p.Freeze = renewal.Freeze{On: true, Until: noon.Add(3 * day), Reason: "end of the year"}
	d.UsePolicy(&p)
	w.engine.nodes = []inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{{Service: certs.Etcd, Facts: certs.Facts{FingerprintSHA256: oldPrint}}}}}
	r := w.runner()
	r.MayStart = d.MayStart
	r.runNext(t.Context())
	assert.Empty(t, w.engine.rotated)
	canceled := w.rotation(first.Name)
	assert.Equal(t, v1alpha1.StateCanceled, canceled.State())
	assert.Contains(t, canceled.Message(), "renewals are frozen: end of the year")
	w.decideOnce(d)
	assert.Empty(t, w.events.types())

	w.clock.pass(3 * day)
	w.decideOnce(d)
	requests := w.events.requests()
	require.Len(t, requests, 1)
	assert.Equal(t, int32(2), requests[0].Attempt)
	require.NoError(t, d.ReceiveRequest(t.Context(), requests[0], "event-2", w.clock.now()))
	r.runNext(t.Context())
	assert.Len(t, w.engine.rotated, 1)
}

// TestStartedRotationIsFinishedInAFreeze: a node may be half done.
func TestStartedRotationIsFinishedInAFreeze(t *testing.T) {
	c := asked("auto-1")
	setState(c, v1alpha1.StateInterrupted, "", noon)
	c.Status.RotationID = "1d1d1d"
	w := newWorld(t, c)
	r := w.runner()
	r.MayStart = func(_ context.Context, _ *v1alpha1.CertificateRotation) (string, error) { return "frozen", nil }
	r.runNext(t.Context())
	assert.Len(t, w.engine.rotated, 1)
}

// TestAnothersUnfinishedWorkOpensNoFreeze: an earlier rotation of the same scope, which no
// node knows the end of, is not this one.
func TestAnothersUnfinishedWorkOpensNoFreeze(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.engine.unfinished = &plan.Unfinished{ID: "bbbbbb"}
	r := w.runner()
	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) { return "frozen", nil }
	r.runNext(t.Context())
	assert.Empty(t, w.engine.rotated)
	assert.Equal(t, v1alpha1.StateCanceled, w.rotation("auto-1").State())
}

// TestRotationThatFindsTheLockHeldHasNotStarted: it is asked again whether it may start.
func TestRotationThatFindsTheLockHeldHasNotStarted(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	r := w.runner()
	frozen := ""
	r.MayStart = func(context.Context, *v1alpha1.CertificateRotation) (string, error) { return frozen, nil }
	w.engine.rotate = func(context.Context, fleet.Options) (*v1alpha1.RotationReport, error) {
		return nil, &kube.HeldError{Holder: "root@laptop"}
	}
	r.runNext(t.Context())
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StatePending, c.State())
	assert.Nil(t, c.Status.StartTime)
	frozen = "frozen"
	w.clock.pass(time.Hour)
	r.runNext(t.Context())
	assert.Equal(t, v1alpha1.StateCanceled, w.rotation("auto-1").State())
	assert.Equal(t, []string{}, append([]string{}, w.events.types()...), "it was never begun, so it did not fail")
}

// TestInterruptedRotationIsNotRefused: nodes that it did stay done.
func TestInterruptedRotationIsNotRefused(t *testing.T) {
	c := asked("auto-1")
	setState(c, v1alpha1.StateInterrupted, "", noon)
	c.Status.RotationID = "1d1d1d"
	w := newWorld(t, c)
	w.engine.rotate = func(context.Context, fleet.Options) (*v1alpha1.RotationReport, error) {
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed, Items: []v1alpha1.RotationItem{{Node: "cp1", Result: v1alpha1.Skipped}}}, fleet.ErrStopped
	}
	w.runner().runNext(t.Context())
	assert.Equal(t, v1alpha1.StateFailed, w.rotation("auto-1").State())
}

// TestRotationThatTouchedNoNodeIsRefused, and is no failure of any certificate.
func TestRotationThatTouchedNoNodeIsRefused(t *testing.T) {
	w := newWorld(t, asked("auto-1"))
	w.engine.rotate = func(_ context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
		o.Progress(fleet.Progress{Node: "cp3", Phase: fleet.PhaseFailed, Text: "its machine is off"})
		return &v1alpha1.RotationReport{Result: v1alpha1.Failed, Items: []v1alpha1.RotationItem{
			{Node: "cp1", Service: certs.Etcd, Result: v1alpha1.Skipped}, {Node: "cp2", Service: certs.Kubelet, Result: v1alpha1.NoCertificate},
		}}, fleet.ErrStopped
	}
	w.runner().runNext(t.Context())
	c := w.rotation("auto-1")
	assert.Equal(t, v1alpha1.StateRefused, c.State())
	assert.Equal(t, renewal.Refused, pastOf(c).State)
	assert.Equal(t, metav1.ConditionTrue, status(c, v1alpha1.ConditionStalled), "who waits for it to fail waits no longer")
}

// TestAStatusThatIsRefusedForGood holds up its own rotation and no other.
func TestAStatusThatIsRefusedForGood(t *testing.T) {
	first, second := asked("auto-1"), asked("auto-2")
	first.UID, second.UID = "first", "second"
	w := newWorld(t, first, second)
	w.client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, options ...client.SubResourceUpdateOption) error {
			if s := o.(*v1alpha1.CertificateRotation); s.Name == "auto-1" && s.HasEnded() {
				return apierrors.NewInvalid(schema.GroupKind{Kind: "CertificateRotation"}, s.Name, nil)
			}
			return c.SubResource(sub).Update(ctx, o, options...)
		},
	})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := w.runner()
		r.Now = func() time.Time { return noon.Add(time.Since(began)) }
		r.runNext(t.Context())
		assert.Equal(t, v1alpha1.StateRunning, w.rotation("auto-1").State())
		assert.Less(t, time.Since(began), 2*refusedPause)
		r.runNext(t.Context())
		assert.Equal(t, v1alpha1.StateSucceeded, w.rotation("auto-2").State())
	})
}

// TestALoopThatIsStuckIsNotAlive. One that has not begun is: another watcher leads.
func TestALoopThatIsStuckIsNotAlive(t *testing.T) {
	w := newWorld(t)
	d, r := w.decider(), w.runner()
	w.clock.pass(4 * maxDecideInterval)
	require.NoError(t, d.CheckAlive())
	require.NoError(t, r.CheckAlive())
	w.decideOnce(d)
	r.runNext(t.Context())
	w.clock.pass(2 * maxDecideInterval)
	require.NoError(t, d.CheckAlive())
	w.clock.pass(time.Minute)
	require.ErrorContains(t, d.CheckAlive(), "deciding has been stuck for 1h1m0s")
	require.ErrorContains(t, r.CheckAlive(), "running rotations has been stuck for 1h1m0s")
}

// TestPublishedCompromisedCertificateExists, or the event is given up and reported.
func TestPublishedCompromisedCertificateExists(t *testing.T) {
	w := newWorld(t)
	published := event.Event{Time: noon, Data: event.CertificateCompromised{Service: certs.Etcd, Reason: "laptop lost", CompromisedCertificate: "stolen"}}
	require.True(t, apierrors.IsBadRequest(w.decider().ReceiveCompromised(t.Context(), published)))
	require.NoError(t, w.client.Create(t.Context(), &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}}))
	require.NoError(t, w.decider().ReceiveCompromised(t.Context(), published))
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Name: "stolen"}, &v1alpha1.CompromisedCertificate{}))
}
