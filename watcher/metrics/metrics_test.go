package metrics

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// report is one of a control-plane node: a pair, a kubeconfig, a broken file, a CA.
func report(node string) *v1alpha1.NodeCertificateReport {
	day := func(n int) metav1.Time { return metav1.NewTime(noon.AddDate(0, 0, n)) }
	return &v1alpha1.NodeCertificateReport{
		ObjectMeta: metav1.ObjectMeta{Name: node},
		Certificates: []v1alpha1.ReportedCertificate{
			{Service: certs.KubeAPIServer, Name: "apiserver", Path: "/etc/kubernetes/pki/apiserver.crt", Subject: "CN=kube-apiserver",
				Issuer: "CN=kubernetes", SerialNumber: "ff", FingerprintSHA256: "aa", NotBefore: day(-300), NotAfter: day(65)},
			{Service: certs.Admin, Name: "admin.conf", Path: "/etc/kubernetes/admin.conf", User: "kubernetes-admin",
				Subject: `CN=kubernetes-admin,O=kubeadm:cluster-admins+O=a\,"b"\\`, Issuer: "CN=kubernetes", SerialNumber: "10",
				FingerprintSHA256: "bb", NotBefore: day(-366), NotAfter: day(-1)},
			{Service: certs.Etcd, Name: "etcd-peer", Path: "/etc/kubernetes/pki/etcd/peer.crt", Reason: "no CERTIFICATE block in PEM data"},
		},
		Authorities: []v1alpha1.ReportedAuthority{{Name: "etcd-ca", Path: "/etc/kubernetes/pki/etcd/ca.crt", Subject: "CN=etcd-ca",
			SerialNumber: "0", FingerprintSHA256: "cc", NotBefore: day(-300), NotAfter: day(3350)}},
	}
}

func metricsOf(reports ...*v1alpha1.NodeCertificateReport) *Metrics {
	return New(func() Snapshot {
		return Snapshot{
			Leader: true, PolicyValid: true, NATSReady: true,
			Events: bus.Stats{
				Connected: true, Waiting: 3, Followers: 1, Published: 10, Duplicates: 11, Handled: 12, Retried: 13,
				Refused: 15, Overflowed: 16, GivenUp: 4,
			},
			Cluster: Cluster{
				Reports: slices.Values(reports), Agents: map[string]bool{"cp1": true, "w1": false, "w2": false}, OpenCompromised: 1, Interventions: 6, Due: 7,
				Waiting: map[string]Waiting{"Window": {5, noon}, "Stopped": {2, noon.Add(time.Minute)}}, Decided: noon, SummaryShared: new(true),
			},
		}
	}, Options{Now: func() time.Time { return noon }})
}

// scrape asks as Prometheus does.
func scrape(t *testing.T, m *Metrics, encoding string) string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept-Encoding", encoding)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	require.Equal(t, http.StatusOK, answer.Code)
	assert.Contains(t, answer.Header().Get("Content-Type"), "text/plain")
	var body io.Reader = answer.Body
	if encoding == "gzip" {
		zip, err := gzip.NewReader(answer.Body)
		require.NoError(t, err)
		body = zip
	}
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(text)
}

