// Package kubenode is what the Kubernetes API says of a node: whether a pod of ours can
// work on it, its addresses and labels, and what the labels say of the control plane. It
// asks nothing itself.
package kubenode

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Node is what the API knows of a node, as far as a rotation cares.
type Node struct {
	Name          string
	Ready         bool
	NotReadySince time.Time // zero: unknown, or ready
	NotReadyWhy   string    // the Ready condition's reason
	OS            string    // "linux"
	Arch          string    // "amd64"
	Labels        map[string]string
	Addresses     []corev1.NodeAddress
	Unschedulable bool
	Virtual       bool   // a virtual kubelet: there is no machine
	Managed       string // whose control plane this node belongs to ("EKS"); empty: unknown or none
	// ClusterAPI is the name of the cluster whose Machine the node is; empty: Cluster API does
	// not manage it.
	ClusterAPI   string
	ControlPlane bool // by its label; only a scan shows the components there
	Etcd         bool // it has a label that says that it runs etcd
}

// InternalIPs returns the node's internal addresses.
func (n Node) InternalIPs() []string {
	var out []string
	for _, a := range n.Addresses {
		if a.Type == corev1.NodeInternalIP {
			out = append(out, a.Address)
		}
	}
	return out
}

// Hostnames returns the names by which the API says the node can be reached.
func (n Node) Hostnames() []string {
	var out []string
	for _, a := range n.Addresses {
		if a.Type == corev1.NodeHostName || a.Type == corev1.NodeInternalDNS {
			out = append(out, a.Address)
		}
	}
	return out
}

// Excluded says whether no pod of ours can work on the node, and why.
func (n Node) Excluded(now time.Time) (reason string, excluded bool) {
	switch {
	case n.Virtual:
		return "a virtual node: there is no machine behind it", true
	case n.Foreign():
		return fmt.Sprintf("%s/%s has no node program", n.OS, n.Arch), true
	case !n.Ready && n.NotReadySince.IsZero():
		return "NotReady", true
	case !n.Ready:
		return "NotReady for " + ageInWords(now.Sub(n.NotReadySince)), true
	}
	return "", false
}

// Foreign says that no pod of ours can ever work on the node.
func (n Node) Foreign() bool {
	return n.Virtual || n.OS != "" && n.OS != "linux" || n.Arch != "" && !slices.Contains([]string{"amd64", "arm64"}, n.Arch)
}

// Partition splits nodes into the names of those that can be worked on and the
// exclusions of the others.
func Partition(nodes []Node, now time.Time) (names []string, excluded []plan.NotInspected) {
	for _, n := range nodes {
		if reason, out := n.Excluded(now); out {
			excluded = append(excluded, plan.NotInspected{Node: n.Name, Reason: reason, Informational: n.Foreign()})
			continue
		}
		names = append(names, n.Name)
	}
	return names, excluded
}

// ManagedControlPlane names the provider that runs the control plane elsewhere
// ("EKS"), or returns "". Where a scan finds no API server on any node, this says why.
func ManagedControlPlane(nodes []Node) string {
	for _, n := range nodes {
		if n.Managed != "" && !n.ControlPlane {
			return n.Managed
		}
	}
	return ""
}

// UnknownError names a node that does not exist, and the nearest one that does.
type UnknownError struct {
	Name    string
	Nearest string // empty where nothing comes near
	Known   []string
}

func (e *UnknownError) Error() string {
	hint := ""
	if e.Nearest != "" {
		hint = fmt.Sprintf(", did you mean %q?", e.Nearest)
	}
	const shown = 10
	known := strings.Join(e.Known[:min(shown, len(e.Known))], ", ")
	if more := len(e.Known) - shown; more > 0 {
		known += fmt.Sprintf(" and %d more (kubectl get nodes)", more)
	}
	return fmt.Sprintf("unknown node %q%s\nnodes: %s", e.Name, hint, known)
}

// Select returns the nodes of these names, all of them where names is empty.
// A name that does not exist is an [*UnknownError].
func Select(all []Node, names []string) ([]Node, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []Node
	for _, n := range all {
		if slices.Contains(names, n.Name) {
			out = append(out, n)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(n Node) bool { return n.Name == name }) {
			return nil, unknownNode(name, all)
		}
	}
	return out, nil
}

func unknownNode(name string, all []Node) error {
	e := &UnknownError{Name: name}
	best := 1 << 30
	for _, n := range all {
		e.Known = append(e.Known, n.Name)
		d := certs.EditDistance(name, n.Name)
		// People leave out the domain: cp1 for cp1.example.com.
		if strings.HasPrefix(n.Name, name+".") {
			d = 0
		}
		if d < best {
			best = d
			e.Nearest = n.Name
		}
	}
	if best > max(2, len(name)/3) {
		e.Nearest = ""
	}
	return e
}

// managedBy maps a label that only a provider's own worker nodes carry to its name.
var managedBy = map[string]string{
	"eks.amazonaws.com/nodegroup":    "EKS",
	"alpha.eksctl.io/nodegroup-name": "EKS",
	"cloud.google.com/gke-nodepool":  "GKE",
	"kubernetes.azure.com/cluster":   "AKS",
	"doks.digitalocean.com/node-id":  "DOKS",
	"k8s.scaleway.com/managed":       "Kapsule",
	"lke.linode.com/pool-id":         "LKE",
}

// controlPlaneLabels are those of kubeadm, the one before it, and RKE's.
var controlPlaneLabels = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master", "node-role.kubernetes.io/controlplane"}

// Describe reads a Node object.
func Describe(n *corev1.Node) Node {
	out := Node{
		Name:          n.Name,
		OS:            n.Status.NodeInfo.OperatingSystem,
		Arch:          n.Status.NodeInfo.Architecture,
		Addresses:     n.Status.Addresses,
		Unschedulable: n.Spec.Unschedulable,
		Labels:        n.Labels,
		ClusterAPI:    clusterAPI(n.Annotations),
	}
	// A node that never reported has its labels at least.
	out.OS = cmp.Or(out.OS, n.Labels[corev1.LabelOSStable])
	out.Arch = cmp.Or(out.Arch, n.Labels[corev1.LabelArchStable])
	out.Virtual = n.Labels["type"] == "virtual-kubelet" ||
		strings.HasPrefix(n.Spec.ProviderID, "virtual-kubelet://") ||
		slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "virtual-kubelet.io/provider" })
	for label, provider := range managedBy {
		if _, ok := n.Labels[label]; ok {
			out.Managed = provider
		}
	}
	for _, label := range controlPlaneLabels {
		if _, ok := n.Labels[label]; ok {
			out.ControlPlane = true
		}
	}
	_, out.Etcd = n.Labels["node-role.kubernetes.io/etcd"] // RKE, RKE2, k3s
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		out.Ready = c.Status == corev1.ConditionTrue
		if !out.Ready {
			out.NotReadySince = c.LastTransitionTime.Time
			out.NotReadyWhy = c.Reason
		}
	}
	return out
}

// clusterAPI returns the name of the cluster that a node's annotations name, which Cluster
// API's Machine controller sets (api/core/v1beta1/machine_types.go, annotations of nodes).
func clusterAPI(annotations map[string]string) string {
	if name := annotations["cluster.x-k8s.io/cluster-name"]; name != "" {
		return name
	}
	for key := range annotations {
		if strings.HasPrefix(key, "cluster.x-k8s.io/") {
			return "unknown"
		}
	}
	return ""
}

// ageInWords is a duration as kubectl prints ages, to one unit: 45s, 14m, 3h, 2d.
func ageInWords(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
