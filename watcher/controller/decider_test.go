package controller

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

const (
	oldPrint = "0000000000000000000000000000000000000000000000000000000000000001"
	newPrint = "0000000000000000000000000000000000000000000000000000000000000002"
)

// decider of a world whose policy is the default one.
func (w *world) decider() *Decider {
	policy := renewal.Default()
	d := NewDecider(&Decider{Client: w.client, Picture: w.picture, Events: w.events, Log: slog.New(slog.DiscardHandler), Now: w.clock.now}, &policy)
	d.assessedBy = nil
	return d
}

// node is in the picture, Ready, of the control plane or not.
func (w *world) node(name string, controlPlane bool) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
		NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"}, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	if controlPlane {
		n.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
	}
	w.picture.UpdateNode(name, n, w.clock.now())
}

// report says that a node has an etcd certificate that ends after a time.
func (w *world) report(node, fingerprint string, ends time.Duration) {
	at := w.clock.now()
	w.picture.UpdateReport(node, &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{{
		Service: certs.Etcd, Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt", Subject: "CN=cp1", Issuer: "CN=etcd-ca", SerialNumber: "1a",
		FingerprintSHA256: fingerprint, NotBefore: metav1.NewTime(at.Add(ends - 365*day)), NotAfter: metav1.NewTime(at.Add(ends)),
	}}})
}

func (w *world) decideOnce(d *Decider) time.Time {
	w.t.Helper()
	next, err := d.decideOnce(w.t.Context())
	require.NoError(w.t, err)
	return next
}

// requests returns the rotations that were requested, and clears the published events.
func (s *publishedEvents) requests() []event.RotationRequested {
	s.Lock()
	defer s.Unlock()
	var out []event.RotationRequested
	for _, d := range s.published {
		if r, ok := d.(event.RotationRequested); ok {
			out = append(out, r)
		}
	}
	s.published = nil
	return out
}

// TestFromReportToRotation: a certificate that expires soon is reported once, and its rotation is
// requested until its object exists, under the same name.
func TestFromReportToRotation(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 300*day)
	w.decideOnce(d)
	assert.Empty(t, w.events.types(), "a certificate with most of its life before it")

	w.report("cp1", oldPrint, 10*day)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.expiring", "rotation.requested"}, w.events.types())
	next := w.decideOnce(d)
	assert.Empty(t, w.events.types(), "not asked again at once")
	assert.False(t, next.After(noon.Add(requestInterval)))

	w.clock.pass(requestInterval)
	w.decideOnce(d)
	requests := w.events.requests()
	require.Len(t, requests, 1, "the object is still not there")
	assert.Equal(t, []string{oldPrint}, requests[0].Fingerprints)

	require.NoError(t, d.ReceiveRequest(t.Context(), requests[0], "event-1", w.clock.now()))
	require.NoError(t, d.ReceiveRequest(t.Context(), requests[0], "event-1", w.clock.now()), "a repeated event makes nothing")
	c := w.rotation(requests[0].Name)
	assert.Equal(t, v1alpha1.TriggerExpiring, c.Spec.Trigger.Reason)
	assert.Equal(t, "IfNeeded", c.Spec.Restart)
	assert.Equal(t, "event-1", c.Spec.Trigger.EventID)
	w.clock.pass(requestInterval)
	w.decideOnce(d)
	assert.Empty(t, w.events.types(), "it exists, so it is not asked for")

	w.report("cp1", newPrint, 365*day)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.renewed"}, w.events.types())
}

// TestCertificateBecomesDueWithoutChanges: no object changes, and a certificate becomes due.
func TestCertificateBecomesDueWithoutChanges(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 40*day)
	for range 20 {
		next := w.decideOnce(d)
		if published := w.events.types(); len(published) > 0 {
			assert.Equal(t, []string{"certificate.expiring", "rotation.requested"}, published)
			assert.Equal(t, noon.Add(10*day), w.clock.now(), "30 days before the end")
			return
		}
		require.True(t, next.After(w.clock.now()))
		w.clock.pass(next.Sub(w.clock.now()))
	}
	t.Fatal("it never came")
}

func TestAWorkersReportStartsNothingOnTheControlPlane(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("w1", false)
	w.report("w1", oldPrint, day)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.expiring"}, w.events.types())
	decided, at := d.LastDecision()
	require.Len(t, decided.Waiting, 1)
	assert.Equal(t, renewal.ReasonNotControlPlane, decided.Waiting[0].Reason)
	assert.Equal(t, w.clock.now(), at)
}