func TestCertificatesHaveTheLabelsThatDashboardsRead(t *testing.T) {
	text := scrape(t, metricsOf(report("cp1")), "")
	for _, line := range []string{
		`x509_cert_not_after{node="cp1",service="kube-apiserver",name="apiserver",filename="apiserver.crt",filepath="/etc/kubernetes/pki/apiserver.crt",serial_number="255",subject_CN="kube-apiserver",issuer_CN="kubernetes"} 1785931200`,
		`x509_cert_expired{node="cp1",service="admin",name="admin.conf",embedded_kind="user",embedded_key="kubernetes-admin",filename="admin.conf",filepath="/etc/kubernetes/admin.conf",serial_number="16",subject_CN="kubernetes-admin",subject_O="kubeadm:cluster-admins,a,\"b\"\\",issuer_CN="kubernetes"} 1`,
		`x509_cert_error{node="cp1",service="etcd",name="etcd-peer",filename="peer.crt",filepath="/etc/kubernetes/pki/etcd/peer.crt"} 1`,
		`x509_cert_not_before{node="cp1",name="etcd-ca",filename="ca.crt",filepath="/etc/kubernetes/pki/etcd/ca.crt",serial_number="0",subject_CN="etcd-ca"} 1754395200`,
	} {
		assert.Contains(t, text, line+"\n")
	}
	for name, want := range map[string]int{"x509_cert_not_after": 3, "x509_cert_not_before": 3, "x509_cert_expired": 3, "x509_cert_error": 1} {
		assert.Equal(t, want, strings.Count(text, "\n"+name+"{"), name)
	}
}

func TestUnrenewableCertificateIsAMetric(t *testing.T) {
	r := report("cp1")
	r.Certificates[0].NotRenewable = &v1alpha1.NotRenewable{Reason: "no key"}
	text := scrape(t, metricsOf(r, report("cp2")), "")
	assert.Contains(t, text, `rotate_certs_certificate_not_renewable{node="cp1",service="kube-apiserver",name="apiserver",`)
	assert.Equal(t, 1, strings.Count(text, "\nrotate_certs_certificate_not_renewable{"))
}

func TestCertificateThatAnotherNodeSignsIsRenewable(t *testing.T) {
	r := report("cp1")
	r.Certificates[0].NotRenewable = &v1alpha1.NotRenewable{Reason: "no key"}
	var out strings.Builder
	w := bufio.NewWriter(&out)
	cluster := &Cluster{Reports: slices.Values([]*v1alpha1.NodeCertificateReport{r}),
		SignedElsewhere: func(node string, _ *v1alpha1.ReportedCertificate) bool { return node == "cp1" }}
	writeNotRenewable(w, cluster)
	require.NoError(t, w.Flush())
	assert.NotContains(t, out.String(), "rotate_certs_certificate_not_renewable{")
}

func TestOwnMetrics(t *testing.T) {
	m := metricsOf(report("cp1"), report("cp2"))
	m.RotationEnded(v1alpha1.StateSucceeded, 40*time.Second)
	m.RotationEnded(v1alpha1.StateManualInterventionRequired, time.Hour)
	text := scrape(t, m, "gzip")
	for _, line := range []string{
		"rotate_certs_reports 2", "rotate_certs_agents_missing 2", "rotate_certs_compromised_certificates_open 1",
		"rotate_certs_leader 1", "rotate_certs_policy_valid 1", "rotate_certs_nats_connected 1", "rotate_certs_nats_ready 1",
		"rotate_certs_events_unpublished 3", "rotate_certs_event_followers 1", "rotate_certs_events_published_total 10",
		"rotate_certs_events_duplicate_total 11", "rotate_certs_events_handled_total 12", "rotate_certs_events_retried_total 13",
		`rotate_certs_events_dropped_total{reason="Refused"} 15`,
		`rotate_certs_events_dropped_total{reason="OutboxFull"} 16`, `rotate_certs_events_dropped_total{reason="GivenUp"} 4`,
		"rotate_certs_manual_interventions_required 6", "rotate_certs_certificates_due 7",
		`rotate_certs_certificates_waiting{reason="Window"} 5`, `rotate_certs_certificates_waiting{reason="Stopped"} 2`,
		`rotate_certs_certificates_earliest_expiry_timestamp_seconds{reason="Stopped"} 1.78031526e+09`,
		"rotate_certs_last_decision_timestamp_seconds 1.7803152e+09",
		`rotate_certs_rotations_total{result="ManualInterventionRequired"} 1`,
		`rotate_certs_rotations_total{result="Succeeded"} 1`, `rotate_certs_rotations_total{result="Failed"} 0`,
		`rotate_certs_rotation_duration_seconds_bucket{le="60"} 1`,
	} {
		assert.Contains(t, text, line+"\n")
	}
	assert.Contains(t, text, "rotate_certs_build_info{")
}

