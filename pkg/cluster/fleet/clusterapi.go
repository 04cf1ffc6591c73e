package fleet

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// clusterAPINotes says what to do in the management cluster after control-plane machines of
// Cluster API have new certificates. It keeps their expiry in an annotation, and replaces
// the machines before that date (KubeadmControlPlane, rollout before certificatesExpiryDays)
// until the annotation is removed: then it asks the API server for the date again.
func clusterAPINotes(all []kubenode.Node, p plan.Plan) []string {
	machines := map[string][]string{}
	for _, s := range p.AllSteps() {
		i := slices.IndexFunc(all, func(n kubenode.Node) bool { return n.Name == s.Node })
		if i < 0 || len(s.Targets) == 0 || all[i].ClusterAPI == "" || !s.ControlPlane && !all[i].ControlPlane {
			continue
		}
		machines[all[i].ClusterAPI] = append(machines[all[i].ClusterAPI], s.Node)
	}
	var out []string
	for _, cluster := range slices.Sorted(maps.Keys(machines)) {
		out = append(out, fmt.Sprintf("Cluster API (cluster %q) manages %s: its management cluster keeps the expiry of their certificates in the annotation "+
			"machine.cluster.x-k8s.io/certificates-expiry and replaces the machines before that date all the same. Afterwards remove the annotation there, "+
			"from their Machines and KubeadmConfigs.", cluster, printers.SomeNames(machines[cluster])))
	}
	return out
}
