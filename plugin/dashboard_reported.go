package plugin

import (
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// reportedList makes the list of check of the agents' reports, judged at a time. Reports have no
// findings and no unused certificates.
func reportedList(reports []v1alpha1.NodeCertificateReport, nodes []kubenode.Node, now time.Time) v1alpha1.CertificateList {
	hasKey := keysInReports(reports, nodes)
	obstacles := map[string]string{}
	var found []inventory.Node
	for _, r := range reports {
		node := inventoryOf(r)
		for i, c := range r.Certificates {
			if c.NotRenewable != nil && !signsElsewhere(c, r.Name, isControlPlane(nodes, r.Name), hasKey) {
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
func inventoryOf(r v1alpha1.NodeCertificateReport) inventory.Node {
	out := inventory.Node{Name: r.Name, Time: observedAt(r)}
	problems := int(r.Summary.Problems)
	for _, gap := range r.NotInspected {
		if !gap.Informational {
			problems--
		}
		out.NotInspected = append(out.NotInspected, inventory.NotInspected{Service: gap.Service, Path: gap.Path, Reason: gap.Reason, Informational: gap.Informational})
	}
	for _, c := range r.Certificates {
		out.Certificates = append(out.Certificates, inventory.Certificate{
			Service: c.Service, Name: c.Name, Store: inventory.Store{Cert: c.Path, User: c.User}, SelfManaged: c.SelfManaged, Reason: c.Reason,
			Facts: certs.Facts{Subject: c.Subject, Issuer: c.Issuer, SerialNumber: c.SerialNumber, FingerprintSHA256: c.FingerprintSHA256,
				NotBefore: c.NotBefore.Time, NotAfter: c.NotAfter.Time, SANs: c.SANs},
			Status: reportedStatus(c, problems > 0),
		})
	}
	for _, a := range r.Authorities {
		authority := inventory.Authority{ID: a.ID, Name: a.Name, Paths: []string{a.Path}, Status: certs.OK,
			Facts: certs.Facts{Subject: a.Subject, Issuer: a.Subject, SerialNumber: a.SerialNumber, FingerprintSHA256: a.FingerprintSHA256, NotBefore: a.NotBefore.Time, NotAfter: a.NotAfter.Time}}
		if a.HasKey {
			authority.KeyOn = r.Name
		}
		out.Authorities = append(out.Authorities, authority)
	}
	return out
}

// servesOther is in the reason where an endpoint serves another certificate than that on disk.
const servesOther = " serves another certificate"

// reportedStatus is the status of a certificate apart from its dates. A reason alone may also be
// a remark on one that is valid: problems says that the report counts a certificate that is not.
func reportedStatus(c v1alpha1.ReportedCertificate, problems bool) certs.Status {
	switch {
	case c.FingerprintSHA256 == "":
		return certs.Invalid
	case !problems || c.Reason == "":
		return certs.OK
	case strings.Contains(c.Reason, servesOther):
		return certs.NotServed
	case c.NotRenewable != nil && c.NotRenewable.Authority != "":
		return certs.OK // the reason is that only the key of its CA is elsewhere
	}
	return certs.Invalid
}
