package printers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// ListOptions are the inputs of a list of certificates besides the inventories.
type ListOptions struct {
	Services []certs.Service // empty: all
	Within   time.Duration   // 0: the default, see certs.Facts.Validity
	Now      time.Time
	// Whole says that every node was to be scanned. Only then a missing control plane is on no
	// node.
	Whole   bool
	Managed string // the provider of the control plane ("EKS"), where labels name it
	// Obstacle returns why a certificate cannot be renewed on its node; nil: [plan.ObstacleTo].
	Obstacle func(inventory.Node, inventory.Certificate) string
	// MoreFindings returns the findings about a node that its scan cannot have; may be nil.
	MoreFindings func(inventory.Node) []inventory.Finding
}

func (o ListOptions) wantsService(s certs.Service) bool {
	return len(o.Services) == 0 || slices.Contains(o.Services, s)
}

// ListCertificates makes the document of `check`, sorted by node and service. The status that a
// node reports stays, except OK and Expiring, which depend on --within.
func ListCertificates(nodes []inventory.Node, missing []plan.NotInspected, o ListOptions) v1alpha1.CertificateList {
	list := v1alpha1.CertificateList{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.CertificateListKind,
		Items: []v1alpha1.Certificate{}, Authorities: []v1alpha1.Authority{}, NotInspected: []v1alpha1.NotInspected{},
		Findings: []v1alpha1.Finding{}, Unused: []v1alpha1.UnusedCertificate{},
	}
	nodes = plan.FindSigners(nodes)
	slices.SortFunc(nodes, func(a, b inventory.Node) int { return strings.Compare(a.Name, b.Name) })
	issuers := map[string]bool{}
	for _, n := range nodes {
		for _, c := range n.Certificates {
			if !o.wantsService(c.Service) && !slices.ContainsFunc(c.UsedBy, o.wantsService) {
				continue
			}
			item := certificateOf(n.Name, c, o)
			item.NotRenewable = o.obstacleTo(n, c)
			list.Items = append(list.Items, item)
			issuers[c.Facts.Issuer] = true
		}
		list.Findings = append(list.Findings, nodeFindings(n, o)...)
		list.Unused = append(list.Unused, unusedCertificates(n, o)...)
		for _, x := range n.NotInspected {
			missing = append(missing, plan.NotInspectedOn(n.Name, x))
		}
	}
	slices.SortStableFunc(list.Items, func(a, b v1alpha1.Certificate) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), serviceRank(a.Service)-serviceRank(b.Service))
	})
	for _, a := range listAuthorities(nodes, o) {
		if len(o.Services) == 0 || issuers[a.Subject] {
			list.Authorities = append(list.Authorities, a)
		}
	}
	list.NotInspected = ListNotInspected(nodes, missing, o)
	return list
}

func (o ListOptions) obstacleTo(n inventory.Node, c inventory.Certificate) string {
	if o.Obstacle != nil {
		return o.Obstacle(n, c)
	}
	return plan.ObstacleTo(&n, c).Reason
}

// nodeFindings are those of the scan, and those that a scan cannot have.
func nodeFindings(n inventory.Node, o ListOptions) []v1alpha1.Finding {
	found := n.Findings
	if o.MoreFindings != nil {
		found = append(slices.Clone(found), o.MoreFindings(n)...)
	}
	var out []v1alpha1.Finding
	for _, f := range found {
		if f.Service == "" || o.wantsService(f.Service) {
			out = append(out, v1alpha1.Finding{Node: n.Name, Kind: string(f.Kind), Service: f.Service, Path: f.Path, Message: f.Text})
		}
	}
	return out
}

// unusedCertificates are the certificates of a node that no component uses. They belong to no
// service, so they are listed where all services are.
func unusedCertificates(n inventory.Node, o ListOptions) []v1alpha1.UnusedCertificate {
	if len(o.Services) > 0 {
		return nil
	}
	var out []v1alpha1.UnusedCertificate
	for _, u := range n.Unused {
		out = append(out, v1alpha1.UnusedCertificate{Node: n.Name, Kind: string(u.Kind), Path: u.Path, User: u.User, Facts: u.Facts, Reason: u.Reason})
	}
	return out
}

func certificateOf(node string, c inventory.Certificate, o ListOptions) v1alpha1.Certificate {
	out := v1alpha1.Certificate{
		Node: node, Service: c.Service, Name: c.Name, Path: c.Store.Cert, Facts: c.Facts,
		SANs: append([]string{}, c.SANs...), Usages: append([]string{}, c.Usages...),
		Served: worstServed(c), Status: c.Status, Reason: c.Reason,
	}
	out.Status, out.Reason = statusWithin(c.Facts, c.Status, c.Reason, o)
	return out
}

