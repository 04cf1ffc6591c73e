package layout

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// k0sController is a node of "k0s install controller", with a kubelet if worker is set.
func k0sController(n *layouttest.Node, unitFile string, worker bool, args ...string) {
	const unit, bin, pki = "k0scontroller.service", "/var/lib/k0s/bin/", "/var/lib/k0s/pki/"
	if unitFile != "" {
		n.WriteFile("/etc/systemd/system/"+unit, unitFile)
	}
	run := func(pid int, argv ...string) {
		n.AddProcess(pid, layouttest.UnitCgroup(unit), argv...)
		if pid > 90 {
			makeChild(n, pid, 90)
		}
	}
	run(90, append([]string{"/usr/local/bin/k0s", "controller"}, args...)...)
	run(100, bin+"etcd", "--cert-file="+pki+"etcd/server.crt", "--key-file="+pki+"etcd/server.key", "--peer-cert-file="+pki+"etcd/peer.crt",
		"--peer-key-file="+pki+"etcd/peer.key", "--trusted-ca-file="+pki+"etcd/ca.crt", "--listen-client-urls=https://127.0.0.1:2379")
	run(110, bin+"kube-apiserver", "--tls-cert-file="+pki+"server.crt", "--tls-private-key-file="+pki+"server.key", "--client-ca-file="+pki+"ca.crt",
		"--kubelet-client-certificate="+pki+"apiserver-kubelet-client.crt", "--kubelet-client-key="+pki+"apiserver-kubelet-client.key",
		"--proxy-client-cert-file="+pki+"front-proxy-client.crt", "--proxy-client-key-file="+pki+"front-proxy-client.key",
		"--tls-sni-cert-key=/srv/own.crt,/srv/own.key")
	run(120, bin+"kube-scheduler", "--kubeconfig="+pki+"scheduler.conf")
	n.WriteFile(pki+"scheduler.conf", embeddedKubeconfig("system:kube-scheduler"))
	n.WriteFile(pki+"admin.conf", embeddedKubeconfig("kubernetes-admin"))
	if worker {
		run(130, bin+"kubelet", "--kubeconfig=/var/lib/k0s/kubelet.conf")
		n.WriteFile("/var/lib/k0s/kubelet.conf", embeddedKubeconfig("system:node:n1"))
	}
}

const killsOnlyMain = "[Service]\nExecStart=/usr/local/bin/k0s controller\nKillMode=process\nTimeoutStopSec=5min\n"

// TestCertificatesThatK0sMakesAtItsStart distinguishes those that a restart of its unit renews
// from the others.
func TestCertificatesThatK0sMakesAtItsStart(t *testing.T) {
	for name, tt := range map[string]struct {
		build  func(n *layouttest.Node)
		atUnit bool
		reason string // of apiserver
	}{
		"controller":            {func(n *layouttest.Node) { k0sController(n, "", false) }, true, ""},
		"controller and worker": {func(n *layouttest.Node) { k0sController(n, killsOnlyMain, true) }, true, ""},
		"whose restart ends the pods": {func(n *layouttest.Node) {
			k0sController(n, "[Service]\nExecStart=/usr/local/bin/k0s controller\n", true)
		}, false, "KillMode=process"},
		"whose unit file is not there":   {func(n *layouttest.Node) { k0sController(n, "", true) }, false, "was not found"},
		"with its data somewhere else":   {func(n *layouttest.Node) { k0sController(n, "", false, "--data-dir=/data/k0s") }, false, "replace it by hand"},
		"with the place of data spelled": {func(n *layouttest.Node) { k0sController(n, "", false, "--data-dir", "/var/lib/k0s/") }, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			tt.build(n)
			l := DiscoverNode(n.Root, Options{})
			for _, name := range []string{"apiserver", "apiserver-kubelet-client", "front-proxy-client", "etcd-server", "etcd-peer", "scheduler.conf", "admin.conf"} {
				c := findCertificate(t, l, name)
				if got := c.Issuer.Kind == inventory.UnitStart; got != tt.atUnit || got != (c.Issuer.Unit != "" && c.Reason == "") {
					t.Errorf("%s: %+v %q", name, c.Issuer, c.Reason)
				}
			}
			if c := findCertificate(t, l, "apiserver"); !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("apiserver: %q, want %q", c.Reason, tt.reason)
			}
			if grace := l.Node.ComponentOf(certs.Etcd).GraceSeconds; (grace == 300) != (name == "controller and worker") {
				t.Errorf("the unit has %d s to exit", grace)
			}
			for _, c := range l.Node.Certificates {
				own := c.Store.Cert == "/srv/own.crt" || c.Service == certs.Kubelet
				if own && (c.Issuer != inventory.Issuer{Kind: inventory.NoIssuer} || c.Reason == "") {
					t.Errorf("%s, which k0s does not make: %+v %q", c.Name, c.Issuer, c.Reason)
				}
			}
		})
	}
}
