package dashboard

import (
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// knownCertificate is a certificate of which the expiry is known.
type knownCertificate struct {
	service     certs.Service
	fingerprint string
	notAfter    time.Time
}

// certificatePlace is where a certificate is.
type certificatePlace struct {
	node, service, name, path string
}

// knownExpirations are the earliest expiry dates of a cluster's certificates, by Rancher's names: of
// the agents' reports, or of the last scan where that is newer. A scan does not see what a rotation
// has renewed since: the reports of the rotations of this process do.
func (s *Server) knownExpirations(c Context) map[string]time.Time {
	summary := s.summaries.latestResult(c.Name)
	scan := s.scans.latestResult(c.Name)
	reported := summary.Value != nil && summary.Value.Expirations != nil
	if reported && (scan.Value == nil || !scan.At.After(summary.Value.Observed)) {
		return summary.Value.Expirations
	}
	var list v1alpha1.CertificateList
	if scan.Value != nil {
		list = *scan.Value
	}
	known := map[certificatePlace]knownCertificate{}
	for _, item := range list.Items {
		known[certificatePlace{item.Node, string(item.Service), item.Name, item.Path}] = knownCertificate{item.Service, item.FingerprintSHA256, item.NotAfter}
	}
	for _, r := range s.work.allOf(clusterKey(c)) {
		addRotation(known, r, scan.Value == nil)
	}
	out := authorityExpirations(list)
	for place, certificate := range known {
		addExpiration(out, expirationName(certificate.service, place.node), certificate.notAfter)
	}
	return out
}

// addRotation replaces the certificates that a rotation has renewed. Without a list, those of its
// plan are all that is known.
func addRotation(known map[certificatePlace]knownCertificate, r *rotation, withoutList bool) {
	if withoutList {
		for _, step := range r.Plan.Document.Steps {
			for _, c := range step.Certificates {
				place := certificatePlace{step.Node, string(c.Service), c.Name, c.Path}
				if _, is := known[place]; !is {
					known[place] = knownCertificate{c.Service, c.FingerprintSHA256, c.NotAfter}
				}
			}
		}
	}
	r.mu.Lock()
	report := r.report
	r.mu.Unlock()
	if report == nil {
		return
	}
	for _, item := range report.Items {
		for _, c := range item.Certificates {
			place := certificatePlace{item.Node, string(item.Service), c.Name, c.Path}
			if before, is := known[place]; is && c.New != nil && before.fingerprint == c.Old.FingerprintSHA256 {
				known[place] = knownCertificate{item.Service, c.New.FingerprintSHA256, c.New.NotAfter}
			}
		}
	}
}

// listExpirations are the expiry dates of a list.
func listExpirations(list v1alpha1.CertificateList) map[string]time.Time {
	out := authorityExpirations(list)
	for _, item := range list.Items {
		addExpiration(out, expirationName(item.Service, item.Node), item.NotAfter)
	}
	return out
}

func authorityExpirations(list v1alpha1.CertificateList) map[string]time.Time {
	out := map[string]time.Time{}
	for _, a := range list.Authorities {
		if !a.Renewed {
			addExpiration(out, authorityName(a.Name), a.NotAfter)
		}
	}
	return out
}

func addExpiration(out map[string]time.Time, name string, at time.Time) {
	if before, is := out[name]; !at.IsZero() && (!is || at.Before(before)) {
		out[name] = at
	}
}

// expirationName is the name of a service's certificates in Rancher's API. It has one for each etcd
// member, with dashes for dots.
func expirationName(service certs.Service, node string) string {
	switch service {
	case certs.Etcd:
		return "kube-etcd-" + strings.ReplaceAll(node, ".", "-")
	case certs.Kubelet:
		return "kube-node"
	case certs.Admin:
		return "kube-admin"
	}
	return string(service)
}

// authorityName is the name of a CA: Rancher calls that of the cluster kube-ca.
func authorityName(name string) string {
	if name == "kubernetes" || name == "kubernetes-ca" {
		return "kube-ca"
	}
	return name
}