// statusWithin evaluates the dates again, with the value of --within.
func statusWithin(f certs.Facts, status certs.Status, reason string, o ListOptions) (certs.Status, string) {
	switch status {
	case certs.OK, certs.Expiring, "":
		fresh, why := f.ValidityStatus(o.Now, o.Within)
		if why == "" {
			why = reason
			if status == certs.Expiring {
				why = "" // the reason was that it expires soon
			}
		}
		return fresh, why
	default:
		return status, reason
	}
}

// worstServed picks the most important result among a certificate's endpoints.
func worstServed(c inventory.Certificate) *v1alpha1.Served {
	var best *inventory.Served
	rank := func(s *inventory.Served) int {
		switch {
		case s.FingerprintSHA256 == "":
			return 1
		case s.FingerprintSHA256 == c.FingerprintSHA256:
			return 2
		default:
			return 3
		}
	}
	for i := range c.Served {
		if best == nil || rank(&c.Served[i]) > rank(best) {
			best = &c.Served[i]
		}
	}
	if best == nil {
		return nil
	}
	return &v1alpha1.Served{Address: best.Address, FingerprintSHA256: best.FingerprintSHA256, NotAfter: best.NotAfter, Error: best.Error}
}

// listAuthorities lists each CA once, by its fingerprint, with the nodes that have it and those
// that have its key.
func listAuthorities(nodes []inventory.Node, o ListOptions) []v1alpha1.Authority {
	var out []v1alpha1.Authority
	index := map[string]int{}
	for _, n := range nodes {
		for _, a := range n.Authorities {
			key := a.FingerprintSHA256
			if key == "" { // unreadable: each is a finding of its own
				key = n.Name + strings.Join(a.Paths, ",")
			}
			i, known := index[key]
			if !known {
				i = len(out)
				index[key] = i
				out = append(out, v1alpha1.Authority{Facts: a.Facts, Name: a.Name, Nodes: []string{}, KeyOn: []string{}})
			}
			// It counts as renewed only where its successor is on every node.
			if !known || out[i].Renewed && !a.Renewed {
				out[i].Renewed = a.Renewed
				out[i].Status = a.Status
				out[i].Reason = a.Reason
				if !a.Renewed {
					out[i].Status, out[i].Reason = statusWithin(a.Facts, a.Status, a.Reason, o)
				}
			}
			if !slices.Contains(out[i].Nodes, n.Name) {
				out[i].Nodes = append(out[i].Nodes, n.Name)
			}
			if a.KeyOn != "" && !slices.Contains(out[i].KeyOn, n.Name) {
				out[i].KeyOn = append(out[i].KeyOn, n.Name)
			}
		}
	}
	return out
}

// ListNotInspected lists nodes and files that could not be inspected, by node, and says why there is no API server.
func ListNotInspected(nodes []inventory.Node, missing []plan.NotInspected, o ListOptions) []v1alpha1.NotInspected {
	out := []v1alpha1.NotInspected{}
	for _, x := range missing {
		if x.Service == "" || o.wantsService(x.Service) {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.NotInspected) int { return strings.Compare(a.Node, b.Node) })
	if reason := noAPIServer(nodes, missing, o); reason != "" {
		out = append(out, v1alpha1.NotInspected{Service: certs.KubeAPIServer, Reason: reason, Informational: true})
	}
	return out
}

// noAPIServer says why no API server was found; empty where one was, or where one may run on
// a node that could not be scanned.
func noAPIServer(nodes []inventory.Node, missing []plan.NotInspected, o ListOptions) string {
	if !o.Whole || !o.wantsService(certs.KubeAPIServer) || len(nodes) == 0 {
		return ""
	}
	if slices.ContainsFunc(nodes, func(n inventory.Node) bool { return n.ComponentOf(certs.KubeAPIServer) != nil }) {
		return ""
	}
	if o.Managed != "" {
		return fmt.Sprintf("%s manages the control plane and its certificates", o.Managed)
	}
	if len(missing) > 0 {
		return ""
	}
	return "no node of this cluster runs an API server: its control plane is managed elsewhere, and so are its certificates"
}

// serviceRank is a service's position in lists.
func serviceRank(s certs.Service) int { return slices.Index(certs.Services(), s) }
