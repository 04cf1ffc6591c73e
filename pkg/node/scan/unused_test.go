package scan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// listUnused lists the unused certificates as "Kind path" or "Kind path#user".
func listUnused(n inventory.Node) []string {
	var out []string
	for _, u := range n.Unused {
		line := string(u.Kind) + " " + u.Path
		if u.FingerprintSHA256 == "" {
			line += " (without a date)"
		}
		out = append(out, line)
	}
	return out
}

func adminNames(n inventory.Node) []string {
	var out []string
	for _, c := range n.Certificates {
		if c.Service == certs.Admin {
			out = append(out, c.Store.Cert)
		}
	}
	slices.Sort(out)
	return out
}

// TestBackupsAreUnused has copies by all kinds of names beside the originals: none of
// them is a certificate to renew, and each is listed with its dates.
func TestBackupsAreUnused(t *testing.T) {
	n := kubeadmNode(t)
	admin := certstest.Kubeconfig(t, n.CA, "kubernetes-admin", n.Pairs["admin.conf"])
	var want []string
	for _, name := range []string{
		"admin.conf~", "admin.conf.old", "admin.conf.bak", "admin.conf.bak2", "admin.conf.orig", "admin.conf.save", "admin.conf.backup",
		"admin.conf.1", "admin.conf.20260102", "admin.conf-2026-01-02", "admin.conf.2026-01-02T03:04:05Z", "admin.conf.1767322800",
		"admin.conf.rpmsave", "admin.conf.dpkg-old", "admin.conf_backup", "admin.conf (1)", "admin.conf.3141.2026-01-02@03:04:05~",
		"admin-old.conf", "admin.bak.conf", "old-admin.conf", "super-admin.conf.old", "scheduler.conf.old", "backup/admin.conf", "tmp/2026/admin.conf",
	} {
		n.putFile(t, certstest.KubernetesDir+"/"+name, admin)
		want = append(want, "Backup "+certstest.KubernetesDir+"/"+name)
	}
	for _, name := range []string{"jane.conf", "ci.kubeconfig"} {
		n.putFile(t, certstest.KubernetesDir+"/"+name, admin)
		want = append(want, "File "+certstest.KubernetesDir+"/"+name)
	}
	pair := n.Pairs["apiserver"]
	for cert, key := range map[string]string{
		"apiserver.crt.old": "apiserver.key.old", "apiserver-2026-01-02.crt": "apiserver-2026-01-02.key", "old/apiserver.crt": "old/apiserver.key",
		"apiserver.crt.77.2026-01-02@03:04:05~": "apiserver.key.78.2026-01-02@03:04:06~",
	} {
		n.putFile(t, certstest.PKIDir+"/"+cert, pair.CertPEM())
		n.putFile(t, certstest.PKIDir+"/"+key, pair.KeyPEM(t))
		want = append(want, "Backup "+certstest.PKIDir+"/"+cert)
	}
	n.WritePair(t, certstest.PKIDir+"/jane", n.CA.Leaf(t, certstest.Usages(x509.ExtKeyUsageClientAuth)))
	want = append(want, "File "+certstest.PKIDir+"/jane.crt")

	got := n.scanAt(t, certstest.Now)
	have := listUnused(got)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		for _, w := range want {
			if !slices.Contains(have, w) {
				t.Errorf("not listed as unused: %s", w)
			}
		}
		for _, h := range have {
			if !slices.Contains(want, h) {
				t.Errorf("listed as unused: %s", h)
			}
		}
	}
	if have := adminNames(got); !slices.Equal(have, []string{"/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf"}) {
		t.Errorf("administrators' certificates: %q", have)
	}
	if len(got.NotInspected) != 0 {
		t.Errorf("not inspected: %q", uninspectedPaths(got))
	}
}

// TestYearsOfBackupsHideNoOriginal: more files than are inspected of a directory, whose names come
// before that of the original.
func TestYearsOfBackupsHideNoOriginal(t *testing.T) {
	n := kubeadmNode(t)
	for i := range 300 {
		n.putFile(t, fmt.Sprintf("/etc/kubernetes/kubelet.conf.%d.2026-01-02@03:04:05~", i), []byte("a"))
		n.putFile(t, fmt.Sprintf("%s/etcd/ca.crt.%d.2026-01-02@03:04:05~", certstest.PKIDir, i), []byte("a"))
	}
	got := n.scanAt(t, certstest.Now)
	for _, name := range []string{"super-admin.conf", "etcd-healthcheck-client"} {
		certificateNamed(t, got, name)
	}
}

// TestExpiredBackupIsNoFault: the expiry of an unused file needs no action.
func TestExpiredBackupIsNoFault(t *testing.T) {
	n := kubeadmNode(t)
	expired := n.CA.Leaf(t, certstest.Name("kubernetes-admin", "system:masters"), certstest.Valid(certstest.Now.Add(-48*time.Hour), certstest.Now.Add(-24*time.Hour)))
	n.putFile(t, "/etc/kubernetes/admin.conf.2025-10-24.bak", certstest.Kubeconfig(t, n.CA, "kubernetes-admin", expired))
	got := n.scanAt(t, certstest.Now)
	for _, c := range got.Certificates {
		if c.Status != certs.OK {
			t.Errorf("%s: %s %s", c.Name, c.Status, c.Reason)
		}
	}
	if len(got.Unused) != 1 || !got.Unused[0].NotAfter.Equal(expired.Leaf().NotAfter.UTC()) || got.Unused[0].User != "kubernetes-admin" {
		t.Errorf("unused: %+v", got.Unused)
	}
}

