package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// TestValidityIsThePolicys: a user who may publish requests to NATS decides what is replaced, and not
// how long the new certificates are valid.
func TestValidityIsThePolicys(t *testing.T) {
	for name, tt := range map[string]struct {
		rules   []renewal.Rule
		service certs.Service
		nodes   []string
		want    time.Duration // 0: none
		short   bool
	}{
		"no rule says":                      {nil, certs.Etcd, []string{"cp1"}, 0, false},
		"its rule says":                     {[]renewal.Rule{{Name: "a", Validity: 90 * day}}, certs.Etcd, []string{"cp1"}, 90 * day, false},
		"on every node":                     {[]renewal.Rule{{Name: "a", Validity: 90 * day}}, certs.Etcd, nil, 90 * day, false},
		"a short one, as the policy allows": {[]renewal.Rule{{Name: "a", Validity: time.Hour}}, certs.Etcd, []string{"cp1"}, time.Hour, true},
		"another service's rule says":       {[]renewal.Rule{{Name: "a", Match: renewal.Match{Services: []certs.Service{certs.Kubelet}}, Validity: 90 * day}}, certs.Etcd, []string{"cp1"}, 0, false},
		"another certificate's rule says":   {[]renewal.Rule{{Name: "a", Match: renewal.Match{Issuers: []string{"short-lived"}}, Validity: 30 * day}}, certs.Etcd, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.decider()
			p := renewal.Default()
			p.Rules = tt.rules
			d.UsePolicy(&p)
			w.node("cp1", true)
			w.report("cp1", oldPrint, 10*day)
			w.node("w1", false)
			w.picture.UpdateReport("w1", &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{{Service: certs.Etcd, Name: "etcd-server", Path: "/etc/x.crt",
				Subject: "CN=w1", Issuer: "CN=short-lived", SerialNumber: "1b", FingerprintSHA256: newPrint, NotBefore: metav1.NewTime(noon), NotAfter: metav1.NewTime(noon.Add(day))}}})
			require.NoError(t, d.ReceiveRequest(t.Context(), event.RotationRequested{Name: "by-hand", Services: []certs.Service{tt.service}, Nodes: tt.nodes,
				Reason: event.ReasonExpiring, Fingerprints: []string{oldPrint}, Attempt: 1}, "e", noon))
			spec := w.rotation("by-hand").Spec
			assert.Equal(t, tt.short, spec.AllowShortValidity)
			if tt.want == 0 {
				assert.Nil(t, spec.Validity)
				return
			}
			require.NotNil(t, spec.Validity)
			assert.Equal(t, tt.want, spec.Validity.Duration)
		})
	}
}

func TestARequestCarriesNoValidity(t *testing.T) {
	_, has := event.DataSchema(event.TypeRotationRequested)["properties"].(map[string]any)["validitySeconds"]
	assert.False(t, has)
}
