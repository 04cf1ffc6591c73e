package reported

import (
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// StatusUnknown is the status of a certificate with a reason of which its report does not say
// whether it makes the certificate invalid.
const StatusUnknown certs.Status = "Unknown"

// ListCertificates makes the list of check of the agents' reports, judged at a time. Reports have no
// findings and no unused certificates.
func ListCertificates(reports []v1alpha1.NodeCertificateReport, nodes []kubenode.Node, now time.Time) v1alpha1.CertificateList {
	hasKey := keysInReports(reports, nodes)
	controlPlane := controlPlaneNames(nodes)
	obstacles := map[string]string{}
	var found []inventory.Node
	for _, r := range reports {
		node := inventoryOf(r, now)
		for i, c := range r.Certificates {
			if c.NotRenewable != nil && !signsElsewhere(c, r.Name, controlPlane[r.Name], hasKey) {
				obstacles[r.Name+"/"+node.Certificates[i].ID()] = c.NotRenewable.Reason
			}
		}
		found = append(found, node)
	}
	return printers.ListCertificates(found, nil, printers.ListOptions{
		Now: now, Obstacle: func(n inventory.Node, c inventory.Certificate) string { return obstacles[n.Name+"/"+c.ID()] },
	})
}

// inventoryOf is a node as far as its report describes it.
func inventoryOf(r v1alpha1.NodeCertificateReport, now time.Time) inventory.Node {
	out := inventory.Node{Name: r.Name, Time: ObservedAt(r)}
	statuses := reportedStatuses(r, now)
	for _, gap := range r.NotInspected {
		out.NotInspected = append(out.NotInspected, inventory.NotInspected(gap))
	}
	for i, c := range r.Certificates {
		certificate := CertificateOf(c)
		certificate.Status = statuses[i]
		out.Certificates = append(out.Certificates, certificate)
	}
	for _, a := range r.Authorities {
		authority := AuthorityOf(a)
		authority.Status = certs.OK
		out.Authorities = append(out.Authorities, authority)
	}
	return out
}

// CertificateOf is a certificate as far as a report describes it. What its report says of its
// renewal has no place in it.
func CertificateOf(c v1alpha1.ReportedCertificate) inventory.Certificate {
	return inventory.Certificate{
		Service: c.Service, Name: c.Name, Store: inventory.Store{Cert: c.Path, User: c.User}, SelfManaged: c.SelfManaged, Reason: c.Reason,
		Facts: certs.Facts{Subject: c.Subject, Issuer: c.Issuer, SerialNumber: c.SerialNumber, FingerprintSHA256: c.FingerprintSHA256,
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), SANs: c.SANs},
	}
}

// AuthorityOf is a CA as far as a report describes it. The place of its key is not known, only
// whether the node has it.
func AuthorityOf(a v1alpha1.ReportedAuthority) inventory.Authority {
	out := inventory.Authority{ID: a.ID, Name: a.Name, Paths: []string{a.Path},
		Facts: certs.Facts{Subject: a.Subject, Issuer: a.Subject, SerialNumber: a.SerialNumber, FingerprintSHA256: a.FingerprintSHA256, NotBefore: a.NotBefore.UTC(), NotAfter: a.NotAfter.UTC()}}
	if a.HasKey {
		out.KeyOn = "on this node"
	}
	return out
}

// servesOther is in the reason where an endpoint serves another certificate than that on disk.
const servesOther = " serves another certificate"

// reportedStatuses are the statuses of a report's certificates apart from their dates. A reason
// alone may also be a remark on one that is valid: the report counts those that are not, together
// with what was not inspected.
func reportedStatuses(r v1alpha1.NodeCertificateReport, now time.Time) []certs.Status {
	problems := int(r.Summary.Problems)
	for _, gap := range r.NotInspected {
		if !gap.Informational {
			problems--
		}
	}
	out := make([]certs.Status, len(r.Certificates))
	var open []int // whose reason may be either
	for i, c := range r.Certificates {
		out[i] = certs.OK
		switch {
		case c.FingerprintSHA256 == "":
			out[i] = certs.Invalid
			problems--
		case strings.Contains(c.Reason, servesOther):
			out[i] = certs.NotServed
			problems--
		case strings.Contains(c.Reason, certs.RefusedText):
			out[i] = certs.Invalid
			problems--
		case c.Reason == "", c.NotRenewable != nil && c.NotRenewable.Authority != "":
			// Without a reason, or the reason is that only the key of its CA is elsewhere.
		default:
			open = append(open, i)
		}
	}
	whole := int(r.Summary.Certificates) <= len(r.Certificates) // else problems of others count, too
	for _, i := range open {
		switch {
		case problems <= 0:
		case whole && problems >= len(open):
			out[i] = certs.Invalid
		case isCurrent(r.Certificates[i], now):
			out[i] = StatusUnknown // else its dates say enough
		}
	}
	return out
}

// isCurrent reports whether the dates of a certificate need no attention.
func isCurrent(c v1alpha1.ReportedCertificate, now time.Time) bool {
	status, _ := CertificateOf(c).ValidityStatus(now, 0)
	return status == certs.OK
}
