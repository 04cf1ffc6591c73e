package scan

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
)

const day = 24 * time.Hour

// olderCA is the certificate that a CA had before it was renewed with its key.
func olderCA(t *testing.T, ca certstest.CA, name string, end time.Time) certstest.CA {
	t.Helper()
	return certstest.NewCA(t, name, certstest.SANs(name), certstest.OfKey(ca.Key), certstest.Valid(certstest.Now.Add(-3650*day), end))
}

// authoritiesByEnd maps the expiry of each listed CA of a name to its entry.
func authoritiesByEnd(n inventory.Node, name string) map[time.Time]inventory.Authority {
	out := map[time.Time]inventory.Authority{}
	for _, a := range n.Authorities {
		if a.Name == name {
			out[a.NotAfter] = a
		}
	}
	return out
}

func TestACAThatWasRenewedWithItsKey(t *testing.T) {
	for name, end := range map[string]time.Time{"the old one has ended": certstest.Now.Add(-time.Hour), "the old one ends tomorrow": certstest.Now.Add(day)} {
		t.Run(name, func(t *testing.T) {
			for place, put := range map[string]func(n *node, old certstest.CA){
				"old first": func(n *node, old certstest.CA) {
					n.putFile(t, certstest.PKIDir+"/ca.crt", certs.EncodePEM(old.Cert, n.CA.Cert))
				},
				"old last": func(n *node, old certstest.CA) {
					n.putFile(t, certstest.PKIDir+"/ca.crt", certs.EncodePEM(n.CA.Cert, old.Cert))
				},
				"old beside it": func(n *node, old certstest.CA) {
					n.putFile(t, certstest.PKIDir+"/ca-old.crt", certs.EncodePEM(old.Cert))
				},
				"old beside it, earlier in the alphabet": func(n *node, old certstest.CA) {
					n.putFile(t, certstest.PKIDir+"/a.crt", certs.EncodePEM(old.Cert))
				},
			} {
				t.Run(place, func(t *testing.T) {
					n := kubeadmNode(t)
					put(n, olderCA(t, n.CA, "kubernetes", end))
					got := n.scanAt(t, certstest.Now)
					c := certificateNamed(t, got, "apiserver")
					if c.Status != certs.OK || c.Reason != "" || c.Issuer.CACert != certstest.PKIDir+"/ca.crt" {
						t.Errorf("%s %q, issuer %+v", c.Status, c.Reason, c.Issuer)
					}
					key, err := certs.NewKeyLike(n.Pairs["apiserver"].Leaf().PublicKey, "")
					if err != nil {
						t.Fatal(err)
					}
					chain, err := issue.LocalCA{Root: n.Tree.Root, CACert: c.Issuer.CACert, CAKey: c.Issuer.CAKey}.IssueSuccessor(t.Context(),
						issue.Request{Old: n.Pairs["apiserver"].Chain, Key: key, Now: certstest.Now})
					if err != nil {
						t.Fatal(err)
					}
					if life := chain[0].NotAfter.Sub(certstest.Now); life < 300*day {
						t.Errorf("the successor is valid for %s", life)
					}
					listed := authoritiesByEnd(got, "kubernetes")
					if a := listed[end]; !a.Renewed || a.Status != certs.OK || !strings.Contains(a.Reason, "renewed with the same key") {
						t.Errorf("the old one is listed as %+v", a)
					}
					if a := listed[n.CA.Cert.NotAfter]; a.Renewed || a.Status != certs.OK || a.KeyOn == "" {
						t.Errorf("the renewed one is listed as %+v", a)
					}
				})
			}
		})
	}
}

// TestOldCAInAFileOfItsOwnIsStillReported: the kubelet continues to trust a file that holds
// only the old certificate, so its expiry matters.
func TestOldCAInAFileOfItsOwnIsStillReported(t *testing.T) {
	n := kubeadmNode(t)
	old := olderCA(t, n.CA, "kubernetes", certstest.Now.Add(-time.Hour))
	n.putFile(t, "/etc/kubernetes/kubelet-ca.crt", certs.EncodePEM(old.Cert))
	n.putFile(t, "/var/lib/kubelet/config.yaml", []byte("kind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests\nrotateCertificates: true\nauthentication: {x509: {clientCAFile: /etc/kubernetes/kubelet-ca.crt}}\n"))
	a := authoritiesByEnd(n.scanAt(t, certstest.Now), "kubernetes")[old.Cert.NotAfter]
	if a.Renewed || a.Status != certs.Expired {
		t.Errorf("listed as %+v", a)
	}
}

