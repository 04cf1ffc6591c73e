package layout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// makeChild makes a process another one's child.
func makeChild(n *layouttest.Node, pid, parent int) {
	n.WriteFile(fmt.Sprintf("/proc/%d/stat", pid), fmt.Sprintf("%d (x) S %d 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 11 0 10000 1 1\n", pid, parent))
}

// TestComponentBelowAnotherProgramIsSupervised has units that also run other programs: only a
// unit that is the component's own may be restarted for it.
func TestComponentBelowAnotherProgramIsSupervised(t *testing.T) {
	own := func(n *layouttest.Node, unit string, argv ...string) {
		n.AddProcess(100, layouttest.UnitCgroup(unit), argv...)
	}
	for name, tt := range map[string]struct {
		build  func(n *layouttest.Node)
		want   inventory.RuntimeKind
		reason string
	}{
		"its own unit": {func(n *layouttest.Node) { own(n, "kubelet.service", "kubelet", "--kubeconfig=/k.conf") }, inventory.Systemd, ""},
		"its own unit by another name": {func(n *layouttest.Node) {
			n.WriteFile("/etc/systemd/system/node.service", "[Service]\nExecStart=/usr/bin/nice -n 5 /usr/bin/kubelet --kubeconfig=/k.conf\n")
			own(n, "node.service", "/usr/bin/kubelet", "--kubeconfig=/k.conf")
		}, inventory.Systemd, ""},
		"a wrapper that stays": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("node.service"), "/sbin/tini", "--", "kubelet", "--kubeconfig=/k.conf")
			own(n, "node.service", "kubelet", "--kubeconfig=/k.conf")
			makeChild(n, 100, 90)
		}, inventory.Systemd, ""},
		"a script that stays": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("node.service"), "/bin/bash", "/opt/start")
			own(n, "node.service", "kubelet", "--kubeconfig=/k.conf")
			makeChild(n, 100, 90)
		}, inventory.Systemd, ""},
		"helpers that outlived the kubelet before it": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("kubelet.service"), "ceph-fuse", "/mnt")
			n.AddProcess(120, layouttest.UnitCgroup("kubelet.service"), "mount.nfs", "/mnt")
			own(n, "kubelet.service", "kubelet", "--kubeconfig=/k.conf")
			makeChild(n, 120, 100)
		}, inventory.Systemd, ""},
		"an unknown supervisor": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("acme.service"), "/opt/acme/agent", "run")
			own(n, "acme.service", "kubelet", "--kubeconfig=/k.conf")
			makeChild(n, 100, 90)
		}, inventory.Supervised, ""},
		"a supervisor that is not its parent": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("acme.service"), "/opt/acme/agent", "run")
			own(n, "acme.service", "kubelet", "--kubeconfig=/k.conf")
		}, inventory.Supervised, ""},
		"with another component": {func(n *layouttest.Node) {
			n.AddProcess(110, layouttest.UnitCgroup("kubelet.service"), "kube-proxy", "--config=/x")
			own(n, "kubelet.service", "kubelet", "--kubeconfig=/k.conf")
		}, inventory.Supervised, ""},
		"k0s on a controller": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("k0scontroller.service"), "/usr/local/bin/k0s", "controller")
			own(n, "k0scontroller.service", "kubelet", "--kubeconfig=/k.conf")
		}, inventory.Supervised, "leaves this certificate to the kubelet"},
		"k0s in a unit of another name": {func(n *layouttest.Node) {
			n.AddProcess(90, layouttest.UnitCgroup("kubelet-by-k0s.service"), "/usr/local/bin/k0s", "worker")
			own(n, "kubelet-by-k0s.service", "kubelet", "--kubeconfig=/k.conf")
		}, inventory.Supervised, "leaves this certificate to the kubelet"},
		"RKE2's agent":   {func(n *layouttest.Node) { own(n, "rke2-agent.service", "kubelet", "--kubeconfig=/k.conf") }, inventory.Supervised, "rke2 certificate rotate"},
		"no unit at all": {func(n *layouttest.Node) { n.AddProcess(100, "/openrc.kubelet", "kubelet", "--kubeconfig=/k.conf") }, inventory.None, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.WriteFile("/k.conf", embeddedKubeconfig("system:node:n1"))
			tt.build(n)
			l := DiscoverNode(n.Root, Options{})
			c := l.Node.ComponentOf(certs.Kubelet)
			if c == nil || c.Runtime != tt.want || c.PID != 100 {
				t.Fatalf("kubelet: %+v, want it %s with process 100", c, tt.want)
			}
			if (c.Note == "") != (tt.want == inventory.Systemd) {
				t.Errorf("note %q", c.Note)
			}
			client := findCertificate(t, l, "kubelet-client")
			left := client.Issuer.Kind == inventory.NoIssuer
			if left != (tt.reason != "") || !strings.Contains(client.Reason, tt.reason) {
				t.Errorf("certificate: %+v %q, want the reason %q", client.Issuer, client.Reason, tt.reason)
			}
		})
	}
}

