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

// scrapeTimeout is how long a scraper may take to read.
const scrapeTimeout = time.Minute

// Handler answers scrapes with the certificates, the watcher's own metrics and those of
// more gatherers, in Prometheus' text format. Those of certificates come from the leader only.
// Nothing but one line at a time is held in memory of the certificates.
func (m *Metrics) Handler(more ...prometheus.Gatherer) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(m)
	gatherers := append(prometheus.Gatherers{own}, more...)
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTimeout)) // not every writer has one
		// Before anything is written, so that a failure is an answer.
		gathered, err := gatherers.Gather()
		if err != nil {
			http.Error(w, "gather metrics: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(format))
		var to io.Writer = w
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			// The fastest: labels repeat, so it takes nine tenths off all the same.
			zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails only for an unknown level
			defer func() { _ = zip.Close() }()
			to = zip
		}
		buffered := bufio.NewWriterSize(to, 64<<10)
		defer func() { _ = buffered.Flush() }()
		// A scraper that goes away fails every write after it.
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

// writeNodes writes what there is a sample of for each node or certificate.
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
	// value is false where a certificate has none.
	value func(readable bool, notBefore, notAfter metav1.Time, now time.Time) (float64, bool)
}

var families = []family{
	{"x509_cert_not_before", "When the certificate begins to be valid, in seconds since 1970.",
		func(readable bool, notBefore, _ metav1.Time, _ time.Time) (float64, bool) {
			return float64(notBefore.Unix()), readable
		}},
	{"x509_cert_not_after", "When the certificate ends, in seconds since 1970.",
		func(readable bool, _, notAfter metav1.Time, _ time.Time) (float64, bool) {
			return float64(notAfter.Unix()), readable
		}},
	{"x509_cert_expired", "1 where the certificate has expired, else 0.",
		func(readable bool, _, notAfter metav1.Time, now time.Time) (float64, bool) {
			if now.Before(notAfter.Time) {
				return 0, readable
			}
			return 1, readable
		}},
	// Only of those that cannot be read, to spare a fourth of all samples.
	{"x509_cert_error", "1 where there should be a certificate and none can be read.",
		func(readable bool, _, _ metav1.Time, _ time.Time) (float64, bool) { return 1, !readable }},
}

// writeCertificates writes the metrics of all certificates, one family after another
// as the format demands.
func writeCertificates(w *bufio.Writer, cluster *Cluster, now time.Time) error {
	var labels []label
	for _, f := range families {
		if err := writeHead(w, f.name, f.help, "gauge"); err != nil {
			return err // no scraper reads any more
		}
		for r := range cluster.each() {
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

// writeNotRenewable writes one sample for each certificate that its node cannot renew.
func writeNotRenewable(w *bufio.Writer, cluster *Cluster) {
	const name = "rotate_certs_certificate_not_renewable"
	_ = writeHead(w, name, "1 where a certificate cannot be renewed on its node, so that no rotation renews it.", "gauge")
	var labels []label
	for r := range cluster.each() {
		for i := range r.Certificates {
			if c := &r.Certificates[i]; c.NotRenewable != nil {
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

// escape is what the text format asks of a label's value.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeSample writes one line. Errors are kept by the writer until it is flushed.
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
