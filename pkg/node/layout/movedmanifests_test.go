package layout

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// stopStaticPods ends the processes of some static pods of a kubeadm node.
func stopStaticPods(t *testing.T, n *layouttest.Node, services ...certs.Service) {
	t.Helper()
	for i, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeControllerManager, certs.KubeScheduler} {
		for _, stopped := range services {
			if s == stopped {
				if err := os.RemoveAll(n.LocalPath(fmt.Sprintf("/proc/%d", 400+i))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestMovedManifestsAreNamed: to move the manifests away is how people stop a control plane, often
// while they repair its certificates.
func TestMovedManifestsAreNamed(t *testing.T) {
	all := []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeControllerManager, certs.KubeScheduler}
	for name, tt := range map[string]struct {
		stopped []certs.Service
		to      string // for %s: the name of the manifest
	}{
		"the whole directory":        {all, "/etc/kubernetes/manifests.bak/%s.yaml"},
		"the directory above":        {all, "/etc/kubernetes/%s.yaml"},
		"another ending":             {all, "/etc/kubernetes/%s.yaml.off"},
		"one of them":                {all[1:2], "/etc/kubernetes/old/%s.yaml"},
		"etcd, which the others use": {all[:1], "/etc/kubernetes/old/%s.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.AddKubeadm("/etc/kubernetes/pki")
			kubeadmFiles(n)
			stopStaticPods(t, n, tt.stopped...)
			for _, s := range tt.stopped {
				to := fmt.Sprintf(tt.to, s)
				n.WriteFile(to, "")
				if err := os.Rename(n.LocalPath(fmt.Sprintf("/etc/kubernetes/manifests/%s.yaml", s)), n.LocalPath(to)); err != nil {
					t.Fatal(err)
				}
			}
			l := DiscoverNode(n.Root, Options{})
			for _, s := range tt.stopped {
				if got := reasonOf(l, fmt.Sprintf(tt.to, s)); !strings.Contains(got, fmt.Sprintf(`no %s was found on this node, and its manifest is not in "/etc/kubernetes/manifests"`, s)) {
					t.Errorf("%s: %q", s, got)
				}
			}
		})
	}
}

// TestCopiesOfManifestsAreIgnored: those of components that run, of etcd where it is elsewhere, and
// of other pods.
func TestCopiesOfManifestsAreIgnored(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer} {
		n.WriteFile("/etc/kubernetes/backup/"+string(s)+".yaml", layouttest.ManifestFor(string(s), layouttest.ControlPlaneArgs(s, "/etc/kubernetes/pki"), nil))
	}
	expectInspected(t, DiscoverNode(n.Root, Options{}))

	stopStaticPods(t, n, certs.Etcd)
	removePath(t, n.LocalPath("/etc/kubernetes/manifests/etcd.yaml"))
	args := layouttest.ControlPlaneArgs(certs.KubeAPIServer, "/etc/kubernetes/pki")
	for i, arg := range args {
		args[i] = strings.Replace(arg, "https://127.0.0.1:2379", "https://10.0.0.21:2379", 1)
	}
	n.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", layouttest.ManifestFor("kube-apiserver", args, layouttest.MountsOf(certs.KubeAPIServer, "/etc/kubernetes/pki")))
	n.WriteFile("/etc/kubernetes/addons/kube-scheduler.yaml", "kind: ConfigMap\n")
	expectInspected(t, DiscoverNode(n.Root, Options{}))
}
