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
		var known []string
		for i := range nodes {
			if c := nodes[i].Component(certs.KubeAPIServer); c != nil && len(c.ClientURLs) > 0 {
				known = append(known, fmt.Sprintf("kube-apiserver on %s (%s)", nodes[i].Name, strings.Join(c.ClientURLs, ",")))
			}
		}
		if len(known) == 0 {
			known = []string{"none that was inspected"}
		}
		out = append(out, "Clients of etcd: "+some(known)+". Not reachable from here: whatever else uses etcd (backups, monitoring, networks that store in it); "+
			"it goes on as long as it trusts etcd's CA, which stays.")
	}
	if renews(p, func(t plan.Target) bool { return t.Name == "front-proxy-client" }) {
		out = append(out, "Aggregated API servers (such as metrics-server) are not reachable from here: they trust the front proxy by its CA, which stays.")
	}
	return out
}

func renews(p plan.Plan, which func(plan.Target) bool) bool {
	return slices.ContainsFunc(p.Steps(), func(s plan.Step) bool { return slices.ContainsFunc(s.Targets, which) })
}