// TestControlPlaneInOrdinaryPodsIsReported is a control plane whose manifests the API
// server has, and not the node.
func TestControlPlaneInOrdinaryPodsIsReported(t *testing.T) {
	const uid = "0a1b2c3d-0001-4002-8003-0000000000bb"
	for name, tt := range map[string]struct {
		build     func(n *layouttest.Node)
		component bool
		reported  bool
	}{
		"in kube-system": {func(n *layouttest.Node) {
			n.WriteFile("/var/log/pods/kube-system_kube-apiserver-x_"+uid+"/a/0.log", "")
		}, true, true},
		"on the host's network": {func(n *layouttest.Node) {
			n.WriteFile("/var/log/pods/control-plane_kube-apiserver-x_"+uid+"/a/0.log", "")
			n.LinkFile("/proc/1/ns/net", "net:[1]")
			n.LinkFile("/proc/600/ns/net", "net:[1]")
		}, true, true},
		"of a tenant": {func(n *layouttest.Node) {
			n.WriteFile("/var/log/pods/tenant_kube-apiserver-x_"+uid+"/a/0.log", "")
			n.LinkFile("/proc/1/ns/net", "net:[1]")
			n.LinkFile("/proc/600/ns/net", "net:[2]")
		}, false, false},
		"of an unknown owner": {func(*layouttest.Node) {}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.KubeadmWorker()
			kubeadmFiles(n)
			n.AddProcess(600, layouttest.PodCgroup(uid), "kube-apiserver", "--tls-cert-file=/s/a.crt", "--tls-private-key-file=/s/a.key", "--advertise-address=10.0.0.11")
			tt.build(n)
			l := DiscoverNode(n.Root, Options{})
			c := l.Node.ComponentOf(certs.KubeAPIServer)
			if (c != nil) != tt.component || l.Node.ControlPlane() != tt.component {
				t.Errorf("component: %+v", c)
			}
			if c != nil && (c.Runtime != inventory.None || !strings.Contains(c.Note, "Secrets") || c.APIServer != "10.0.0.11:6443") {
				t.Errorf("component: %+v", c)
			}
			if got := reasonOf(l, ""); strings.Contains(got, "Secrets") != tt.reported {
				t.Errorf("not inspected: %q", got)
			}
		})
	}
}

// TestWrappedStaticPodIsTheComponent is kOps' API server: its container starts a wrapper,
// which stays as the parent of the component.
func TestWrappedStaticPodIsTheComponent(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	own := []string{"/usr/local/bin/kube-apiserver", "--tls-cert-file=/p/a.crt", "--tls-private-key-file=/p/a.key"}
	wrapped := append([]string{"/go-runner", "--log-file=/var/log/kube-apiserver.log", "--also-stdout"}, own...)
	n.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", layouttest.ManifestFor("kube-apiserver", wrapped, []string{"/p"}))
	n.AddProcess(400, layouttest.StaticPodCgroup("a"), wrapped...)
	n.AddProcess(401, layouttest.StaticPodCgroup("a"), own...)
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	c := l.Node.ComponentOf(certs.KubeAPIServer)
	if c == nil || c.Runtime != inventory.StaticPod || c.PID != 401 || c.Manifest != "/etc/kubernetes/manifests/kube-apiserver.yaml" {
		t.Fatalf("kube-apiserver: %+v", c)
	}
	findCertificate(t, l, "apiserver")
}
