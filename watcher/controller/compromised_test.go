package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

func compromised(name string) *v1alpha1.CompromisedCertificate {
	return &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.CompromisedCertificateSpec{Service: certs.Etcd, Reason: "laptop lost"}}
}

func accepted(c *v1alpha1.CompromisedCertificate) metav1.Condition {
	if condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted); condition != nil {
		return *condition
	}
	return metav1.Condition{}
}

// TestFailedStatusWriteHoldsNothingBack: neither the others nor what expires.
func TestFailedStatusWriteHoldsNothingBack(t *testing.T) {
	w := newWorld(t, compromised("bad"))
	w.client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
			return errors.New("refused")
		},
	})
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, day)
	next := w.decideOnce(d)
	requests := w.events.requests()
	require.Len(t, requests, 1)
	assert.False(t, requests[0].Compromised, "the matching certificates are written down before anything is requested")
	assert.False(t, next.After(noon.Add(retryAfter)))
}

// TestCompromisedCertificateOfManyNodes fits into what Kubernetes and etcd take, or says that it does not.
func TestCompromisedCertificateOfManyNodes(t *testing.T) {
	w := newWorld(t, compromised("stolen"))
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 300*day)
	for i := range maxMatched {
		w.node(fmt.Sprintf("cp-%056d", i), true)
	}
	w.decideOnce(d)
	c := w.compromisedCertificate("stolen")
	assert.Equal(t, metav1.ConditionTrue, accepted(c).Status)
	assert.Less(t, len(accepted(c).Message), 1000, "a condition's message is bounded by Kubernetes")

	w = newWorld(t, compromised("stolen"))
	d = w.decider()
	for i := range maxMatched + 1 {
		name := fmt.Sprint("cp-", i)
		w.node(name, true)
		w.report(name, fmt.Sprintf("%064d", i), 300*day)
	}
	w.decideOnce(d)
	c = w.compromisedCertificate("stolen")
	assert.Equal(t, "TooMany", accepted(c).Reason)
	assert.True(t, meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionStalled))
	assert.Nil(t, meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReconciling))
	assert.Empty(t, c.Status.Certificates)
	assert.Empty(t, w.events.requests())
}

// TestNewLeaderPublishesCompromisedAgain, which cannot know whether its predecessor came to it.
func TestNewLeaderPublishesCompromisedAgain(t *testing.T) {
	w := newWorld(t, compromised("stolen"))
	w.node("cp1", true)
	w.report("cp1", oldPrint, 300*day)
	d := w.decider()
	w.decideOnce(d)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.compromised", "rotation.requested"}, w.events.types())
	w.decideOnce(w.decider())
	assert.Contains(t, w.events.types(), "certificate.compromised")
}

// TestOldEventMatchesNoNewCertificate: NATS delivers everything again to a new consumer, also
// a CompromisedCertificate whose certificates were replaced, and that was deleted, weeks ago.
func TestOldEventMatchesNoNewCertificate(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", newPrint, 364*day) // issued yesterday
	e := event.New("prod", noon.Add(-20*day), event.CertificateCompromised{Service: certs.Etcd, Reason: "laptop lost"})
	require.NoError(t, d.ReceiveCompromised(t.Context(), e))
	c := w.compromisedCertificate(e.ObjectName())
	c.CreationTimestamp = metav1.NewTime(noon)
	require.NoError(t, w.client.Update(t.Context(), c))
	w.decideOnce(d)
	assert.Empty(t, w.events.requests())
	assert.Equal(t, "NoMatch", accepted(w.compromisedCertificate(e.ObjectName())).Reason)
	assert.True(t, meta.IsStatusConditionTrue(w.compromisedCertificate(e.ObjectName()).Status.Conditions, v1alpha1.ConditionReconciling), "it is evaluated again")
}

// TestPublishedNoticesAreForgotten once it is not so any more.
func TestPublishedNoticesAreForgotten(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	for i := range maxStalePublished + 100 {
		w.report("cp1", fmt.Sprintf("%064d", i), day)
		w.decideOnce(d)
	}
	assert.LessOrEqual(t, len(d.published), maxStalePublished+2)
	w.events.types()
	w.decideOnce(d)
	assert.NotContains(t, w.events.types(), "certificate.expiring", "what is still so was not forgotten")
}

