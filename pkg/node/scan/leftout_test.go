package scan

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// planNames returns the names of the certificates that a plan for one node renews, and of those
// that it leaves out.
func planNames(t *testing.T, n inventory.Node, restart plan.RestartPolicy, services ...certs.Service) (renewed []string, left []plan.LeftOut) {
	t.Helper()
	p, err := plan.BuildPlan([]inventory.Node{n}, plan.Request{Services: services, Restart: restart}, nil)
	require.NoError(t, err)
	for _, s := range p.AllSteps() {
		for _, target := range s.Targets {
			renewed = append(renewed, target.Name)
		}
	}
	return renewed, p.LeftOut
}

// TestExternalEtcdBlocksNoAPIServer: kubeadm's external etcd, whose CA's key is elsewhere.
func TestExternalEtcdBlocksNoAPIServer(t *testing.T) {
	n := kubeadmNode(t)
	for _, f := range []string{"/etc/kubernetes/manifests/etcd.yaml", certstest.PKIDir + "/etcd/ca.key", "/proc/400"} {
		require.NoError(t, os.RemoveAll(n.Node.LocalPath(f)))
	}
	renewed, left := planNames(t, n.scanAt(t, certstest.Now), plan.RestartIfNeeded, certs.KubeAPIServer)
	assert.ElementsMatch(t, []string{"apiserver", "apiserver-kubelet-client", "front-proxy-client"}, renewed)
	require.Len(t, left, 1)
	assert.Equal(t, "apiserver-etcd-client", left[0].Name)
	assert.Equal(t, n.Pairs["apiserver-etcd-client"].Leaf().NotAfter.UTC(), left[0].NotAfter.UTC())
	assert.Contains(t, left[0].Reason, `the key of its CA "etcd-ca"`)
}

// TestCertificateFileWithTwoKeyFilesIsLeftOut: the API server has a copy of the key of etcd's
// pair, and names etcd's certificate file. A renewal of one would break the other.
func TestCertificateFileWithTwoKeyFilesIsLeftOut(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	n.putFile(t, pki+"/copy.key", n.Pairs["etcd-server"].KeyPEM(t))
	require.NoError(t, os.Symlink("etcd/server.crt", n.Tree.Local(pki+"/etcd-client.crt")))
	n.apiServer(map[string][]string{"etcd-certfile": {pki + "/etcd-client.crt"}, "etcd-keyfile": {pki + "/copy.key"}})
	for service, want := range map[certs.Service]string{certs.Etcd: "etcd-server", certs.KubeAPIServer: "apiserver-etcd-client"} {
		renewed, left := planNames(t, n.scanAt(t, certstest.Now), plan.RestartIfNeeded, service)
		require.Len(t, left, 1)
		assert.Equal(t, want, left[0].Name)
		assert.Contains(t, left[0].Reason, "give each a certificate file of its own")
		assert.NotContains(t, renewed, want)
		assert.NotEmpty(t, renewed)
	}
}

// TestImmutableFilesAreLeftOut: a file that not even root can replace blocks no other one.
func TestImmutableFilesAreLeftOut(t *testing.T) {
	for _, path := range []string{"/apiserver.key", "/etcd"} {
		n := kubeadmNode(t)
		local := n.Tree.Local(certstest.PKIDir + path)
		if out, err := exec.CommandContext(t.Context(), "chattr", "+i", local).CombinedOutput(); err != nil {
			t.Skipf("files cannot be made immutable here: %v: %s", err, out)
		}
		t.Cleanup(func() {
			assert.NoError(t, exec.CommandContext(context.WithoutCancel(t.Context()), "chattr", "-i", local).Run())
		})
		renewed, left := planNames(t, n.scanAt(t, certstest.Now), plan.RestartIfNeeded, certs.Etcd, certs.KubeAPIServer)
		assert.Contains(t, renewed, "front-proxy-client")
		require.NotEmpty(t, left)
		for _, l := range left {
			assert.Contains(t, l.Reason, fmt.Sprintf("%q is immutable", certstest.PKIDir+path))
		}
		assert.Len(t, renewed, 7-len(left))
	}
}