func TestAdminKubeconfigOnAWorkerIsACopy(t *testing.T) {
	tree := certstest.Kubeadm(t, "w1")
	for _, name := range []string{"controller-manager.conf", "scheduler.conf", "super-admin.conf"} {
		if err := os.Remove(tree.Local("/etc/kubernetes/" + name)); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{Tree: tree, Node: layouttest.NodeIn(t, tree.Root)}
	n.KubeadmWorker()
	got := n.scanAt(t, certstest.Now)
	if have := adminNames(got); len(have) != 0 {
		t.Errorf("certificates to renew: %q", have)
	}
	if !slices.Contains(listUnused(got), "Copy /etc/kubernetes/admin.conf") {
		t.Errorf("unused: %q", listUnused(got))
	}
}

// TestSecondUserOfAComponentsKubeconfigIsListed: the component uses the current context's.
func TestSecondUserOfAComponentsKubeconfigIsListed(t *testing.T) {
	n := kubeadmNode(t)
	own := certstest.Kubeconfig(t, n.CA, "system:kube-scheduler", n.Pairs["scheduler.conf"])
	other := certstest.Kubeconfig(t, n.CA, "jane", n.CA.Leaf(t, certstest.Name("jane")))
	n.putFile(t, "/etc/kubernetes/scheduler.conf", withUserOf(t, own, other))
	got := n.scanAt(t, certstest.Now)
	if len(got.Unused) != 1 || got.Unused[0].User != "jane" || got.Unused[0].Kind != inventory.UnusedFile || got.Unused[0].FingerprintSHA256 == "" {
		t.Errorf("unused: %+v", got.Unused)
	}
}

// TestKeyThatAComponentNamesIsNotUnused: the certificate beside a ServiceAccount key.
func TestKeyThatAComponentNamesIsNotUnused(t *testing.T) {
	n := kubeadmNode(t)
	n.WritePair(t, certstest.PKIDir+"/service-account", n.CA.Leaf(t))
	argv := append(layouttest.ControlPlaneArgs(certs.KubeAPIServer, certstest.PKIDir), "--service-account-key-file="+certstest.PKIDir+"/service-account.crt")
	n.Node.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", layouttest.ManifestFor("kube-apiserver", argv, layouttest.MountsOf(certs.KubeAPIServer, certstest.PKIDir)))
	if have := listUnused(n.scanAt(t, certstest.Now)); len(have) != 0 {
		t.Errorf("unused: %q", have)
	}
}

// TestClientPairInEtcdsEnvironmentIsEtcds has etcdctl's settings in the member's own
// variables, as Kubespray writes them.
func TestClientPairInEtcdsEnvironmentIsEtcds(t *testing.T) {
	n := kubeadmNode(t)
	const stem = certstest.PKIDir + "/etcd/admin-n1"
	n.WritePair(t, stem, n.EtcdCA.Leaf(t, certstest.Usages(x509.ExtKeyUsageClientAuth)))
	manifest := layouttest.ManifestFor("etcd", layouttest.ControlPlaneArgs(certs.Etcd, certstest.PKIDir), layouttest.MountsOf(certs.Etcd, certstest.PKIDir))
	n.Node.WriteFile("/etc/kubernetes/manifests/etcd.yaml", strings.Replace(manifest, "    command:\n",
		"    env: [{name: ETCDCTL_CERT, value: "+stem+".crt}, {name: ETCDCTL_KEY, value: "+stem+".key}]\n    command:\n", 1))
	if c := certificateNamed(t, n.scanAt(t, certstest.Now), "etcd-admin-n1"); c.Service != certs.Etcd || c.Client == nil {
		t.Errorf("%+v", c)
	}
}

// withUserOf is a kubeconfig with the users of another one as well.
func withUserOf(t *testing.T, own, other []byte) []byte {
	t.Helper()
	var a, b map[string]any
	if err := errors.Join(yaml.Unmarshal(own, &a), yaml.Unmarshal(other, &b)); err != nil {
		t.Fatal(err)
	}
	a["users"] = append(a["users"].([]any), b["users"].([]any)...)
	out, err := yaml.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestControlPlaneWithoutManifests: a person has moved the manifests to a place that is not searched.
// The node is no worker then, of which nothing else need be known.
func TestControlPlaneWithoutManifests(t *testing.T) {
	n := kubeadmNode(t)
	for _, path := range []string{"/etc/kubernetes/manifests", "/proc/400", "/proc/401", "/proc/402", "/proc/403"} {
		if err := os.RemoveAll(n.LocalPath(path)); err != nil {
			t.Fatal(err)
		}
	}
	got := n.scanAt(t, certstest.Now)
	for service, path := range map[certs.Service]string{
		certs.KubeScheduler: "/etc/kubernetes/scheduler.conf", certs.KubeControllerManager: "/etc/kubernetes/controller-manager.conf",
	} {
		if !slices.ContainsFunc(got.NotInspected, func(x inventory.NotInspected) bool {
			return x.Service == service && x.Path == path && !x.Informational && strings.Contains(x.Reason, "no part of a control plane was found on this node")
		}) {
			t.Errorf("%s: %+v", service, got.NotInspected)
		}
	}
}
