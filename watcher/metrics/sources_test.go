package metrics

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestSources have the names and labels that alerts of x509-certificate-exporter read.
func TestSources(t *testing.T) {
	m := metricsOf(report("cp1"))
	unreadable := report("cp1")
	unreadable.Summary.ObservedAt = "2026-06-01T11:00:00Z"
	unreadable.NotInspected = []v1alpha1.ReportedGap{
		{Path: "/etc/cni", Reason: "open /etc/cni: permission denied"},
		{Path: "/home", Reason: "took too long", Informational: true},
	}
	m.CountReport("cp1", unreadable)
	m.CountReport("cp1", unreadable) // its conditions have changed
	text := scrape(t, m, "")
	for _, line := range []string{
		`x509_source_up{source_kind="file",source_name="cp1"} 1`, `x509_source_up{source_kind="file",source_name="w1"} 0`,
		`x509_source_errors_total{source_kind="file",source_name="cp1",reason="permission_denied"} 1`,
		`x509_source_errors_total{source_kind="file",source_name="cp1",reason="no_certificate_found"} 1`,
	} {
		assert.Contains(t, text, line+"\n")
	}
	assert.Equal(t, 2, strings.Count(text, "\nx509_source_errors_total{"))

	later := unreadable.DeepCopy()
	later.Summary.ObservedAt = "2026-06-01T12:00:00Z"
	m.CountReport("cp1", later)
	assert.Contains(t, scrape(t, m, ""), `reason="permission_denied"} 2`+"\n")
	m.CountReport("cp1", nil)
	assert.NotContains(t, scrape(t, m, ""), "\nx509_source_errors_total{")
}

// TestReasonCode maps the messages that agents really have.
func TestReasonCode(t *testing.T) {
	_, missing := os.Open(t.TempDir() + "/missing")
	_, empty := certs.ParsePEM(nil)
	_, broken := certs.ParsePEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for want, err := range map[string]error{
		"not_found": missing, "no_certificate_found": empty, "bad_pem": broken,
		"permission_denied": &fs.PathError{Op: "open", Path: "x", Err: os.ErrPermission}, "read_failed": fs.ErrInvalid,
	} {
		require.Error(t, err)
		assert.Equal(t, want, reasonCode(err.Error()))
	}
	assert.Equal(t, "decode_failed", reasonCode(`client-certificate-data of user "a" is not base64`))
}

func TestWithoutCertificates(t *testing.T) {
	m := metricsOf(report("cp1"))
	m.options.NoCertificates = true
	m.CountReport("cp1", report("cp1"))
	for _, name := range samples(t, scrape(t, m, "")) {
		assert.False(t, strings.HasPrefix(name, "x509_") || name == "rotate_certs_certificate_not_renewable", name)
	}
	assert.Empty(t, m.sources.byNode)
}

// stalled is a scraper that reads a little and then nothing more.
type stalled struct {
	http.ResponseWriter
	entered, release chan struct{}
	once             sync.Once
}

func (s *stalled) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	return len(b), nil
}

// TestStalledScraperHoldsUpNoReport: reports are counted in the handler that decisions wait for.
func TestStalledScraperHoldsUpNoReport(t *testing.T) {
	var reports []*v1alpha1.NodeCertificateReport
	for i := range 3000 {
		r := report(fmt.Sprintf("node-%d", i))
		r.Certificates[0].FingerprintSHA256, r.Certificates[0].Reason = "", "permission denied"
		reports = append(reports, r)
	}
	m := metricsOf(reports...)
	for _, r := range reports {
		m.CountReport(r.Name, r)
	}
	to := &stalled{ResponseWriter: httptest.NewRecorder(), entered: make(chan struct{}), release: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.writeSources(bufio.NewWriterSize(to, 16), map[string]bool{"node-1": true})
	}()
	<-to.entered
	assert.True(t, m.sources.mu.TryLock(), "a report can be counted")
	m.sources.mu.Unlock()
	close(to.release)
	<-done
}
