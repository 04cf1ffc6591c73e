//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestBadInputChangesNothing gives what people on call will give, and what broken
// nodes will show.
func TestBadInputChangesNothing(t *testing.T) {
	cp := the.controlPlanes()[0].Name
	pki := the.pki(t)
	restricted := the.restrictedNamespace(t)
	viewer := the.accountKubeconfig(t, "no-rights")
	for _, tt := range []struct {
		name    string
		args    []string
		breaks  string // what is done to cp first
		fixes   string // and undone afterwards
		onAll   bool   // on every control-plane node: another one could sign
		exit    int
		says    []string
		atMost  time.Duration
		onCheck bool
	}{
		{name: "unknown service", args: []string{"--service", "ectd"}, exit: 1, says: []string{`unknown service "ectd", did you mean "etcd"?`}},
		{name: "unknown node", args: []string{"--service", "etcd", "--node", cp + "x"}, exit: 1, says: []string{cp + "x", "did you mean"}},
		{name: "no such image", args: []string{"--service", "etcd", "--image", "registry.invalid/nothing:1"}, exit: 1,
			says: []string{"registry.invalid/nothing:1", "--image"}, atMost: 35 * time.Second},
		{name: "admission refuses the pods", args: []string{"--service", "etcd", "--namespace", restricted}, exit: 1,
			says: []string{"PodSecurity", restricted}, atMost: 30 * time.Second},
		{name: "missing permissions", args: []string{"--service", "etcd", "--kubeconfig", viewer}, exit: 1,
			says: []string{"pods", "create"}, atMost: 30 * time.Second},
		{name: "no CA key", args: []string{"--service", "etcd", "--require-all"}, exit: 1,
			breaks: "mv " + pki + "/etcd/ca.key /root/ca.key", fixes: "mv /root/ca.key " + pki + "/etcd/ca.key", onAll: true,
			says: []string{cp, "etcd-server", "key"}},
		{name: "a key that does not fit", args: []string{"--service", "etcd", "--require-all"}, exit: 1,
			breaks: "cp -p " + pki + "/etcd/peer.key /root/peer.key && cat " + pki + "/etcd/server.key > " + pki + "/etcd/peer.key",
			fixes:  "cat /root/peer.key > " + pki + "/etcd/peer.key && rm /root/peer.key",
			says:   []string{cp, "etcd-peer", "does not fit"}},
		{name: "check finds a certificate that cannot be parsed", args: []string{"check"}, exit: 1,
			breaks: "cp -p " + pki + "/front-proxy-client.crt /root/x && echo nonsense > " + pki + "/front-proxy-client.crt",
			fixes:  "cat /root/x > " + pki + "/front-proxy-client.crt && rm /root/x",
			says:   []string{"front-proxy-client"}, onCheck: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := the.controlPlanes()[:1]
			if tt.onAll {
				broken = the.controlPlanes()
			}
			for _, n := range broken {
				if tt.breaks == "" {
					break
				}
				the.on(t, n.Name, tt.breaks)
				t.Cleanup(func() {
					_, err := the.try(context.WithoutCancel(t.Context()), n.Name, tt.fixes)
					assert.NoError(t, err)
				})
			}
			before, ran := the.snapshots(t), the.running(t)
			o := the.kubectl(t, append([]string{"rotate-certs"}, tt.args...)...)
			t.Logf("%s", o)
			assert.Equal(t, tt.exit, o.exit)
			output := o.stderr
			if tt.onCheck {
				output = o.stdout
			}
			for _, text := range tt.says {
				assert.Contains(t, output, text)
			}
			if tt.atMost > 0 {
				assert.Less(t, o.took, tt.atMost)
			}
			for _, n := range the.nodes {
				assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
			}
			assert.Empty(t, ran.restarted(the.running(t)))
		})
	}
}

// restrictedNamespace is one in which no node pod is admitted.
func (l *lab) restrictedNamespace(t *testing.T) string {
	t.Helper()
	name := "restricted"
	namespaces := l.client.CoreV1().Namespaces()
	_, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, namespaces.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}))
	})
	return name
}
