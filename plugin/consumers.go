package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// consumers says who relies on what the plan renews: those that the scan knows of, and
// in words those that nothing here can see. All of them trust a CA that stays.
func consumers(p plan.Plan, nodes []inventory.Node) []string {
	var out []string
	if renews(p, func(t plan.Target) bool { return t.Service == certs.Etcd }) {
		out = append(out, "Clients of etcd: "+etcdClients(nodes)+". Not seen from here is what else uses it (backups, monitoring, networks); all go on, "+
			"as long as they trust etcd's CA, which stays.")
	}
	if renews(p, func(t plan.Target) bool { return t.Name == "front-proxy-client" }) {
		out = append(out, "Aggregated API servers (such as metrics-server) are not reachable from here: they trust the front proxy by its CA, which stays.")
	}
	return out
}

// etcdClients names the API servers by the endpoints that they use.
func etcdClients(nodes []inventory.Node) string {
	var order []string
	on := map[string][]string{}
	for i := range nodes {
		c := nodes[i].Component(certs.KubeAPIServer)
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
		known = append(known, fmt.Sprintf("kube-apiserver on %s (%s)", some(on[urls]), urls))
	}
	return strings.Join(known, "; ")
}

func renews(p plan.Plan, which func(plan.Target) bool) bool {
	return slices.ContainsFunc(p.Steps(), func(s plan.Step) bool { return slices.ContainsFunc(s.Targets, which) })
}
