package lab

import (
	"fmt"
	"os"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/parts"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/units"
)

// newUnitCluster makes the CAs of a cluster whose components are units, where
// one is asked for.
func (l *Lab) newUnitCluster(config kubeadm.Cluster) (*units.Cluster, error) {
	if l.Spec.Topology != Systemd {
		return nil, nil
	}
	var members []kubeadm.Member
	for i := range l.Nodes {
		members = append(members, memberOf(&l.Nodes[i]))
	}
	return units.New(config, members, gateway)
}

// prepareUnits writes the files of a node whose components are units.
func prepareUnits(cluster *units.Cluster, n *Node, common map[string]string) error {
	files, names, err := cluster.Node(memberOf(n))
	if err != nil {
		return err
	}
	if err := n.WriteFiles(common, names...); err != nil {
		return err
	}
	// The kubelet's unit is another than that of the packages.
	if err := n.RemoveFiles(kubeletUnit, kubeletUnit+".d/10-kubeadm.conf"); err != nil {
		return err
	}
	return n.WriteAll(files)
}

// formUnitCluster waits until the units of the booted nodes are a cluster, and
// gives it what no unit does: DNS, permissions, and the labels of control planes.
func (l *Lab) formUnitCluster(cluster *units.Cluster) error {
	if err := l.fetchKubeconfig(units.AdminKubeconfig); err != nil {
		return err
	}
	l.step("waiting for the API")
	err := waitFor("the API", l.waitLimit(), func() error {
		_, err := l.kubectl("get", "--raw", "/readyz")
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if n.Role != ControlPlane {
			continue
		}
		err := waitFor(fmt.Sprintf("node %q in the API", n.Name), l.waitLimit(), func() error {
			_, err := l.kubectl("get", "node", n.Name)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := l.kubectl("label", "node", n.Name, "node-role.kubernetes.io/control-plane="); err != nil {
			return err
		}
		if l.Spec.Workers == 0 {
			continue // as kubeadm's documentation has it for a single node: pods run here
		}
		if _, err := l.kubectl("taint", "node", n.Name, "node-role.kubernetes.io/control-plane:NoSchedule"); err != nil {
			return err
		}
	}
	// Only now, so that CoreDNS runs on a worker: its watches last as long as its node, and at each
	// shutdown of a control plane they would delay the end of its API server for a minute.
	return l.applyAddons(cluster)
}

// applyAddons creates the objects that come with the cluster.
func (l *Lab) applyAddons(cluster *units.Cluster) error {
	image, err := l.imageNamed("/coredns:")
	if err != nil {
		return err
	}
	text, err := cluster.Addons(image)
	if err != nil {
		return err
	}
	path := l.path("addons.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the addons: %w", err)
	}
	_, err = l.kubectl("apply", "-f", path)
	return err
}

// imageNamed finds an image that the nodes have.
func (l *Lab) imageNamed(part string) (string, error) {
	out, err := l.onNode(&l.Nodes[0], nil, "ctr", "--namespace", "k8s.io", "images", "ls", "--quiet")
	if err != nil {
		return "", err
	}
	for name := range strings.Lines(out) {
		if strings.Contains(name, part) {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("no node has an image with %q in its name", part)
}

// layersOf are the trees that a machine of this role consists of, the topmost first.
func (s Spec) layersOf(role Role, built parts.Parts) []string {
	layers := built.Layers()
	if role == EtcdHost || s.Topology == Systemd && role == ControlPlane {
		layers = append([]string{built.Etcd}, layers...)
	}
	if s.Topology == Systemd {
		layers = append([]string{built.Daemons}, layers...)
	}
	return layers
}