// TestCompromisedCertificateStartsARotation is resolved before anything is done about it, starts a rotation at once, and
// is replaced when nothing of it is left.
func TestCompromisedCertificateStartsARotation(t *testing.T) {
	w := newWorld(t, &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "stolen"},
		Spec: v1alpha1.CompromisedCertificateSpec{Service: certs.Etcd, Reason: "laptop lost"}})
	d := w.decider()
	w.node("cp1", true)
	w.node("cp2", true) // its agent has not reported yet
	w.report("cp1", oldPrint, 300*day)
	w.decideOnce(d)
	assert.Equal(t, []string{"certificate.compromised", "rotation.requested"}, typesOf(w.events.published))
	request := w.events.requests()[0]
	object := w.compromisedCertificate("stolen")
	require.Len(t, object.Status.Certificates, 1)
	assert.Equal(t, oldPrint, object.Status.Certificates[0].FingerprintSHA256)
	assert.Equal(t, []string{"cp2"}, object.Status.PendingNodes)
	assert.Equal(t, metav1.ConditionFalse, replaced(object))
	assert.True(t, meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReconciling))
	assert.NotEmpty(t, object.Status.Residual)

	w.clock.pass(requestInterval)
	w.decideOnce(d)
	assert.Empty(t, w.events.types(), "its object is there, with or without NATS")
	assert.True(t, request.Compromised)
	assert.Equal(t, "Always", request.Restart)
	assert.Equal(t, []string{"stolen"}, request.CompromisedCertificates)
	require.NoError(t, d.ReceiveRequest(t.Context(), request, "event-1", w.clock.now()))

	w.report("cp2", "0000000000000000000000000000000000000000000000000000000000000003", 300*day)
	w.decideOnce(d)
	object = w.compromisedCertificate("stolen")
	require.Len(t, object.Status.Certificates, 2, "what cp2 turned out to have")
	assert.Empty(t, object.Status.PendingNodes)
	assert.Equal(t, request.Name, object.Status.Rotation)

	w.report("cp1", newPrint, 365*day)
	w.report("cp2", "0000000000000000000000000000000000000000000000000000000000000004", 365*day)
	w.decideOnce(d)
	object = w.compromisedCertificate("stolen")
	assert.Equal(t, metav1.ConditionTrue, replaced(object))
	assert.Nil(t, meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReconciling))
	assert.Len(t, object.Status.Certificates, 2, "what was issued since is not compromised")
}

func (w *world) compromisedCertificate(name string) *v1alpha1.CompromisedCertificate {
	w.t.Helper()
	var c v1alpha1.CompromisedCertificate
	require.NoError(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, &c))
	return &c
}

func replaced(c *v1alpha1.CompromisedCertificate) metav1.ConditionStatus {
	return meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReplaced).Status
}

// TestCompromisedEventCreatesTheObject, once; an event that the watcher itself published does not.
func TestCompromisedEventCreatesTheObject(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	e := event.New("prod", noon, event.CertificateCompromised{Service: certs.Etcd, Reason: "laptop lost"})
	require.NoError(t, d.ReceiveCompromised(t.Context(), e))
	require.NoError(t, d.ReceiveCompromised(t.Context(), e))
	assert.Equal(t, "laptop lost", w.compromisedCertificate(e.ObjectName()).Spec.Reason)
	own := event.New("prod", noon, event.CertificateCompromised{Service: certs.Etcd, Reason: "laptop lost", CompromisedCertificate: e.ObjectName()})
	require.NoError(t, d.ReceiveCompromised(t.Context(), own))
	var list v1alpha1.CompromisedCertificateList
	require.NoError(t, w.client.List(t.Context(), &list))
	assert.Len(t, list.Items, 1)
}

func TestNewLeaderPublishesNoDuplicates(t *testing.T) {
	w := newWorld(t)
	w.node("cp1", true)
	w.report("cp1", oldPrint, 10*day)
	w.decideOnce(w.decider())
	first := append([]event.Data(nil), w.events.published...)
	w.events.types()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 10*day)
	w.decideOnce(w.decider())
	for i, data := range w.events.published {
		assert.Equal(t, event.New("prod", noon, first[i]).ID, event.New("prod", noon, data).ID, "NATS drops it as a duplicate")
	}
	assert.Len(t, w.events.published, len(first))
}