// TestAnotherNodeIsFoundByItsCA: the second node has the same CAs, without the key of etcd's.
func TestAnotherNodeIsFoundByItsCA(t *testing.T) {
	n := kubeadmNode(t)
	signer := n.scanAt(t, certstest.Now)
	require.NoError(t, os.RemoveAll(n.Node.LocalPath(certstest.PKIDir+"/etcd/ca.key")))
	asking := n.scanAt(t, certstest.Now)
	signer.Name = "cp1"
	asking.Name = "cp2"
	stranded := kubeadmNode(t)
	require.NoError(t, os.RemoveAll(stranded.Node.LocalPath(certstest.PKIDir+"/etcd/ca.key")))
	foreign := stranded.scanAt(t, certstest.Now) // of another cluster's CAs, with the same names
	foreign.Name = "cp3"

	p, err := plan.BuildPlan([]inventory.Node{signer, asking, foreign}, plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, nil)

	require.NoError(t, err)
	require.Len(t, p.LeftOut, 3)
	assert.Equal(t, "cp3", p.LeftOut[0].Node)
	require.Len(t, p.AllSteps(), 2)
	for _, target := range p.AllSteps()[1].Targets {
		assert.Equal(t, []string{"cp1"}, target.SignedBy, target.Name)
	}
}

func TestAPairOfAPublicCAIsLeftOut(t *testing.T) {
	n := kubeadmNode(t)
	n.Tree.WritePair(t, certstest.PKIDir+"/public", certstest.NewCA(t, "Public CA").Leaf(t, certstest.Name("api.example.com"), certstest.SANs("api.example.com")))
	argv := append(layouttest.ControlPlaneArgs(certs.KubeAPIServer, certstest.PKIDir), "--tls-sni-cert-key="+certstest.PKIDir+"/public.crt,"+certstest.PKIDir+"/public.key")
	n.Node.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", layouttest.ManifestFor("kube-apiserver", argv, layouttest.MountsOf(certs.KubeAPIServer, certstest.PKIDir)))
	n.Node.AddProcess(401, layouttest.StaticPodCgroup("b"), argv...)
	renewed, left := planNames(t, n.scanAt(t, certstest.Now), plan.RestartAlways, certs.KubeAPIServer)
	assert.Len(t, renewed, 4)
	require.Len(t, left, 1)
	assert.True(t, strings.HasSuffix(left[0].Path, "/public.crt"), left[0].Path)
	assert.Contains(t, left[0].Reason, `its CA "Public CA" is not here`)
}

// TestACAThatPeersRefuseBlocksNothingElse: the serving certificate of a kubelet, which no API
// server verifies by default, is of a CA that may not sign it.
func TestACAThatPeersRefuseBlocksNothingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		reason string
	}{
		"without CA:TRUE": {func(c *x509.Certificate) { c.IsCA = false }, "lack CA:TRUE"},
		"without a usage": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, `lacks "cert sign"`},
		"for other names": {func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"elsewhere.example"} }, "may not sign these names"},
		"for other addresses": {func(c *x509.Certificate) {
			c.PermittedIPRanges = []*net.IPNet{{IP: net.IP{192, 0, 2, 0}, Mask: net.CIDRMask(24, 32)}}
		}, "may not sign these names"},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			ca := certstest.NewCA(t, "kubelet-ca", certstest.Template(tt.change))
			n.WritePair(t, certstest.KubeletDir+"/kubelet-ca", ca.Pair())
			n.WritePair(t, certstest.KubeletDir+"/serving", ca.Leaf(t, certstest.Name("cp1"), certstest.SANs("cp1", "10.0.0.11")))
			n.putFile(t, "/var/lib/kubelet/config.yaml", []byte("tlsCertFile: pki/serving.crt\ntlsPrivateKeyFile: pki/serving.key\nrotateCertificates: true\n"+
				"authentication: {x509: {clientCAFile: pki/kubelet-ca.crt}}\nstaticPodPath: /etc/kubernetes/manifests\n"))
			renewed, left := planNames(t, n.scanAt(t, certstest.Now), plan.RestartNever, certs.Kubelet)
			assert.Equal(t, []string{"kubelet-client"}, renewed)
			require.Len(t, left, 1)
			assert.Equal(t, "kubelet-server", left[0].Name)
			assert.Contains(t, left[0].Reason, tt.reason)
		})
	}
}

