package units

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

var (
	controlPlane = kubeadm.Member{Name: "cp1", IP: "10.10.0.11", ControlPlane: true}
	worker       = kubeadm.Member{Name: "w1", IP: "10.10.0.51"}
)

// testCluster makes one cluster, with a control plane, which all tests read: RSA keys
// take their time.
var testCluster = sync.OnceValues(func() (*Cluster, error) {
	config := kubeadm.Cluster{Endpoint: "api.test:6443", PodSubnet: "10.244.0.0/16"}
	return New(config, []kubeadm.Member{controlPlane, worker}, "10.10.0.1")
})

var controlPlaneFiles = sync.OnceValues(func() ([]node.File, error) {
	c, err := testCluster()
	if err != nil {
		return nil, err
	}
	files, _, err := c.Node(controlPlane)
	return files, err
})

// filesOfControlPlane returns its files by their paths.
func filesOfControlPlane(t *testing.T) map[string]node.File {
	t.Helper()
	files, err := controlPlaneFiles()
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]node.File{}
	for _, file := range files {
		if _, twice := byPath[file.Path]; twice {
			t.Errorf("%s is there twice", file.Path)
		}
		byPath[file.Path] = file
	}
	return byPath
}

// chainIn returns the certificates that a file holds, a kubeconfig too.
func chainIn(t *testing.T, text string) []*x509.Certificate {
	t.Helper()
	if m := regexp.MustCompile(`client-certificate-data: (\S+)`).FindStringSubmatch(text); m != nil {
		data, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, certificate)
	}
	return chain
}

func TestEveryLeafLeadsToTheRootThroughItsFile(t *testing.T) {
	files := filesOfControlPlane(t)
	c, err := testCluster()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	trust := chainIn(t, c.trust)
	roots.AddCert(trust[len(trust)-1])
	frontProxy := x509.NewCertPool()
	frontProxy.AddCert(c.frontProxy.Certificate)
	algorithms := map[x509.PublicKeyAlgorithm]int{}
	for path, file := range files {
		chain := chainIn(t, file.Text)
		if len(chain) == 0 || chain[0].IsCA {
			continue
		}
		algorithms[chain[0].PublicKeyAlgorithm]++
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if strings.Contains(path, "front-proxy") {
			options.Roots = frontProxy
		}
		for _, ca := range chain[1:] {
			options.Intermediates.AddCert(ca)
		}
		if _, err := chain[0].Verify(options); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if stem, isPair := strings.CutSuffix(path, ".pem"); isPair {
			key := files[stem+"-key.pem"]
			if _, err := tls.X509KeyPair([]byte(file.Text), []byte(key.Text)); err != nil || !key.Secret {
				t.Errorf("%s and its key, secret %v: %v", path, key.Secret, err)
			}
		}
	}
	if algorithms[x509.RSA] < 3 || algorithms[x509.ECDSA] < 3 {
		t.Errorf("keys are %v, want several of RSA and of ECDSA", algorithms)
	}
}

func TestWorkerHasNoKeyOfACA(t *testing.T) {
	c, err := testCluster()
	if err != nil {
		t.Fatal(err)
	}
	files, units, err := c.Node(worker)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(file.Path, "ca-key") || strings.Contains(file.Path, "sa-key") {
			t.Errorf("a worker has %s", file.Path)
		}
	}
	want := []string{"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kube-proxy.service"}
	if !slices.Equal(units, want) {
		t.Errorf("a worker runs %q, want %q", units, want)
	}
}

func TestEverySettingNamesAFileThatIsThere(t *testing.T) {
	files := filesOfControlPlane(t)
	named := regexp.MustCompile(`/(?:etc|var/lib)/[a-z-]+/[a-z/.-]+\.(?:pem|pub|env|yaml|kubeconfig)`)
	count := 0
	for path, file := range files {
		for _, name := range named.FindAllString(file.Text, -1) {
			count++
			if _, there := files[name]; !there {
				t.Errorf("%s names %s, which is not there", path, name)
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d names were found", count)
	}
}

func TestEtcdIsConfiguredByVariables(t *testing.T) {
	files := filesOfControlPlane(t)
	env := files["/etc/etcd/etcd.env"].Text
	for _, want := range []string{"ETCD_INITIAL_CLUSTER=cp1=https://10.10.0.11:2380\n", "ETCD_CERT_FILE=/etc/etcd/ssl/server.pem\n", "ETCD_CLIENT_CERT_AUTH=true\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
	if unit := files["/etc/systemd/system/etcd.service"].Text; strings.Contains(unit, "--") {
		t.Errorf("etcd has flags:\n%s", unit)
	}
}