// TestRenewedCAThatIsNotInUseYet: a file beside the expired CA helps no peer.
func TestRenewedCAThatIsNotInUseYet(t *testing.T) {
	n := kubeadmNode(t)
	old := olderCA(t, n.CA, "kubernetes", certstest.Now.Add(-time.Hour))
	n.putFile(t, certstest.PKIDir+"/ca-new.crt", certs.EncodePEM(n.CA.Cert))
	n.putFile(t, certstest.PKIDir+"/ca.crt", certs.EncodePEM(old.Cert))
	for _, f := range []string{"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf"} {
		user := n.Pairs[f].Leaf().Subject.CommonName
		n.putFile(t, "/etc/kubernetes/"+f, certstest.Kubeconfig(t, old, user, n.Pairs[f]))
	}
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
	if c.Status != certs.Invalid || !strings.Contains(c.Reason, `its CA "kubernetes" expired`) {
		t.Errorf("%s %q", c.Status, c.Reason)
	}
}

func TestTwoCAsOfOneName(t *testing.T) {
	n := kubeadmNode(t)
	other := certstest.NewCA(t, "kubernetes", certstest.SANs("kubernetes"), certstest.Valid(certstest.Now.Add(-day), certstest.Now.Add(9000*day)))
	n.putFile(t, certstest.PKIDir+"/ca.crt", certs.EncodePEM(other.Cert, n.CA.Cert))
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
	if c.Status != certs.OK || c.Issuer.Kind != inventory.LocalCA {
		t.Errorf("%s %q %+v", c.Status, c.Reason, c.Issuer)
	}

	t.Run("one of them is not in use, and neither signed it", func(t *testing.T) {
		n := kubeadmNode(t)
		elsewhere := certstest.NewCA(t, "webhook-ca")
		p := elsewhere.Leaf(t, certstest.Name("kubernetes-admin"), certstest.Usages(x509.ExtKeyUsageClientAuth))
		n.putFile(t, "/etc/kubernetes/admin.conf", certstest.Kubeconfig(t, elsewhere, "kubernetes-admin", p))
		n.putFile(t, certstest.PKIDir+"/webhook-ca-2019.crt", certs.EncodePEM(certstest.NewCA(t, "webhook-ca").Cert))
		if c := certificateNamed(t, n.scanAt(t, certstest.Now), "admin.conf"); c.Status != certs.OK {
			t.Errorf("%s %q", c.Status, c.Reason)
		}
	})
	t.Run("its own file brings the one that signed it", func(t *testing.T) {
		n := kubeadmNode(t)
		issuing := certstest.NewCA(t, "corporate root").Intermediate(t, "kubernetes", certstest.SANs("kubernetes"))
		p := issuing.Leaf(t, certstest.Name("kube-apiserver"), certstest.SANs("api"))
		n.WritePair(t, certstest.PKIDir+"/apiserver", p)
		n.served["127.0.0.1:6443"] = p.Leaf()
		if c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver"); c.Status != certs.OK {
			t.Errorf("%s %q", c.Status, c.Reason)
		}
	})
}

// TestAnOldCAThatSignedNothingHere is listed, and needs no action.
func TestAnOldCAThatSignedNothingHere(t *testing.T) {
	n := kubeadmNode(t)
	old := certstest.NewCA(t, "old", certstest.Valid(certstest.Now.Add(-900*day), certstest.Now.Add(-day)))
	n.WritePair(t, certstest.PKIDir+"/old", old.Pair())
	got := n.scanAt(t, certstest.Now)
	if len(authoritiesByEnd(got, "old")) > 0 || len(got.Unused) != 1 || got.Unused[0].Path != certstest.PKIDir+"/old.crt" {
		t.Errorf("unused: %+v", got.Unused)
	}
}

func TestReasonOfAMissingCAKey(t *testing.T) {
	other := certstest.NewCA(t, "other")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1, 2, 3}})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1, 2, 3}})
	for name, test := range map[string]struct {
		key  []byte
		want string
	}{
		"encrypted":                 {encrypted, `(/etc/kubernetes/pki/etcd/ca.crt) is encrypted with a passphrase: "/etc/kubernetes/pki/etcd/ca.key"`},
		"encrypted, as OpenSSL did": {legacy, `(/etc/kubernetes/pki/etcd/ca.crt) is encrypted with a passphrase: "/etc/kubernetes/pki/etcd/ca.key"`},
		"of another CA":             {other.Pair().KeyPEM(t), `is not here: the key in "/etc/kubernetes/pki/etcd/ca.key" is another one`},
		"damaged":                   {[]byte("nothing"), `cannot be used: "/etc/kubernetes/pki/etcd/ca.key"`},
		"not there":                 {nil, `(/etc/kubernetes/pki/etcd/ca.crt) is not on this node: it is not in /etc/kubernetes/pki/etcd`},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			removeFile(t, n, certstest.PKIDir+"/etcd/ca.key")
			if test.key != nil {
				n.putFile(t, certstest.PKIDir+"/etcd/ca.key", test.key)
			}
			c := certificateNamed(t, n.scanAt(t, certstest.Now), "etcd-server")
			if c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, test.want) || !strings.Contains(c.Reason, "etcd-ca") {
				t.Errorf("%+v %q", c.Issuer, c.Reason)
			}
			if len(test.key) > 0 && bytes.Contains([]byte(c.Reason), test.key) {
				t.Error("the reason shows what is in the file")
			}
		})
	}
}