// TestServingCAWithTheNameOfTheClients: clients verify the API server by another CA than it does
// them, and both have one name. The key of the first is elsewhere.
func TestServingCAWithTheNameOfTheClients(t *testing.T) {
	n := kubeadmNode(t)
	ca := certstest.NewCA(t, "kubernetes")
	pair := ca.Leaf(t, certstest.Name("kube-apiserver"), certstest.SANs("kubernetes"))
	n.WritePair(t, certstest.PKIDir+"/apiserver", pair)
	n.served["127.0.0.1:6443"] = pair.Leaf()
	n.putFile(t, "/etc/kubernetes/scheduler.conf", certstest.Kubeconfig(t, ca, "system:kube-scheduler", n.Pairs["scheduler.conf"]))
	got := n.scanAt(t, certstest.Now)
	assert.Equal(t, certs.OK, certificateNamed(t, got, "apiserver").Status)
	renewed, left := planNames(t, got, plan.RestartAlways, certs.KubeAPIServer)
	assert.Len(t, renewed, 3)
	require.Len(t, left, 1)
	assert.Contains(t, left[0].Reason, `its CA "kubernetes" is not here`)
}

// TestADamagedPairKeepsItsComponentFromBeingRestarted, but not the other components.
func TestADamagedPairKeepsItsComponentFromBeingRestarted(t *testing.T) {
	n := kubeadmNode(t)
	n.putFile(t, certstest.PKIDir+"/front-proxy-client.crt", []byte("nonsense"))
	got := n.scanAt(t, certstest.Now)
	renewed, left := planNames(t, got, plan.RestartAlways, certs.KubeAPIServer, certs.KubeScheduler)
	assert.NotContains(t, renewed, "apiserver")
	assert.Contains(t, renewed, "scheduler.conf")
	assert.Len(t, left, 4)
	renewed, left = planNames(t, got, plan.RestartIfNeeded, certs.KubeAPIServer)
	assert.Len(t, renewed, 3, "it re-reads these")
	assert.Len(t, left, 1)
}

// TestAKubeletThatNothingCanRestartIsLeftOut has a kubelet that OpenRC started.
func TestAKubeletThatNothingCanRestartIsLeftOut(t *testing.T) {
	n := kubeadmNode(t)
	got := n.scanAt(t, certstest.Now)
	unit := got.ComponentOf(certs.Kubelet)
	n.Node.AddProcess(unit.PID, "/openrc.kubelet", append([]string{"/usr/bin/kubelet"}, unit.Args...)...)
	got = n.scanAt(t, certstest.Now)
	require.Equal(t, inventory.None, got.ComponentOf(certs.Kubelet).Runtime)
	renewed, left := planNames(t, got, plan.RestartAlways, certs.Kubelet, certs.Admin)
	assert.NotContains(t, renewed, "kubelet-client")
	require.NotEmpty(t, left)
	assert.Contains(t, left[0].Reason, "nothing here can restart it; use --restart=never and restart it yourself")
	renewed, left = planNames(t, got, plan.RestartNever, certs.Kubelet)
	assert.Contains(t, renewed, "kubelet-client")
	assert.Empty(t, left)
}

// TestOldProxyCABlocksNoAPIServer: an API server starts with any client certificate of the front proxy
// whose key fits it, also where the CA has expired before it, or was replaced by one of the same
// name.
func TestOldProxyCABlocksNoAPIServer(t *testing.T) {
	now := certstest.Now
	for name, dates := range map[string]certstest.Option{
		"expired":  certstest.Valid(now.AddDate(-10, 0, 0), now.AddDate(0, 0, -1)),
		"replaced": certstest.Valid(now.AddDate(0, 0, -1), now.AddDate(10, 0, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			ca := certstest.NewCA(t, "front-proxy-ca", dates)
			n.putFile(t, certstest.PKIDir+"/front-proxy-ca.crt", ca.Pair().CertPEM())
			n.putFile(t, certstest.PKIDir+"/front-proxy-ca.key", ca.Pair().KeyPEM(t))
			if name == "expired" {
				client := ca.Leaf(t, certstest.Name("front-proxy-client"), certstest.Usages(x509.ExtKeyUsageClientAuth))
				n.putFile(t, certstest.PKIDir+"/front-proxy-client.crt", client.CertPEM())
				n.putFile(t, certstest.PKIDir+"/front-proxy-client.key", client.KeyPEM(t))
			}
			got := n.scanAt(t, now)
			c := certificateNamed(t, got, "front-proxy-client")
			assert.Equal(t, certs.Invalid, c.Status)
			assert.True(t, c.BrokenChain)
			renewed, left := planNames(t, got, plan.RestartAlways, certs.KubeAPIServer)
			assert.ElementsMatch(t, []string{"apiserver", "apiserver-etcd-client", "apiserver-kubelet-client"}, renewed)
			require.Len(t, left, 1)
			assert.Equal(t, "front-proxy-client", left[0].Name)
		})
	}
}
