package metrics

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Handler answers scrapes with the metrics of certificates, the watcher's own metrics and
// those of more gatherers, in the text format of Prometheus. Only the leader has the metrics
// of certificates. They are written line by line, without a copy in memory.
func (m *Metrics) Handler(more ...prometheus.Gatherer) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(m)
	gatherers := append(prometheus.Gatherers{own}, more...)
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer supports it
		// Gathered before anything is written, so that an error can set the status.
		gathered, err := gatherers.Gather()
		if err != nil {
			http.Error(w, "gather metrics: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(format))
		var to io.Writer = w
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			// The fastest level still saves nine tenths, since labels repeat.
			zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails only for an unknown level
			defer func() { _ = zip.Close() }()
			to = zip
		}
		buffered := bufio.NewWriterSize(to, 64<<10)
		defer func() { _ = buffered.Flush() }()
		// After a disconnect of the scraper, every write fails.
		if !m.options.NoCertificates && m.writeNodes(buffered) != nil {
			return
		}
		encoder := expfmt.NewEncoder(buffered, format)
		for _, f := range gathered {
			if encoder.Encode(f) != nil {
				return
			}
		}
	})
}

// writeNodes writes the metrics with one sample for each node or certificate.
func (m *Metrics) writeNodes(w *bufio.Writer) error {
	s := m.snapshot()
	if !s.Leader {
		return nil
	}
	m.writeSources(w, s.Agents)
	return writeCertificates(w, &s.Cluster, m.options.Now())
}

// family is a metric of certificates.
type family struct {
	name, help string
	// value returns false for a certificate without a sample.
	value func(readable bool, notBefore, notAfter metav1.Time, now time.Time) (float64, bool)
}

var families = []family{
	{"x509_cert_not_before", "When the certificate becomes valid, in seconds since 1970.",
		func(readable bool, notBefore, _ metav1.Time, _ time.Time) (float64, bool) {
			return float64(notBefore.Unix()), readable
		}},
	{"x509_cert_not_after", "When the certificate expires, in seconds since 1970.",
		func(readable bool, _, notAfter metav1.Time, _ time.Time) (float64, bool) {
			return float64(notAfter.Unix()), readable
		}},
	{"x509_cert_expired", "1 if the certificate has expired, else 0.",
		func(readable bool, _, notAfter metav1.Time, now time.Time) (float64, bool) {
			if now.Before(notAfter.Time) {
				return 0, readable
			}
			return 1, readable
		}},
	// Only for unreadable certificates, to save a fourth of all samples.
	{"x509_cert_error", "1 if there should be a certificate and none can be read.",
		func(readable bool, _, _ metav1.Time, _ time.Time) (float64, bool) { return 1, !readable }},
}

// writeCertificates writes the metrics of all certificates. The format requires one family
// after another.
func writeCertificates(w *bufio.Writer, cluster *Cluster, now time.Time) error {
	var labels []label
	for _, f := range families {
		if err := writeHead(w, f.name, f.help, "gauge"); err != nil {
			return err // the scraper has disconnected
		}
		for r := range cluster.eachReport() {
			for i := range r.Certificates {
				c := &r.Certificates[i]
				if v, ok := f.value(c.FingerprintSHA256 != "", c.NotBefore, c.NotAfter, now); ok {
					labels = certificateLabels(labels[:0], r.Name, c)
					writeSample(w, f.name, labels, v)
				}
			}
			for i := range r.Authorities {
				a := &r.Authorities[i]
				if v, ok := f.value(true, a.NotBefore, a.NotAfter, now); ok {
					labels = authorityLabels(labels[:0], r.Name, a)
					writeSample(w, f.name, labels, v)
				}
			}
		}
	}
	writeNotRenewable(w, cluster)
	return w.Flush()
}

// writeNotRenewable writes one sample for each certificate that no rotation renews.
func writeNotRenewable(w *bufio.Writer, cluster *Cluster) {
	const name = "rotate_certs_certificate_not_renewable"
	_ = writeHead(w, name, "1 if a certificate cannot be renewed on its node, nor signed by another one, so that no rotation renews it.", "gauge")
	var labels []label
	for r := range cluster.eachReport() {
		for i := range r.Certificates {
			c := &r.Certificates[i]
			elsewhere := cluster.SignedElsewhere != nil && cluster.SignedElsewhere(r.Name, c)
			if c.NotRenewable != nil && !elsewhere {
				labels = certificateLabels(labels[:0], r.Name, c)
				writeSample(w, name, labels, 1)
			}
		}
	}
}

// writeHead begins a metric.
func writeHead(w *bufio.Writer, name, help, kind string) error {
	_, err := fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	return err
}

// escape escapes a label value for the text format.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeSample writes one line. The writer keeps errors until it is flushed.
func writeSample(w *bufio.Writer, name string, labels []label, value float64) {
	_, _ = w.WriteString(name)
	between := byte('{')
	for _, l := range labels {
		if l.value == "" {
			continue
		}
		_ = w.WriteByte(between)
		between = ','
		_, _ = w.WriteString(l.name)
		_, _ = w.WriteString(`="`)
		if strings.ContainsAny(l.value, "\\\n\"") {
			_, _ = escape.WriteString(w, l.value)
		} else {
			_, _ = w.WriteString(l.value)
		}
		_ = w.WriteByte('"')
	}
	_, _ = w.WriteString("} ")
	var number [24]byte
	_, _ = w.Write(strconv.AppendFloat(number[:0], value, 'f', -1, 64))
	_ = w.WriteByte('\n')
}
