package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
)

// kubeadmPath is where a node has its kubeadm configuration.
const kubeadmPath = "/etc/lab/kubeadm.yaml"

// configOf returns the kubeadm configuration of a node.
func (l *Lab) configOf(config kubeadm.Cluster, n *Node) (string, error) {
	member := memberOf(n)
	if n.Name == l.Nodes[0].Name {
		return config.Init(member)
	}
	return config.Join(member)
}

func memberOf(n *Node) kubeadm.Member {
	return kubeadm.Member{Name: n.Name, IP: n.IP, ControlPlane: n.Role == ControlPlane}
}

// formCluster makes the booted nodes a cluster. Control planes join one after
// the other, because etcd takes in one member at a time; the workers join
// meanwhile.
func (l *Lab) formCluster() error {
	first := &l.Nodes[0]
	l.step("kubeadm init on %s", first.Name)
	if err := l.kubeadm(first, "init", "--upload-certs"); err != nil {
		return err
	}
	if err := l.fetchKubeconfig("/etc/kubernetes/admin.conf"); err != nil {
		return err
	}
	workers := make(chan error, 1)
	go func() {
		workers <- l.eachNode(func(n *Node) error {
			if n.Role != Worker {
				return nil
			}
			return l.kubeadm(n, "join")
		})
	}()
	var failure error
	for i := range l.Nodes[1:] {
		n := &l.Nodes[1+i]
		if n.Role != ControlPlane || failure != nil {
			continue
		}
		l.step("kubeadm join on %s", n.Name)
		failure = l.kubeadm(n, "join")
	}
	return errors.Join(failure, <-workers)
}

// kubeadm runs a kubeadm command with the node's configuration. All it prints
// is kept on the node.
func (l *Lab) kubeadm(n *Node, command string, args ...string) error {
	script := `kubeadm "$@" >/var/log/kubeadm.log 2>&1 || { status=$?; cat /var/log/kubeadm.log; exit $status; }`
	argv := append([]string{"sh", "-c", script, "sh", command, "--config", kubeadmPath}, args...)
	if out, err := l.onNode(n, nil, argv...); err != nil {
		return fmt.Errorf("kubeadm %s on node %q failed:\n%s", command, n.Name, tail(out, 40))
	}
	return nil
}

// fetchKubeconfig copies the administrator's kubeconfig from the first node.
func (l *Lab) fetchKubeconfig(path string) error {
	data, err := l.onNode(&l.Nodes[0], nil, "cat", path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.Kubeconfig(), []byte(data), 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

// awaitReady waits until all nodes are Ready and kube-proxy and CoreDNS run,
// and approves the serving certificates that kubelets ask for: nothing in a
// cluster approves those automatically, and without them there is no log and no exec.
func (l *Lab) awaitReady(config kubeadm.Cluster) error {
	err := waitFor("all nodes to be Ready", l.waitLimit(), func() error {
		out, err := l.kubectl("get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}`)
		if err != nil {
			return err
		}
		if ready, want := strings.Count(out, "=True"), l.clusterSize(); ready != want {
			return fmt.Errorf("%d of %d are Ready: %s", ready, want, out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if config.ServesOwnCertificates() {
		if err := waitFor("requests for serving certificates", l.waitLimit(), l.approveServing); err != nil {
			return err
		}
	}
	var workloads []string
	if l.Spec.Topology != Systemd {
		workloads = append(workloads, "daemonset/kube-proxy")
	}
	if config.HasDNS() {
		workloads = append(workloads, "deployment/coredns")
	}
	for _, workload := range workloads {
		if _, err := l.kubectl("-n", "kube-system", "rollout", "status", workload, "--timeout", l.waitLimit().String()); err != nil {
			return err
		}
	}
	return l.awaitHealth()
}

// awaitHealth waits until each API server answers for itself: the load
// balancer would hide one that doesn't.
func (l *Lab) awaitHealth() error {
	for _, n := range l.Nodes {
		if n.Role != ControlPlane {
			continue
		}
		server := fmt.Sprintf("https://%s:%d", n.IP, l.APIPort)
		err := waitFor(fmt.Sprintf("the API server of node %q", n.Name), l.waitLimit(), func() error {
			_, err := l.kubectl("--server", server, "get", "--raw", "/readyz")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// approveServing approves the pending requests of kubelets for serving
// certificates, and reports an error until every node has one approved.
func (l *Lab) approveServing() error {
	out, err := l.kubectl("get", "certificatesigningrequests", "-o", "json")
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ SignerName, Username string }
			Status   struct{ Conditions []struct{ Type string } }
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	served := map[string]bool{}
	for _, request := range list.Items {
		if request.Spec.SignerName != "kubernetes.io/kubelet-serving" {
			continue
		}
		if len(request.Status.Conditions) == 0 {
			if _, err := l.kubectl("certificate", "approve", request.Metadata.Name); err != nil {
				return err
			}
		}
		served[request.Spec.Username] = true
	}
	if want := l.clusterSize(); len(served) < want {
		return fmt.Errorf("%d of %d nodes have asked", len(served), want)
	}
	return nil
}
