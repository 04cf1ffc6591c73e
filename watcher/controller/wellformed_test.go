package controller

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// publishable is what the bus demands of an event before it takes it.
func publishable(d event.Data) error {
	raw, err := event.New("prod", noon, d).MarshalJSON()
	if err == nil {
		_, err = event.ParseEvent(raw)
	}
	return err
}

// expired is a kubelet's certificate, past its end.
func expired() v1alpha1.ReportedCertificate {
	return v1alpha1.ReportedCertificate{
		Service: certs.Kubelet, Name: "kubelet-server", Path: "/x", Subject: "CN=x", Issuer: "CN=x", SerialNumber: "1",
		FingerprintSHA256: strings.Repeat("f", 64), NotBefore: metav1.NewTime(noon.Add(-800 * day)), NotAfter: metav1.NewTime(noon.Add(-400 * day)),
	}
}

// TestOneMalformedCertificateBlocksNothing: everything that is due is gathered into one
// request, which NATS must take whatever one worker reports.
func TestOneMalformedCertificateBlocksNothing(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, change := range map[string]func(*v1alpha1.ReportedCertificate){
		"a fingerprint that is none":     func(c *v1alpha1.ReportedCertificate) { c.FingerprintSHA256 = "zz" },
		"a fingerprint in capitals":      func(c *v1alpha1.ReportedCertificate) { c.FingerprintSHA256 = strings.Repeat("F", 64) },
		"a fingerprint and more":         func(c *v1alpha1.ReportedCertificate) { c.FingerprintSHA256 += "0" },
		"a fingerprint and a line break": func(c *v1alpha1.ReportedCertificate) { c.FingerprintSHA256 += "\n" },
		"a serial number that is none":   func(c *v1alpha1.ReportedCertificate) { c.SerialNumber = "0x1" },
		"no serial number":               func(c *v1alpha1.ReportedCertificate) { c.SerialNumber = "" },
		"a service that does not exist":  func(c *v1alpha1.ReportedCertificate) { c.Service = "sshd" },
		"no service":                     func(c *v1alpha1.ReportedCertificate) { c.Service = "" },
		"an endless name":                func(c *v1alpha1.ReportedCertificate) { c.Name = long },
		"an endless path":                func(c *v1alpha1.ReportedCertificate) { c.Path = long },
		"an endless subject":             func(c *v1alpha1.ReportedCertificate) { c.Subject = long },
		"an endless issuer":              func(c *v1alpha1.ReportedCertificate) { c.Issuer = long },
		"an endless user":                func(c *v1alpha1.ReportedCertificate) { c.User = long },
		"an endless reason":              func(c *v1alpha1.ReportedCertificate) { c.NotRenewable = &v1alpha1.NotRenewable{Reason: long} },
		"an end before the beginning":    func(c *v1alpha1.ReportedCertificate) { c.NotBefore = metav1.NewTime(noon) },
		"a restart policy that is none":  func(c *v1alpha1.ReportedCertificate) { c.NotRenewable = &v1alpha1.NotRenewable{MaxRestart: "x"} },
		"no end":                         func(c *v1alpha1.ReportedCertificate) { c.NotAfter = metav1.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "w1"}})
			d := w.decider()
			conditions := NewConditions(&Conditions{Client: w.client, Log: slog.New(slog.DiscardHandler), Now: w.clock.now, RefusedReports: w.picture.RefusedReports})
			d.Decided = conditions.SetDecision
			w.node("cp1", true)
			w.report("cp1", oldPrint, 10*day)
			w.node("w1", false)
			bad := expired()
			change(&bad)
			w.picture.UpdateReport("w1", &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{bad}})
			w.decideOnce(d)
			requests := w.events.requests()
			require.NotEmpty(t, requests)
			for _, r := range requests {
				require.NoError(t, publishable(r))
				assert.Equal(t, []string{"cp1"}, r.Nodes)
			}
			assert.Equal(t, []certs.Service{certs.Etcd}, requests[0].Services)

			require.NoError(t, conditions.writeAll(t.Context()))
			var r v1alpha1.NodeCertificateReport
			require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Name: "w1"}, &r))
			says := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionAccepted)
			require.NotNil(t, says, "the report says so")
			assert.Equal(t, metav1.ConditionFalse, says.Status)
			assert.Equal(t, "Malformed", says.Reason)
			assert.LessOrEqual(t, len(says.Message), maxMessage)
			assert.NotContains(t, says.Message, "\n")

			// Once it is well-formed, it is taken, and the condition goes.
			w.picture.UpdateReport("w1", &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{expired()}})
			w.decideOnce(d)
			require.NoError(t, conditions.writeAll(t.Context()))
			require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Name: "w1"}, &r))
			assert.Nil(t, meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionAccepted))
			assert.True(t, meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionCertificatesDue))
		})
	}
}

