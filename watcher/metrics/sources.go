package metrics

import (
	"bufio"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// sources counts read errors of agents by node. In terms of x509-certificate-exporter an agent
// is a source of the kind "file".
type sources struct {
	mu     sync.Mutex
	byNode map[string]*source
}

type source struct {
	observedAt string            // of the report that was counted last
	errors     map[string]uint64 // by reason
}

// CountReport counts the read errors of a report; nil: it was deleted. An error is counted
// once in each report, and agents report every hour and at each change.
func (m *Metrics) CountReport(node string, r *v1alpha1.NodeCertificateReport) {
	if m.options.NoCertificates {
		return
	}
	m.sources.mu.Lock()
	defer m.sources.mu.Unlock()
	if r == nil {
		delete(m.sources.byNode, node)
		return
	}
	s := m.sources.byNode[node]
	if s == nil {
		s = &source{errors: map[string]uint64{}}
		m.sources.byNode[node] = s
	}
	if s.observedAt == r.Summary.ObservedAt { // only its conditions have changed
		return
	}
	s.observedAt = r.Summary.ObservedAt
	for i := range r.Certificates {
		if c := &r.Certificates[i]; c.FingerprintSHA256 == "" {
			s.errors[reasonCode(c.Reason)]++
		}
	}
	for i := range r.NotInspected {
		if gap := &r.NotInspected[i]; !gap.Informational {
			s.errors[reasonCode(gap.Reason)]++
		}
	}
}

// reasonCodes are those of x509-certificate-exporter, by a part of the message of an agent.
var reasonCodes = []struct{ text, code string }{
	{"permission denied", "permission_denied"},
	{"no such file or directory", "not_found"},
	{"no CERTIFICATE block", "no_certificate_found"},
	{"parse certificate", "bad_pem"},
	{"is not base64", "decode_failed"},
}

func reasonCode(message string) string {
	for _, r := range reasonCodes {
		if strings.Contains(message, r.text) {
			return r.code
		}
	}
	return "read_failed"
}

// writeSources writes for each node whether its agent reports, and its read errors.
func (m *Metrics) writeSources(w *bufio.Writer, agents map[string]bool) {
	_ = writeHead(w, "x509_source_up", "1 if the node's agent has reported recently, else 0.", "gauge")
	for _, node := range slices.Sorted(maps.Keys(agents)) {
		writeSample(w, "x509_source_up", sourceLabels(node), boolValue(agents[node]))
	}
	_ = writeHead(w, "x509_source_errors_total", "Read errors of agents, counted in each of their reports, by reason.", "counter")
	counted := m.sources.copyErrors()
	for _, node := range slices.Sorted(maps.Keys(counted)) {
		errors := counted[node]
		for _, reason := range slices.Sorted(maps.Keys(errors)) {
			writeSample(w, "x509_source_errors_total", append(sourceLabels(node), label{"reason", reason}), float64(errors[reason]))
		}
	}
}

// copyErrors copies the errors by node and reason: a slow scraper must not block reports.
func (s *sources) copyErrors() map[string]map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]map[string]uint64, len(s.byNode))
	for node, source := range s.byNode {
		if len(source.errors) > 0 {
			out[node] = maps.Clone(source.errors)
		}
	}
	return out
}

func sourceLabels(node string) []label {
	return []label{{"source_kind", "file"}, {"source_name", node}}
}
