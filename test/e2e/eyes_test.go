//go:build e2e

package e2e

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// served returns the certificate that a port shows.
func served(t *testing.T, address string) *x509.Certificate {
	t.Helper()
	leaf, err := shown(t, address)
	require.NotNil(t, leaf, "%s: no handshake: %v", address, err)
	return leaf
}

// shown is the same where a port may show nothing: a server that reads its files anew has
// the certificate of one pair and the key of another for the instant in which they are
// replaced.
func shown(t *testing.T, address string) (*x509.Certificate, error) {
	t.Helper()
	var leaf *x509.Certificate
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the served certificate is what is inspected
		VerifyConnection: func(s tls.ConnectionState) error {
			leaf = s.PeerCertificates[0]
			return nil
		},
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err == nil {
		require.NoError(t, conn.Close())
	}
	return leaf, err
}

// assertRenewed checks that one certificate is the other with a new key.
func assertRenewed(t *testing.T, what string, before, after identity) {
	t.Helper()
	b, a := before.leaf, after.leaf
	assert.NotEqual(t, b.SerialNumber, a.SerialNumber, "%s: serial number", what)
	assert.False(t, b.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(a.PublicKey), "%s: the key must be new", what)
	assert.True(t, a.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(after.key.Public()), "%s: the key must fit", what)
	assert.Equal(t, b.RawSubject, a.RawSubject, "%s: subject", what)
	assert.ElementsMatch(t, b.DNSNames, a.DNSNames, "%s: DNS names", what)
	assert.ElementsMatch(t, addresses(b), addresses(a), "%s: IP addresses", what)
	assert.Equal(t, b.KeyUsage, a.KeyUsage, "%s: key usage", what)
	assert.Equal(t, b.ExtKeyUsage, a.ExtKeyUsage, "%s: extended key usage", what)
	assert.Equal(t, b.PublicKeyAlgorithm, a.PublicKeyAlgorithm, "%s: key algorithm", what)
	assert.Equal(t, keySize(b), keySize(a), "%s: key size", what)
	assert.Equal(t, before.rest, after.rest, "%s: the rest of the file", what)
	assert.WithinDuration(t, time.Now(), a.NotBefore, 20*time.Minute, "%s: not before", what)
	assert.True(t, a.NotBefore.Before(time.Now()), "%s: valid already", what)
}

func addresses(c *x509.Certificate) []string {
	var out []string
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func keySize(c *x509.Certificate) int {
	switch k := c.PublicKey.(type) {
	case interface{ Size() int }: // RSA
		return k.Size()
	default:
		raw, _ := x509.MarshalPKIXPublicKey(c.PublicKey)
		return len(raw)
	}
}

// assertClusterIsWhole asks etcd, the API and the kubelets.
func (l *lab) assertClusterIsWhole(t *testing.T) {
	t.Helper()
	l.assertQuorum(t)
	nodes, err := l.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, nodes.Items, len(l.nodes))
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				assert.Equal(t, corev1.ConditionTrue, c.Status, "node %s is Ready", n.Name)
			}
		}
	}
	l.assertKubeletsAnswer(t)
	pods, err := l.client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=rotate-certs,app.kubernetes.io/component in (scan,rotation)"})
	require.NoError(t, err)
	assert.Empty(t, pods.Items, "node pods are removed")
}

// assertQuorum asks every etcd member.
func (l *lab) assertQuorum(t *testing.T) {
	t.Helper()
	members := l.controlPlanes()
	if len(l.etcds) > 0 {
		members = l.etcds
	}
	for i, n := range members {
		from := l.controlPlanes()[min(i, len(l.controlPlanes())-1)]
		files := l.snapshot(t, from.Name)
		client, ca := l.etcdClient(t)
		id := files.identity(t, client.cert, client.key)
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(files[ca].data))
		config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key}}}
		assertMember(t, n, config, len(members))
	}
}

