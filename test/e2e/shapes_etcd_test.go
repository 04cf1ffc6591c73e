//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestShapeEtcdThatAnswersClientsOnly rotates an etcd by hand, on its own host: a unit of
// systemd that shows its health only to who has a client's certificate.
func TestShapeEtcdThatAnswersClientsOnly(t *testing.T) {
	host := the.etcds[0]
	the.install(t, host.Name, "rotate-certs-node", "/run/rotate-certs-node")
	t.Cleanup(func() {
		_, err := the.try(context.WithoutCancel(t.Context()), host.Name, "rm -rf /run/rotate-certs-node /var/lib/rotate-certs")
		assert.NoError(t, err)
	})
	for _, restart := range []string{"always", "if-needed"} {
		t.Run("--restart="+restart, func(t *testing.T) {
			before := the.snapshot(t, host.Name)
			ran := the.on(t, host.Name, "systemctl show -p MainPID etcd")

			out, err := the.try(t.Context(), host.Name, "/run/rotate-certs-node rotate --service etcd --restart "+restart+" 2>&1")

			require.NoError(t, err, "%s", out)
			after := the.snapshot(t, host.Name)
			dir := the.pki(t) + "/etcd/"
			var want []string
			for _, s := range []stored{
				{cert: dir + "server.crt", key: dir + "server.key", ports: []string{host.IP + ":2379"}},
				{cert: dir + "peer.crt", key: dir + "peer.key", ports: []string{host.IP + ":2380"}},
			} {
				the.assertStoredAnew(t, host, s, before, after)
				want = append(want, s.cert, s.key)
			}
			assert.Subset(t, changed(before, after), want)
			now := the.on(t, host.Name, "systemctl show -p MainPID etcd")
			if restart == "always" {
				assert.NotEqual(t, string(ran), string(now), "it was restarted")
			} else {
				assert.Equal(t, string(ran), string(now), "it reloads its files without a restart")
			}
			the.assertEtcdServes(t, host)
			the.waitUntilReady(t)
		})
	}
}

// TestShapeEtcdUnderSystemdOnANode makes the same host a worker, as kubespray's etcd hosts
// can be, and rotates its etcd from outside.
func TestShapeEtcdUnderSystemdOnANode(t *testing.T) {
	host := the.etcds[0]
	the.join(t, host)
	before := the.snapshot(t, host.Name)
	ran := the.on(t, host.Name, "systemctl show -p MainPID etcd")
	_, o := the.check(t)
	assert.Zero(t, o.exit, "%s", o)

	report := the.rotate(t, "--service", "etcd", "--restart", "always")

	assert.Equal(t, "Succeeded", report.results()[host.Name+"/etcd"])
	after := the.snapshot(t, host.Name)
	dir := the.pki(t) + "/etcd/"
	the.assertStoredAnew(t, host, stored{cert: dir + "server.crt", key: dir + "server.key", ports: []string{host.IP + ":2379"}}, before, after)
	the.assertStoredAnew(t, host, stored{cert: dir + "peer.crt", key: dir + "peer.key", ports: []string{host.IP + ":2380"}}, before, after)
	assert.NotEqual(t, string(ran), string(the.on(t, host.Name, "systemctl show -p MainPID etcd")), "it was restarted")
	the.assertEtcdServes(t, host)
	the.waitUntilReady(t)
}

// join makes a host of etcd a worker for as long as the test runs.
func (l *lab) join(t *testing.T, host machine) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, err := l.try(ctx, host.Name, `systemctl disable --now kubelet
			ctr -n k8s.io task ls -q | xargs -r -n1 ctr -n k8s.io task kill -s SIGKILL
			rm -rf /etc/kubernetes/*.conf /etc/kubernetes/manifests /etc/kubernetes/pki/ca.crt /var/lib/kubelet/pki /var/lib/kubelet/*.yaml /etc/cni/net.d/10-lab.conflist /var/lib/rotate-certs`)
		assert.NoError(t, err)
		for _, args := range [][]string{
			{"delete", "node", host.Name}, // first: a DaemonSet would make its pod anew
			{"delete", "pods", "--all-namespaces", "--field-selector", "spec.nodeName=" + host.Name, "--force", "--grace-period=0"},
		} {
			out, err := l.command(ctx, args...).CombinedOutput()
			assert.NoError(t, err, "%s", out)
		}
	})
	// Its pods are all on the host's network.
	l.on(t, host.Name, `mkdir -p /etc/cni/net.d && echo '{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "loopback"}]}' > /etc/cni/net.d/10-lab.conflist
		kubeadm join --config /etc/lab/kubeadm.yaml >/var/log/kubeadm.log 2>&1 || { cat /var/log/kubeadm.log >&2; exit 1; }`)
	// "kubeadm join" ends before the kubelet has registered the node.
	for _, state := range []string{"create", "condition=Ready"} {
		o := l.kubectl(t, "wait", "--for="+state, "node/"+host.Name, "--timeout=120s")
		require.Zero(t, o.exit, "%s", o)
	}
}

// assertEtcdServes writes to an etcd outside.
func (l *lab) assertEtcdServes(t *testing.T, host machine) {
	t.Helper()
	dir := l.pki(t) + "/etcd/"
	files := l.snapshot(t, host.Name)
	id := files.identity(t, dir+"healthcheck-client.crt", dir+"healthcheck-client.key")
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(files[dir+"ca.crt"].data))
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + host.IP + ":2379"}, DialTimeout: 5 * time.Second,
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key}}}})
	require.NoError(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = client.Put(ctx, "e2e", host.Name)
	assert.NoError(t, err, "write through etcd on %s", host.Name)
}