// TestRequestWithoutCompromisedCertificateIsForbidden: a user that may request
// rotations may not report certificates as compromised.
func TestRequestWithoutCompromisedCertificateIsForbidden(t *testing.T) {
	stolen, other := compromised("stolen"), compromised("other")
	stolen.Status.Certificates = []v1alpha1.CompromisedRef{{Node: "cp1", Service: certs.Etcd, Name: "etcd-server", FingerprintSHA256: oldPrint}}
	other.Status.Certificates = []v1alpha1.CompromisedRef{{Node: "w1", Service: certs.Kubelet, Name: "kubelet-client", FingerprintSHA256: oldPrint}}
	w := newWorld(t, stolen, other)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 300*day)
	r := event.RotationRequested{Name: "by-hand", Services: []certs.Service{certs.Etcd}, Reason: event.ReasonCompromised, Attempt: 1, Compromised: true, Fingerprints: []string{oldPrint}}
	require.True(t, apierrors.IsForbidden(d.ReceiveRequest(t.Context(), r, "forged", w.clock.now())))
	r.CompromisedCertificates = []string{"no-such"}
	require.True(t, apierrors.IsForbidden(d.ReceiveRequest(t.Context(), r, "forged", w.clock.now())))
	r.CompromisedCertificates = []string{"other"}
	require.True(t, apierrors.IsForbidden(d.ReceiveRequest(t.Context(), r, "of another object", w.clock.now())))
	r.CompromisedCertificates = []string{"stolen"}
	more := r
	more.Fingerprints = []string{oldPrint, newPrint}
	require.True(t, apierrors.IsForbidden(d.ReceiveRequest(t.Context(), more, "more than it matches", w.clock.now())))
	require.NoError(t, d.ReceiveRequest(t.Context(), r, "genuine", w.clock.now()))
	assert.True(t, w.rotation("by-hand").Spec.Compromised)
}

// TestRequestMustNameCertificates: one that does not would have anything rotated, due or not.
func TestRequestMustNameCertificates(t *testing.T) {
	w := newWorld(t)
	err := w.decider().ReceiveRequest(t.Context(), event.RotationRequested{Name: "by-hand", Services: certs.Services(), Reason: event.ReasonExpiring, Attempt: 1}, "event-1", w.clock.now())
	assert.True(t, apierrors.IsBadRequest(err), "%v: it is poison", err)
}

// TestGivenUpRequestIsNotedOnItsCompromisedCertificates: nothing else of it is left in the cluster.
func TestGivenUpRequestIsNotedOnItsCompromisedCertificates(t *testing.T) {
	w := newWorld(t, compromised("stolen"), compromised("other"))
	d := w.decider()
	recorder := events.NewFakeRecorder(10)
	d.Recorder = recorder
	e := event.New("prod", noon, event.RotationRequested{Name: "auto-1", CompromisedCertificates: []string{"stolen", "deleted"}})
	d.GivenUp(t.Context(), e, errors.New("not permitted"))
	d.GivenUp(t.Context(), event.Event{}, errors.New("not a CloudEvent"))
	close(recorder.Events)
	var noted []string
	for text := range recorder.Events {
		noted = append(noted, text)
	}
	assert.Equal(t, []string{`Warning RequestGivenUp request for rotation "auto-1" given up: not permitted`}, noted)
}

// TestDeletedCompromisedCertificateIsNotCreatedAgain when NATS delivers its event again. What was made
// before the event was published was not made for it.
func TestDeletedCompromisedCertificateIsNotCreatedAgain(t *testing.T) {
	e := event.New("prod", noon, event.CertificateCompromised{Service: certs.Etcd, Reason: "stolen"})
	for made, want := range map[time.Duration]int{time.Minute: 0, -time.Minute: 1} {
		rotation := asked("auto-1")
		rotation.Spec.Compromised, rotation.Spec.Trigger.CompromisedCertificates = true, []string{e.ObjectName()}
		rotation.CreationTimestamp = metav1.NewTime(noon.Add(made))
		w := newWorld(t, rotation)
		require.NoError(t, w.decider().ReceiveCompromised(t.Context(), e))
		var compromised v1alpha1.CompromisedCertificateList
		require.NoError(t, w.client.List(t.Context(), &compromised))
		assert.Len(t, compromised.Items, want, "a rotation made %s after the event", made)
	}
}
