//go:build e2e

package e2e

import (
	"context"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestShapeKubeletOnOlderAndOwnPair has kubelets as scanners for CIS benchmarks ask for
// them, with the pair that they made themselves named in their configuration, and kubeconfigs
// that still name the pair of the day on which the node joined. The pair that is in use is
// found, renewed, and verified.
func TestShapeKubeletOnOlderAndOwnPair(t *testing.T) {
	const server = "/var/lib/kubelet/pki/kubelet"
	named := "tlsCertFile: " + server + ".crt\\ntlsPrivateKeyFile: " + server + ".key\\n"
	for _, test := range []struct {
		name, undo, configure string
		node                  machine
	}{{
		name: "in its configuration", node: the.controlPlanes()[0],
		configure: "cp -p /var/lib/kubelet/config.yaml /run/config.yaml && printf '" + named + "' >> /var/lib/kubelet/config.yaml",
		undo:      "mv /run/config.yaml /var/lib/kubelet/config.yaml",
	}, {
		name: "in a file of a drop-in directory", node: the.nodes[len(the.nodes)-1],
		configure: `mkdir -p /etc/systemd/system/kubelet.service.d /etc/kubernetes/kubelet.conf.d &&
			printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n` + named + `' > /etc/kubernetes/kubelet.conf.d/10-cis.conf &&
			printf '[Service]\nEnvironment="KUBELET_EXTRA_ARGS=--config-dir=/etc/kubernetes/kubelet.conf.d"\n' > /etc/systemd/system/kubelet.service.d/20-cis.conf`,
		undo: "rm -r /etc/systemd/system/kubelet.service.d /etc/kubernetes/kubelet.conf.d",
	}} {
		t.Run(test.name, func(t *testing.T) {
			n := test.node
			restart := func(ctx context.Context, change string) {
				began := time.Now().Truncate(time.Second)
				_, err := the.try(ctx, n.Name, change+" && systemctl daemon-reload && systemctl restart kubelet && for i in $(seq 600); do "+kubeletAnswers+" && exit 0; sleep 0.1; done; exit 1")
				require.NoError(t, err)
				require.NoError(t, wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true,
					func(ctx context.Context) (bool, error) { return the.readySince(ctx, n.Name, began), nil }), "the kubelet reports that its node is ready")
			}
			t.Cleanup(func() { restart(context.WithoutCancel(t.Context()), test.undo) })
			the.kubeconfigNamesOlderPair(t, n, 45*24*time.Hour)
			restart(t.Context(), test.configure)
			require.Greater(t, the.clientLeft(t, n), 60*24*time.Hour, "the kubelet uses the newer pair")
			_, o := the.check(t)
			assert.Zero(t, o.exit, "%s", o)

			before, ran := the.snapshot(t, n.Name), the.running(t)
			report := the.rotate(t, "--service", "kubelet", "--node", n.Name)
			after := the.snapshot(t, n.Name)

			assert.Equal(t, "Succeeded", report.results()[n.Name+"/kubelet"])
			var want []string
			for _, s := range the.certificates(t, "kubelet", n, before) {
				the.assertStoredAnew(t, n, s, before, after)
				want = append(want, s.cert)
				if s.key != s.cert {
					want = append(want, s.key)
				}
			}
			got := slices.DeleteFunc(changed(before, after), func(path string) bool { return strings.HasPrefix(path, olderPair+".") })
			assert.ElementsMatch(t, want, got, "exactly these files changed, and perhaps the older pair")
			assert.Equal(t, []string{n.Name + "/kubelet"}, ran.restarted(the.running(t)))
			end := after.identity(t, clientPath, clientPath).leaf.NotAfter
			assert.InDelta(t, time.Until(end).Seconds(), the.clientLeft(t, n).Seconds(), 60, "the kubelet uses the new one")
			the.waitUntilReady(t)
			the.assertKubeletsAnswer(t)
		})
	}
}

const (
	// kubeletAnswers succeeds on a node whose kubelet is healthy and serves: it listens at one
	// port after the other.
	kubeletAnswers = "curl -sf -o /dev/null http://127.0.0.1:10248/healthz && curl -sk -o /dev/null https://127.0.0.1:10250/healthz"

	clientPath = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	olderPair  = "/var/lib/kubelet/pki/kubelet-client" // .crt, .key
)

// readySince reports whether a node is ready, as its kubelet has said at that time or later: one that
// has just started says first that it is not.
func (l *lab) readySince(ctx context.Context, node string, since time.Time) bool {
	got, err := l.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	return err == nil && slices.ContainsFunc(got.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(since)
	})
}

// kubeconfigNamesOlderPair gives a kubelet's kubeconfig a pair of its own, which expires
// earlier than the one that the kubelet rotates, and gives the old kubeconfig back.
func (l *lab) kubeconfigNamesOlderPair(t *testing.T, n machine, left time.Duration) {
	t.Helper()
	const conf = "/etc/kubernetes/kubelet.conf"
	cp, files := l.snapshot(t, l.controlPlanes()[0].Name), l.snapshot(t, n.Name)
	ca := cp.identity(t, l.pki(t)+"/ca.crt", l.pki(t)+"/ca.key")
	key := newKey(t)
	like := identity{leaf: files.identity(t, clientPath, clientPath).leaf, key: key}
	leaf := resigned(t, like, ca, time.Now().Add(left-365*24*time.Hour), time.Now().Add(left))
	text := string(files[conf].data)
	require.Equal(t, 2, strings.Count(text, clientPath), "kubeadm's kubeconfig names the pair in use")
	t.Cleanup(func() {
		_, err := l.try(context.WithoutCancel(t.Context()), n.Name, fmt.Sprintf("sed -i 's,%[1]s\\.\\(crt\\|key\\)$,%[2]s,' %[3]s && rm %[1]s.crt %[1]s.key", olderPair, clientPath, conf))
		assert.NoError(t, err)
	})
	l.put(t, n.Name, olderPair+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	l.put(t, n.Name, olderPair+".key", keyPEM(t, key))
	text = strings.Replace(text, clientPath, olderPair+".crt", 1)
	l.put(t, n.Name, conf, []byte(strings.Replace(text, clientPath, olderPair+".key", 1)))
}

// clientLeft is how long the client certificate still lasts that a kubelet uses, as it
// says itself.
func (l *lab) clientLeft(t *testing.T, n machine) time.Duration {
	t.Helper()
	pki := l.pki(t)
	id := l.snapshot(t, l.controlPlanes()[0].Name).identity(t, pki+"/apiserver-kubelet-client.crt", pki+"/apiserver-kubelet-client.key")
	_, text := httpGet(t, "https://"+n.IP+":10250/metrics", id)
	for line := range strings.Lines(text) {
		var seconds float64
		if _, err := fmt.Sscanf(line, "kubelet_certificate_manager_client_ttl_seconds %g", &seconds); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	require.Fail(t, "the kubelet has no metric of its client certificate", text)
	return 0
}
