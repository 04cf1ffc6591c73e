//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tests of this file kill their cluster, so it is one of their own, see "make e2e-recover".

// TestRecover brings a dead cluster back: at once, after a recovery that was killed, and again
// when nothing is left to do. What ran before runs, and its data is there.
func TestRecover(t *testing.T) {
	pod := the.startWorkload(t)
	for name, killedAt := range map[string]string{
		"at once":                           "",
		"after one was killed while files":  "replacing files",
		"after one was killed while signed": "certificates signed",
	} {
		t.Run(name, func(t *testing.T) {
			the.expireAll(t)
			if killedAt != "" {
				the.killRecovery(t, killedAt)
			}
			began := time.Now()
			o := the.recoverHosts(t, the.sshConfig(t), "--yes")
			require.Zero(t, o.exit, "%s", o)
			t.Logf("all Ready and verified after %s", time.Since(began).Round(time.Second))
			assert.NotContains(t, o.stdout, "FAILED")
			assert.Equal(t, pod, the.workload(t), "the same pod runs")
			for _, n := range the.nodes {
				assert.Contains(t, the.adminKubectl(t, "get node "+n.Name), " Ready ", n.Name)
				assert.Empty(t, strings.TrimSpace(string(the.on(t, n.Name, "ls -A /var/lib/rotate-certs/program 2>/dev/null || true"))), "no program stays on %s", n.Name)
			}
		})
	}
	t.Run("again", func(t *testing.T) {
		before := the.adminKubectl(t, "get pods -A -o jsonpath={.items[*].status.containerStatuses[*].containerID}")
		o := the.recoverHosts(t, the.sshConfig(t), "--yes")
		require.Zero(t, o.exit, "%s", o)
		assert.Contains(t, o.stderr, "No certificate of these hosts has expired; nothing was changed.")
		assert.Equal(t, before, the.adminKubectl(t, "get pods -A -o jsonpath={.items[*].status.containerStatuses[*].containerID}"))
	})
}

// TestRecoverTrustsNoUnknownHost: a host whose key is not known gets no program.
func TestRecoverTrustsNoUnknownHost(t *testing.T) {
	config, err := os.ReadFile(the.sshConfig(t))
	require.NoError(t, err)
	unknown := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(unknown, append([]byte("UserKnownHostsFile /dev/null\n"), config...), 0o600))
	o := the.recoverHosts(t, unknown, "--plan")
	assert.Equal(t, 1, o.exit, "%s", o)
	assert.Contains(t, o.stderr, "Host key verification failed")
	assert.Contains(t, o.stderr, "hint: its host key is not in known_hosts, or has changed")
}

// sshConfig writes the lab's configuration for ssh to a file.
func (l *lab) sshConfig(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(l.bin, "lab"), "ssh-config", "--name", l.name).Output()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, out, 0o600))
	return path
}

// expireAll has every leaf certificate expire, and shows that the cluster is dead.
func (l *lab) expireAll(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(l.bin, "lab"), "expire", "--name", l.name).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "the API does not answer")
}

func (l *lab) recoveryArgs(config string, args ...string) []string {
	var hosts []string
	for _, n := range l.nodes {
		hosts = append(hosts, n.Name)
	}
	return append([]string{"rotate-certs", "recover", "--ssh-config", config, "--host", strings.Join(hosts, ",")}, args...)
}

func (l *lab) recoverHosts(t *testing.T, config string, args ...string) outcome {
	t.Helper()
	return l.kubectl(t, l.recoveryArgs(config, args...)...)
}

// killRecovery starts a recovery and kills it once its output has a text.
func (l *lab) killRecovery(t *testing.T, at string) {
	t.Helper()
	cmd := l.command(t.Context(), l.recoveryArgs(l.sshConfig(t), "--yes")...)
	said := &waitedFor{text: []byte(at), seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	select {
	case <-said.seen:
	case <-time.After(limit):
		assert.Fail(t, "it never came there", "%q in %s", at, said.all.String())
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
}

// waitedFor closes seen once a text was written to it.
type waitedFor struct {
	text []byte
	all  bytes.Buffer
	seen chan struct{}
	done bool
}

func (w *waitedFor) Write(p []byte) (int, error) {
	w.all.Write(p)
	if !w.done && bytes.Contains(w.all.Bytes(), w.text) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

// startWorkload starts a pod and returns its UID.
func (l *lab) startWorkload(t *testing.T) string {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "before", Namespace: metav1.NamespaceDefault, Annotations: map[string]string{"data": "from before"}},
		Spec: corev1.PodSpec{
			NodeName:   l.nodes[len(l.nodes)-1].Name,
			Containers: []corev1.Container{{Name: "pause", Image: "registry.k8s.io/pause:3.10.2"}},
		},
	}
	_, err := l.client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		found, err := l.client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		return err == nil && found.Status.Phase == corev1.PodRunning
	}, time.Minute, 200*time.Millisecond)
	return l.workload(t)
}

// workload returns the UID, the data and the phase of that pod.
func (l *lab) workload(t *testing.T) string {
	t.Helper()
	return l.adminKubectl(t, "get pod before -o jsonpath={.metadata.uid}/{.metadata.annotations.data}/{.status.phase}")
}

// adminKubectl runs kubectl on the first node with its admin.conf: that of the tests expires with
// everything else.
func (l *lab) adminKubectl(t *testing.T, args string) string {
	t.Helper()
	return string(l.on(t, l.nodes[0].Name, "kubectl --kubeconfig /etc/kubernetes/admin.conf "+args))
}
