package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestStoppedDistributionIsNotInspected: a node whose RKE2 or K3s does not run has certificates,
// although no component names them.
func TestStoppedDistributionIsNotInspected(t *testing.T) {
	const k3sDir, rke2Dir = "/var/lib/rancher/k3s", "/var/lib/rancher/rke2"
	rke2Units := func(n *layouttest.Node) {
		for _, role := range []string{"server", "agent"} {
			n.WriteFile("/usr/lib/systemd/system/rke2-"+role+".service", rke2UnitFile(role))
		}
	}
	for name, tt := range map[string]struct {
		build func(n *layouttest.Node)
		want  []string // how the reasons begin
	}{
		"a server of K3s": {func(n *layouttest.Node) { n.WriteFile("/etc/systemd/system/k3s.service", k3sUnitFile) }, []string{"k3s.service of K3s runs no component"}},
		"beside a client of it": {func(n *layouttest.Node) {
			n.WriteFile("/etc/systemd/system/k3s.service", k3sUnitFile)
			n.AddProcess(99, "/user.slice/user-0.slice/session-1.scope", "/usr/local/bin/k3s", "kubectl", "get", "nodes")
		}, []string{"K3s runs every component", "k3s.service of K3s runs no component"}},
		"an agent of K3s": {func(n *layouttest.Node) {
			n.WriteFile("/etc/systemd/system/k3s-agent.service", strings.Replace(k3sUnitFile, "server", "agent", 1))
		}, []string{"k3s-agent.service of K3s runs no component"}},
		"K3s of another service manager": {func(n *layouttest.Node) { n.WriteFile(k3sDir+"/server/tls/client-admin.crt", "") }, []string{"holds certificates of K3s, but no systemd unit"}},
		"a server of RKE2, enabled": {func(n *layouttest.Node) {
			rke2Units(n)
			n.LinkFile("/etc/systemd/system/multi-user.target.wants/rke2-server.service", "/usr/lib/systemd/system/rke2-server.service")
			n.WriteFile(rke2Dir+"/server/tls/client-admin.crt", "")
		}, []string{"rke2-server.service of RKE2 runs no component"}},
		"disabled": {func(n *layouttest.Node) {
			rke2Units(n)
			n.WriteFile(rke2Dir+"/server/tls/client-admin.crt", "")
			n.WriteFile(rke2Dir+"/agent/client-kubelet.crt", "")
		}, []string{"rke2-server.service of RKE2 runs no component"}},
		"an agent of RKE2, disabled": {func(n *layouttest.Node) {
			rke2Units(n)
			n.WriteFile(rke2Dir+"/agent/client-kubelet.crt", "")
		}, []string{"rke2-agent.service of RKE2 runs no component"}},
		"RKE2 that only its package has installed": {rke2Units, nil},
		"another cluster's node": {func(n *layouttest.Node) {
			n.AddKubeadm("/etc/kubernetes/pki")
			n.WriteFile("/etc/systemd/system/k3s.service", k3sUnitFile)
			n.AddProcess(50, layouttest.UnitCgroup("kubelet.service"), "kubelet")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			tt.build(n)
			var got []string
			for _, x := range DiscoverNode(n.Root, Options{}).Node.NotInspected {
				if strings.Contains(x.Reason, "K3s") || strings.Contains(x.Reason, "RKE2") {
					got = append(got, x.Reason)
				}
			}
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("not inspected: %q, want %q", got, tt.want)
			}
		})
	}
}