// The names of x509_cert_* are not ours, so what the linter thinks of them is not asked.
func TestLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metricsOf(report("cp1")))
	gathered, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)

	// The whole text must parse, too.
	_, err = promlint.New(strings.NewReader(scrape(t, metricsOf(report("cp1")), ""))).Lint()
	assert.NoError(t, err)
}

func TestNothingKnownYet(t *testing.T) {
	text := scrape(t, New(func() Snapshot { return Snapshot{Leader: true} }, Options{}), "")
	assert.Contains(t, text, "rotate_certs_reports 0\n")
	assert.NotContains(t, text, "\nx509_cert_not_after{")
	assert.Contains(t, text, "\nrotate_certs_last_decision_timestamp_seconds 0\n", "a watcher that leads and never decides is seen")
}

// TestTheClusterIsShownByTheLeader only: two watchers would report the same.
func TestTheClusterIsShownByTheLeader(t *testing.T) {
	leading := metricsOf(report("cp1"))
	standby := New(func() Snapshot {
		s := leading.snapshot()
		s.Leader = false
		return s
	}, Options{})
	own := []string{
		"build_info", "leader", "policy_valid", "nats_connected", "nats_ready", "events_unpublished", "event_followers", "events_published_total",
		"events_duplicate_total", "events_handled_total", "events_retried_total", "events_dropped_total",
		"rotations_total", "rotation_duration_seconds",
	}
	text := scrape(t, standby, "")
	for _, name := range samples(t, text) {
		short, ours := strings.CutPrefix(name, "rotate_certs_")
		assert.True(t, ours && slices.Contains(own, short), "%s is about the cluster", name)
	}
	assert.Contains(t, text, "rotate_certs_leader 0\n")
	assert.Contains(t, samples(t, scrape(t, leading, "")), "x509_cert_not_after")
}

// samples are the names of the metrics that a text has samples of.
func samples(t *testing.T, text string) (names []string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	for name, family := range families {
		if len(family.GetMetric()) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// many are reports of 10,000 nodes with 20 certificates each.
func many() []*v1alpha1.NodeCertificateReport {
	one := report("").Certificates
	for len(one) < 20 {
		c := one[0]
		c.Path = fmt.Sprintf("/etc/kubernetes/pki/%d.crt", len(one))
		one = append(one, c)
	}
	out := make([]*v1alpha1.NodeCertificateReport, 10_000)
	for i := range out {
		out[i] = &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%05d", i)}, Certificates: one}
	}
	return out
}

// countingWriter keeps nothing of what it is given.
type countingWriter struct{ n int64 }

func (c *countingWriter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func TestCertificatesAreNotHeldInMemory(t *testing.T) {
	s := &Cluster{Reports: slices.Values(many())}
	var out countingWriter
	w := bufio.NewWriterSize(&out, 64<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, writeCertificates(w, s, noon))
	runtime.ReadMemStats(&after)
	// Per sample a few short-lived bytes, against some 1,500 for an object of the library.
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(600_000*64))
	assert.Greater(t, out.n, int64(100<<20))
}

func TestDistinguished(t *testing.T) {
	for name, want := range map[string][6]string{
		"":                              {},
		"CN=a":                          {"a"},
		`CN=a\,b\+c\=d`:                 {"a,b+c=d"},
		"CN=x,OU=u,O=o,L=l,ST=s,C=c":    {"x", "c", "l", "o", "u", "s"},
		"CN=x,O=one+O=two":              {"x", "", "", "one,two"},
		"CN=x,1.2.3=#0c01,SERIALNUMBER": {"x"},
		`CN=broken\`:                    {`broken\`},
	} {
		assert.Equal(t, want, nameParts(name), name)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := metricsOf(many()...)
	request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept-Encoding", "gzip")
	for b.Loop() {
		m.Handler().ServeHTTP(discard{}, request)
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