// etcdClient is a client's certificate for etcd, and the CA of the members, on control planes.
func (l *lab) etcdClient(t *testing.T) (client stored, ca string) {
	t.Helper()
	switch {
	case l.shape.Topology == systemd:
		return stored{cert: unitSSL + "/apiserver-etcd-client.pem", key: unitSSL + "/apiserver-etcd-client-key.pem"}, unitEtcd + "/ca.pem"
	case l.shape.EtcdLayout == kubespray:
		stem := kubesprayDir + "/node-" + l.controlPlanes()[0].Name
		return stored{cert: stem + ".pem", key: stem + "-key.pem"}, kubesprayDir + "/ca.pem"
	}
	stem := l.pki(t) + "/etcd/healthcheck-client"
	if len(l.etcds) > 0 {
		stem = l.pki(t) + "/apiserver-etcd-client"
	}
	return stored{cert: stem + ".crt", key: stem + ".key"}, l.pki(t) + "/etcd/ca.crt"
}

// assertMember asks one member, and writes through it, which needs the quorum.
func assertMember(t *testing.T, n machine, config *tls.Config, members int) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + n.IP + ":2379"}, TLS: config, DialTimeout: 5 * time.Second})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	list, err := client.MemberList(ctx)
	if assert.NoError(t, err, "etcd on %s", n.Name) {
		assert.Len(t, list.Members, members)
		for _, m := range list.Members {
			assert.False(t, m.IsLearner)
		}
	}
	_, err = client.Put(ctx, "e2e", n.Name)
	assert.NoError(t, err, "write through etcd on %s", n.Name)
	require.NoError(t, client.Close())
}

// assertKubeletsAnswer uses what goes through a kubelet: logs and exec.
func (l *lab) assertKubeletsAnswer(t *testing.T) {
	t.Helper()
	if l.shape.Topology == systemd {
		l.assertPodsHaveLogs(t)
		return
	}
	pods, err := l.client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "k8s-app=kube-proxy"})
	require.NoError(t, err)
	assert.Len(t, pods.Items, len(l.nodes))
	for _, p := range pods.Items {
		logs := l.kubectl(t, "-n", "kube-system", "logs", "--tail=1", p.Name)
		assert.Zero(t, logs.exit, "logs on %s: %s", p.Spec.NodeName, logs)
		exec := l.kubectl(t, "-n", "kube-system", "exec", p.Name, "--", p.Spec.Containers[0].Command[0], "--version")
		assert.Zero(t, exec.exit, "exec on %s: %s", p.Spec.NodeName, exec)
		assert.Contains(t, exec.stdout, "Kubernetes v")
	}
}

// runs identifies the current run of each component: a container's id, a unit's main process.
type runs map[string]string

// running maps "node/component" to its current run.
func (l *lab) running(t *testing.T) runs {
	t.Helper()
	out := runs{}
	for _, n := range l.nodes {
		// The runtime's own word: pod statuses lag behind.
		for _, line := range strings.Split(string(l.on(t, n.Name, listRuns)), "\n") {
			if name, id, ok := strings.Cut(line, " "); ok {
				out[n.Name+"/"+name] = id
			}
		}
	}
	return out
}

// listRuns prints each component with its process's start time, by which a restart is seen.
const listRuns = `for p in /proc/[0-9]*; do
  read -r comm < $p/comm || continue
  case $comm in etcd|kubelet|kube-apiserver|kube-proxy|kube-scheduler|kube-controller) ;; *) continue ;; esac
  [ $comm = kube-controller ] && comm=kube-controller-manager
  echo "$comm ${p#/proc/}.$(cut -d' ' -f22 $p/stat)"
done 2>/dev/null; true`

// restarted lists what runs anew.
func (r runs) restarted(after runs) []string {
	var out []string
	for what, id := range r {
		if after[what] != id {
			out = append(out, what)
		}
	}
	return out
}

// pki is the directory of the control plane's certificates, from kubeadm's own configuration.
func (l *lab) pki(t *testing.T) string {
	t.Helper()
	config, err := l.client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "kubeadm-config", metav1.GetOptions{})
	require.NoError(t, err)
	for line := range strings.Lines(config.Data["ClusterConfiguration"]) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "certificatesDir: "); ok {
			return dir
		}
	}
	require.Fail(t, "kubeadm's configuration names no certificatesDir")
	return ""
}

// httpStatus asks a TLS server with a client certificate.
func httpStatus(t *testing.T, url string, id identity) int {
	t.Helper()
	status, _ := httpGet(t, url, id)
	return status
}

func httpGet(t *testing.T, url string, id identity) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the server's certificate is verified elsewhere
		Certificates:       []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key}},
	}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode, string(data)
}
