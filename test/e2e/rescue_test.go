//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRescueByHand: all certificates of the only control plane have ended, and it was
// rebooted, so that nothing of it runs but a kubelet that ends as soon as it starts. One
// command on the node makes it whole.
func TestRescueByHand(t *testing.T) {
	node, port := the.controlPlanes()[0], apiPort(t, the)
	the.expire(t, node)
	the.reboot(t, node.Name)
	the.install(t, node.Name, "rotate-certs-node", "/run/rotate-certs-node")
	_, err := the.try(t.Context(), node.Name, "curl -sfk --max-time 5 https://127.0.0.1:"+port+"/readyz")
	require.Error(t, err, "the API server is not there")
	before, began := the.snapshot(t, node.Name), time.Now()

	out := the.on(t, node.Name, "/run/rotate-certs-node rotate --all 2>&1")

	t.Logf("rescued in %s: %s", time.Since(began).Round(time.Second), out)
	the.waitUntilReady(t)
	after := the.snapshot(t, node.Name)
	for _, service := range services {
		for _, s := range the.certificates(t, service, node, before) {
			the.assertStoredAnew(t, node, s, before, after)
		}
	}
	the.succeedsAfterReboot(t, "check")
	the.assertClusterIsWhole(t)
}

// expire has every certificate of a control plane end an hour ago, by the cluster's own CAs.
func (l *lab) expire(t *testing.T, n machine) {
	t.Helper()
	pki, files := l.pki(t), l.snapshot(t, n.Name)
	end := time.Now().Add(-time.Hour)
	for _, service := range services {
		for _, s := range l.certificates(t, service, n, files) {
			if s.selfMade {
				continue // its CA's key is nowhere
			}
			name := pki + "/ca"
			switch {
			case strings.HasPrefix(s.cert, pki+"/etcd/"), strings.HasSuffix(s.cert, "/apiserver-etcd-client.crt"):
				name = pki + "/etcd/ca"
			case strings.HasSuffix(s.cert, "/front-proxy-client.crt"):
				name = pki + "/front-proxy-ca"
			}
			ca := files.identity(t, name+".crt", name+".key")
			leaf := resigned(t, files.identity(t, s.cert, s.key), ca, end.Add(-30*24*time.Hour), end)
			l.put(t, n.Name, s.cert, withCertificate(t, s.cert, files.resolve(s.cert).data, leaf))
		}
	}
}
