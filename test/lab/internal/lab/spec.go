// Package lab boots, changes and removes a lab: a Kubernetes cluster whose
// nodes are machines on this host, inside one network namespace.
//
// Up does, in this order: clean what an aborted run left; make the namespace
// and its bridge; boot all nodes at once; start the load balancer; start etcd
// on its hosts, where there are any; `kubeadm init` on the first node, `kubeadm
// join` on the others, control planes one after the other; give every node its
// pod network; wait until everything is ready. The state file is written before
// each step that starts something. In topology "systemd" the nodes have all
// their files before they boot, and no kubeadm runs.
package lab

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Spec is the shape of a lab, as its user asked for it.
type Spec struct {
	Name          string `json:"name"`
	ControlPlanes int    `json:"controlPlanes"`
	Workers       int    `json:"workers"`
	EtcdHosts     int    `json:"etcdHosts,omitempty"`
	EtcdLayout    string `json:"etcdLayout,omitempty"`
	LoadBalancer  bool   `json:"loadBalancer"`
	Topology      string `json:"topology,omitempty"`
	Kubernetes    string `json:"kubernetes,omitempty"` // minor version
	NodePrefix    string `json:"nodePrefix,omitempty"`
	CrashLoopMax  string `json:"crashLoopBackOffMax,omitempty"`
	Config        string `json:"config,omitempty"` // kubeadm documents to merge
}

// Systemd is the topology whose components are all systemd units; the other one
// is kubeadm's, "".
const Systemd = "systemd"

const (
	maxControlPlanes = 9
	maxWorkers       = 150
	maxEtcdHosts     = 9
)

var (
	validName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	validPrefix = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,40}$`)
)

// Validate returns what is wrong with the spec.
func (s Spec) Validate() error {
	switch {
	case !validName.MatchString(s.Name):
		return fmt.Errorf("lab name %q: use lower-case letters, digits and dashes, at most 32", s.Name)
	case s.ControlPlanes < 1 || s.ControlPlanes > maxControlPlanes:
		return fmt.Errorf("%d control planes: a lab has 1 to %d", s.ControlPlanes, maxControlPlanes)
	case s.Workers < 0 || s.Workers > maxWorkers:
		return fmt.Errorf("%d workers: a lab has 0 to %d", s.Workers, maxWorkers)
	case s.EtcdHosts < 0 || s.EtcdHosts > maxEtcdHosts:
		return fmt.Errorf("%d etcd hosts: a lab has 0 to %d", s.EtcdHosts, maxEtcdHosts)
	case s.EtcdLayout != "" && (s.EtcdLayout != Kubespray || s.EtcdHosts == 0):
		return fmt.Errorf("etcd layout %q: use %q together with --etcd-hosts, or none for that of kubeadm", s.EtcdLayout, Kubespray)
	case s.Topology != "" && s.Topology != Systemd:
		return fmt.Errorf("topology %q: use %q, or none for that of kubeadm", s.Topology, Systemd)
	case s.Topology == Systemd && s.EtcdHosts > 0:
		return fmt.Errorf("%d etcd hosts: in topology %q etcd runs on the control planes", s.EtcdHosts, Systemd)
	case s.NodePrefix != "" && !validPrefix.MatchString(s.NodePrefix):
		return fmt.Errorf("node prefix %q: use lower-case letters, digits, dots and dashes, at most 41", s.NodePrefix)
	}
	return nil
}

// difference says in words how other differs, "" when it does not.
func (s Spec) difference(other Spec) string {
	var changes []string
	a, b := reflect.ValueOf(s), reflect.ValueOf(other)
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if x == y {
			continue
		}
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		if name == "config" {
			changes = append(changes, "another kubeadm configuration")
			continue
		}
		changes = append(changes, fmt.Sprintf("%s %v instead of %v", name, x, y))
	}
	return strings.Join(changes, ", ")
}

// The addresses inside a lab's network namespace. Labs don't see each other,
// so all have the same.
const (
	gateway    = "10.10.0.1" // the namespace's own address, and the load balancer's
	prefixBits = 24
	podSubnet  = "10.244.0.0/16"
	// EndpointName is the name of the Kubernetes API, for all nodes and clients.
	EndpointName = "api.lab.test"
)

// Role is what a node is for.
type Role string

// The roles of nodes.
const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
	EtcdHost     Role = "etcd-host" // runs etcd, and is no node of the cluster
)

// plan lists the machines of a spec, the first control plane first: names, roles, addresses.
func (s Spec) plan() []Node {
	var nodes []Node
	for i := 1; i <= s.ControlPlanes; i++ {
		nodes = append(nodes, Node{Role: ControlPlane, IP: fmt.Sprintf("10.10.0.%d", 10+i)})
		nodes[len(nodes)-1].Name = fmt.Sprintf("%scp%d", s.NodePrefix, i)
	}
	for i := 1; i <= s.Workers; i++ {
		nodes = append(nodes, Node{Role: Worker, IP: fmt.Sprintf("10.10.0.%d", 50+i)})
		nodes[len(nodes)-1].Name = fmt.Sprintf("%sw%d", s.NodePrefix, i)
	}
	for i := 1; i <= s.EtcdHosts; i++ {
		nodes = append(nodes, Node{Role: EtcdHost, IP: fmt.Sprintf("10.10.0.%d", 30+i)})
		nodes[len(nodes)-1].Name = fmt.Sprintf("%setcd%d", s.NodePrefix, i)
	}
	return nodes
}