// A CompromisedCertificate of all kubelets is the answer to a stolen worker; that worker must not stop it.
func TestMalformedCertificateDoesNotBlockACompromisedCertificate(t *testing.T) {
	m := compromised("stolen")
	m.Spec.Service = certs.Kubelet
	w := newWorld(t, m)
	d := w.decider()
	for _, name := range []string{"w1", "w2"} {
		w.node(name, false)
		c := expired()
		if name == "w1" {
			c.FingerprintSHA256 = "zz"
		}
		w.picture.UpdateReport(name, &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{c}})
	}
	w.decideOnce(d)
	requests := w.events.requests()
	require.NotEmpty(t, requests)
	for _, r := range requests {
		require.NoError(t, publishable(r))
	}
}

// TestWellFormedEntriesOfANodeAreAssessed beside what is not.
func TestWellFormedEntriesOfANodeAreAssessed(t *testing.T) {
	w := newWorld(t)
	bad, badCA := expired(), v1alpha1.ReportedAuthority{Name: "ca", FingerprintSHA256: "zz", SerialNumber: "1"}
	bad.FingerprintSHA256 = "zz"
	unparsed := v1alpha1.ReportedCertificate{Service: certs.Etcd, Name: "etcd-server", Path: "/y", Reason: "it cannot be parsed"}
	w.node("w1", false)
	w.picture.UpdateReport("w1", &v1alpha1.NodeCertificateReport{
		Certificates: []v1alpha1.ReportedCertificate{bad, expired(), unparsed}, Authorities: []v1alpha1.ReportedAuthority{badCA}})
	n := w.picture.LookupNode("w1")
	require.Len(t, n.Certificates, 2)
	assert.Empty(t, n.Authorities)
	assert.Equal(t, map[string]Refusal{"w1": {"Malformed", `2 entries are left out: certificate 1: fingerprintSHA256 is not 64 lower-case hexadecimal digits; authority 1: fingerprintSHA256 is not 64 lower-case hexadecimal digits`}}, w.picture.RefusedReports())
}

// TestAReportWithoutANodeIsNotJudged: a node that was removed, or never was there.
func TestAReportWithoutANodeIsNotJudged(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	w.node("w1", false)
	w.report("w1", oldPrint, 10*day)
	w.report("ghost", newPrint, 10*day)
	w.picture.UpdateNode("w1", nil, w.clock.now())
	w.decideOnce(d)
	assert.Empty(t, w.events.requests())
	assert.Empty(t, w.events.types(), "no event is published about them either")
	assert.Nil(t, w.picture.LookupNode("w1"))
	assert.Empty(t, w.picture.NodeNames())
	assert.Equal(t, "NoNode", w.picture.RefusedReports()["ghost"].Reason)

	w.node("w1", true) // it comes back
	w.decideOnce(d)
	assert.Len(t, w.events.requests(), 1)
	assert.Equal(t, []string{"w1"}, w.picture.NodeNames())
}
