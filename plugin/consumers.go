package plugin

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// namedConsumers names the clients of the services that the plan renews: those that the scan
// found, and kinds of clients that no scan can find. All of them trust a CA that stays.
func namedConsumers(p plan.Plan, nodes []inventory.Node) []string {
	var out []string
	if anyTarget(p, func(t plan.Target) bool { return t.Service == certs.Etcd }) {
		out = append(out, "Clients of etcd: "+etcdClients(nodes)+". A scan does not find other clients (backups, monitoring, networks). "+
			"All of them continue if they trust etcd's CA, which stays.")
	}
	if anyTarget(p, func(t plan.Target) bool { return t.Name == "front-proxy-client" }) {
		out = append(out, "Aggregated API servers (such as metrics-server) are not inspected: they trust the front proxy by its CA, which stays.")
	}
	return out
}

// maxNamed bounds how many copies are named.
const maxNamed = 20

// namedCopies names copies of the certificates that the plan replaces: in home directories, and on
// nodes that are not part of the plan. They hold the old certificate afterwards.
func namedCopies(p plan.Plan, nodes []inventory.Node) string {
	old := map[string]string{}
	replaced := map[string]bool{}
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			if t.Service == certs.Admin {
				old[t.OldFingerprint] = fmt.Sprintf("%s of %s", path.Base(t.Path), s.Node)
			}
			replaced[s.Node+t.Path] = true
		}
	}
	var found []string
	add := func(node, file, fingerprint string) {
		if of := old[fingerprint]; of != "" && !replaced[node+file] {
			found = append(found, fmt.Sprintf("%s on %s (%s)", file, node, of))
			replaced[node+file] = true // listed once
		}
	}
	for _, n := range nodes {
		for _, c := range n.Certificates {
			add(n.Name, c.Store.Cert, c.FingerprintSHA256)
		}
		for _, c := range n.Copies {
			add(n.Name, c.Path, c.FingerprintSHA256)
		}
		for _, c := range n.Unused {
			add(n.Name, c.Path, c.FingerprintSHA256)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	more := ""
	if n := len(found) - maxNamed; n > 0 {
		found = found[:maxNamed]
		more = fmt.Sprintf(" and %d more", n)
	}
	return "Copies keep the old certificate and are not changed: " + strings.Join(found, ", ") + more + ". Copy the new file there."
}

// etcdClients lists the API servers, grouped by the etcd endpoints that they use.
func etcdClients(nodes []inventory.Node) string {
	var order []string
	on := map[string][]string{}
	for i := range nodes {
		c := nodes[i].ComponentOf(certs.KubeAPIServer)
		if c == nil || len(c.ClientURLs) == 0 {
			continue
		}
		urls := strings.Join(c.ClientURLs, ",")
		if on[urls] == nil {
			order = append(order, urls)
		}
		on[urls] = append(on[urls], nodes[i].Name)
	}
	if len(order) == 0 {
		return "none that was inspected"
	}
	known := make([]string, 0, len(order))
	for _, urls := range order {
		known = append(known, fmt.Sprintf("kube-apiserver on %s (%s)", printers.SomeNames(on[urls]), urls))
	}
	return strings.Join(known, "; ")
}

func anyTarget(p plan.Plan, which func(plan.Target) bool) bool {
	return slices.ContainsFunc(p.AllSteps(), func(s plan.Step) bool { return slices.ContainsFunc(s.Targets, which) })
}
