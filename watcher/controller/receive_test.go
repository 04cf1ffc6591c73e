package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// ofEtcd is a request of a user who may publish requests.
func ofEtcd(name string, nodes []string, fingerprints ...string) event.RotationRequested {
	return event.RotationRequested{Name: name, Services: []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer}, Nodes: nodes,
		Reason: event.ReasonExpiring, Fingerprints: fingerprints, Attempt: 1}
}

func TestRequestRotatesNamedCertificatesOnly(t *testing.T) {
	const unknown = "00000000000000000000000000000000000000000000000000000000000000ff"
	for name, tt := range map[string]struct {
		request event.RotationRequested
		nodes   []string // none: nothing is made
	}{
		"on every node":                {ofEtcd("mine", nil, oldPrint), []string{"cp1"}},
		"on more nodes":                {ofEtcd("mine", []string{"cp1", "cp2"}, oldPrint), []string{"cp1"}},
		"on other nodes":               {ofEtcd("mine", []string{"cp2"}, oldPrint), nil},
		"what no report has":           {ofEtcd("mine", nil, unknown), nil},
		"what another service reports": {event.RotationRequested{Name: "mine", Services: []certs.Service{certs.Kubelet}, Fingerprints: []string{oldPrint}, Attempt: 1}, nil},
		"a node that is not there":     {ofEtcd("mine", []string{"cp9"}, oldPrint), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.decider()
			for node, fingerprint := range map[string]string{"cp1": oldPrint, "cp2": newPrint} {
				w.node(node, true)
				w.report(node, fingerprint, 20*day)
			}
			err := d.ReceiveRequest(t.Context(), tt.request, "event-1", noon)
			if tt.nodes == nil {
				require.ErrorContains(t, err, "no report has a certificate of the request")
				assert.Empty(t, w.rotations())
				return
			}
			require.NoError(t, err)
			spec := w.rotation("mine").Spec
			assert.Equal(t, tt.nodes, spec.Nodes)
			assert.Equal(t, []certs.Service{certs.Etcd}, spec.Services)
		})
	}
}

// TestRequestCannotTakeTheWatchersName: the watcher would take its own rotation for made.
func TestRequestCannotTakeTheWatchersName(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	w.decideOnce(d)
	genuine := w.events.requests()[0]
	forged := genuine
	forged.Services = []certs.Service{certs.KubeProxy}
	assert.True(t, apierrors.IsBadRequest(d.ReceiveRequest(t.Context(), forged, "forged", noon)))
	assert.Empty(t, w.rotations())
	require.NoError(t, d.ReceiveRequest(t.Context(), genuine, "event-1", noon))
	require.NoError(t, d.ReceiveRequest(t.Context(), genuine, "event-1", noon), "again")
	assert.Len(t, w.rotations(), 1)
}

func TestObjectOfOtherCertificatesIsNotTakenForMade(t *testing.T) {
	w := newWorld(t, &v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: v1alpha1.CertificateRotationSpec{Services: []certs.Service{certs.Etcd}}})
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	assert.True(t, apierrors.IsBadRequest(d.ReceiveRequest(t.Context(), ofEtcd("mine", nil, oldPrint), "event-1", noon)))
}

// TestAChangingScopeIsMadeWithoutNATS: whenever one of its certificates is not due any more,
// the rotation has another name, by which it was asked for only just now.
func TestAChangingScopeIsMadeWithoutNATS(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	nodes := []string{"cp1", "cp2", "cp3", "cp4"}
	fingerprint := func(node string) string { return fmt.Sprintf("%064x", node) }
	for _, node := range nodes {
		w.node(node, true)
		w.report(node, fingerprint(node), 20*day)
	}
	for _, node := range nodes {
		w.decideOnce(d)
		w.clock.pass(createDirectlyAfter / 2)
		w.report(node, fingerprint("renewed "+node), 365*day)
	}
	assert.NotEmpty(t, w.rotations())
}

// TestPulseIsMonotonic: setting the clock does not report a loop as stuck.
func TestPulseIsMonotonic(t *testing.T) {
	var p pulse
	p.recordBeat(time.Now())
	assert.Contains(t, p.at.Load().String(), "m=", "the reading of the monotonic clock is kept")
}

// TestAnOldRequestMakesNothing: what it asks for was right when it was published. A durable
// consumer hands it out however late.
func TestAnOldRequestMakesNothing(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	r := event.RotationRequested{Name: "by-hand", Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Reason: event.ReasonExpiring, Fingerprints: []string{oldPrint}, Attempt: 1}
	require.NoError(t, d.ReceiveRequest(t.Context(), r, "event-1", noon.Add(-48*time.Hour)))
	assert.Empty(t, w.rotations())
	require.NoError(t, d.ReceiveRequest(t.Context(), r, "event-1", noon.Add(-time.Minute)))
	assert.Len(t, w.rotations(), 1)
}

// TestAnothersFingerprintHoldsNothingUp: those of serving certificates are public, and a
// worker has reported one as its own.
func TestAnothersFingerprintHoldsNothingUp(t *testing.T) {
	liar := asked("auto-liar")
	liar.Labels = labels
	liar.Spec.Services, liar.Spec.Nodes, liar.Spec.Trigger.Fingerprints = []certs.Service{certs.Kubelet}, []string{"w1"}, []string{oldPrint}
	w := newWorld(t, liar)
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	r := event.RotationRequested{Name: "by-hand", Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Reason: event.ReasonExpiring, Fingerprints: []string{oldPrint}, Attempt: 1}
	require.NoError(t, w.decider().ReceiveRequest(t.Context(), r, "event-1", noon))
	assert.Len(t, w.rotations(), 2)
}

// TestRequestThatNoReportFitsHoldsUpNoOther: what is refused for now is given back to NATS.
// Anything else would be held in hand, with all requests behind it.
func TestRequestThatNoReportFitsHoldsUpNoOther(t *testing.T) {
	d := newWorld(t).decider()
	assert.True(t, apierrors.IsForbidden(d.ReceiveRequest(t.Context(), ofEtcd("mine", nil, oldPrint), "event-1", noon)))
}

// TestRenewalNamesNoCompromisedCertificates: otherwise a user who may request
// rotations could have a CompromisedCertificate taken for handled.
func TestRenewalNamesNoCompromisedCertificates(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("cp1", true)
	w.report("cp1", oldPrint, 20*day)
	r := ofEtcd("mine", nil, oldPrint)
	r.CompromisedCertificates = []string{"stolen"}
	require.NoError(t, d.ReceiveRequest(t.Context(), r, "event-1", noon))
	assert.Empty(t, w.rotation("mine").Spec.Trigger.CompromisedCertificates)
	assert.Nil(t, d.newestRotationFor(t.Context(), "stolen"))
}
