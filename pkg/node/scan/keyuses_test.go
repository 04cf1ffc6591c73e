package scan

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// withArgs restarts a component of the node with other arguments: they replace flags of the
// same name, which are dropped if no value is given.
func (n *node) withArgs(s certs.Service, pid int, pod string, flags map[string][]string, mounts ...string) {
	var argv []string
	for _, arg := range layouttest.ControlPlaneArgs(s, certstest.PKIDir) {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if _, other := flags[name]; !other {
			argv = append(argv, arg)
		}
	}
	for name, values := range flags {
		for _, v := range values {
			argv = append(argv, "--"+name+"="+v)
		}
	}
	n.Node.WriteFile("/etc/kubernetes/manifests/"+string(s)+".yaml", layouttest.ManifestFor(string(s), argv, append(mounts, certstest.PKIDir)))
	n.Node.AddProcess(pid, layouttest.StaticPodCgroup(pod), argv...)
}

func (n *node) apiServer(flags map[string][]string) { n.withArgs(certs.KubeAPIServer, 401, "b", flags) }

func publicPEM(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(c.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestKeyOfServiceAccountTokensIsRecognised(t *testing.T) {
	const pki = certstest.PKIDir
	const verify, sign = "service-account-key-file", "service-account-signing-key-file"
	for name, tt := range map[string]struct {
		flags map[string][]string
		want  []string // settings that name the key of apiserver.crt
	}{
		"kubeadm has a key of its own": {},
		"the same file": {map[string][]string{verify: {pki + "/apiserver.key"}, sign: {pki + "/apiserver.key"}},
			[]string{"--" + verify, "--" + sign}},
		"the public half, elsewhere":    {map[string][]string{verify: {"/etc/kubernetes/pki/old.pub"}}, []string{"--" + verify}},
		"one of several files":          {map[string][]string{verify: {pki + "/sa.pub", pki + "/old.pub"}}, []string{"--" + verify}},
		"one of several keys of a file": {map[string][]string{verify: {pki + "/several.pem"}}, []string{"--" + verify}},
		"a copy of the private key":     {map[string][]string{sign: {pki + "/copy.key"}}, []string{"--" + sign}},
		"the certificate itself":        {map[string][]string{verify: {pki + "/apiserver.crt"}}, []string{"--" + verify}},
		"no flag at all":                {map[string][]string{verify: nil, sign: nil}, []string{"--tls-private-key-file, in place of --" + verify}},
		"an external signer":            {map[string][]string{verify: nil, sign: nil, "service-account-signing-endpoint": {"/run/signer.sock"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			pair := n.Pairs["apiserver"]
			n.putFile(t, pki+"/old.pub", publicPEM(t, pair.Leaf()))
			n.putFile(t, pki+"/several.pem", append(publicPEM(t, n.Pairs["etcd-server"].Leaf()), publicPEM(t, pair.Leaf())...))
			n.putFile(t, pki+"/copy.key", pair.KeyPEM(t))
			n.apiServer(tt.flags)
			c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
			var got []string
			for _, u := range c.KeyUses {
				if u.Kind != inventory.ServiceAccountKey || u.Service != certs.KubeAPIServer || u.Path == "" {
					t.Errorf("use %+v", u)
				}
				got = append(got, u.Setting)
			}
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("uses %q, want %q", got, tt.want)
			}
			if c.PublicKeySHA256 != certs.PublicKeySHA256(pair.Leaf().PublicKey) {
				t.Errorf("public key %q", c.PublicKeySHA256)
			}
		})
	}
}

func TestSigningKeysAreRecognised(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	n.putFile(t, pki+"/signer.key", n.Pairs["front-proxy-client"].KeyPEM(t))
	n.withArgs(certs.KubeControllerManager, 402, "c", map[string][]string{
		"service-account-private-key-file": {pki + "/apiserver-kubelet-client.key"}, "cluster-signing-kubelet-serving-key-file": {pki + "/signer.key"}})
	shared := n.CA.Leaf(t, certstest.Name("kube-apiserver"), certstest.OfKey(n.CA.Key), certstest.SANs("kubernetes"))
	n.putFile(t, pki+"/apiserver.crt", shared.CertPEM())
	n.putFile(t, pki+"/apiserver.key", shared.KeyPEM(t))
	got := n.scanAt(t, certstest.Now)
	for name, want := range map[string]inventory.KeyUse{
		"apiserver-kubelet-client": {Kind: inventory.ServiceAccountKey, Service: certs.KubeControllerManager, Setting: "--service-account-private-key-file", Path: pki + "/apiserver-kubelet-client.key"},
		"front-proxy-client":       {Kind: inventory.SigningKey, Service: certs.KubeControllerManager, Setting: "--cluster-signing-kubelet-serving-key-file", Path: pki + "/signer.key"},
		"apiserver":                {Kind: inventory.SigningKey, Service: certs.KubeControllerManager, Setting: "--cluster-signing-key-file", Path: pki + "/ca.key"},
	} {
		if c := certificateNamed(t, got, name); !slices.Contains(c.KeyUses, want) {
			t.Errorf("%s: uses %+v, want %+v", name, c.KeyUses, want)
		}
	}
	if c := certificateNamed(t, got, "etcd-server"); len(c.KeyUses) > 0 {
		t.Errorf("etcd-server: uses %+v", c.KeyUses)
	}
}

// Kubernetes the hard way: --service-account-key-file names a certificate.
func TestCertificateOfTheServiceAccountKeyIsNoLeaf(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	n.WritePair(t, pki+"/service-accounts", n.CA.Leaf(t, certstest.Name("service-accounts")))
	n.apiServer(map[string][]string{"service-account-key-file": {pki + "/service-accounts.crt"},
		"service-account-signing-key-file": {pki + "/service-accounts.key"}})
	got := n.scanAt(t, certstest.Now)
	for _, c := range got.Certificates {
		if strings.Contains(c.Store.Cert, "service-accounts") {
			t.Errorf("listed as %s", c.ID())
		}
	}
	for _, x := range got.NotInspected {
		t.Errorf("not inspected: %+v", x)
	}
	for _, x := range got.Unused {
		t.Errorf("unused: %+v", x)
	}
}

func TestUnreadableServiceAccountKeyIsListed(t *testing.T) {
	n := kubeadmNode(t)
	n.apiServer(map[string][]string{"service-account-key-file": {certstest.PKIDir + "/missing.pub"}})
	got := n.scanAt(t, certstest.Now)
	if !slices.ContainsFunc(got.NotInspected, func(x inventory.NotInspected) bool {
		return x.Path == certstest.PKIDir+"/missing.pub" && x.Service == certs.KubeAPIServer && strings.Contains(x.Reason, "--service-account-key-file")
	}) {
		t.Errorf("not inspected: %+v", got.NotInspected)
	}
}
