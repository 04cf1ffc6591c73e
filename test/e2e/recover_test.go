//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// The tests of this file kill their cluster, so it is none that others share, see "make
// e2e-recover"; "make e2e-systemd" and "make e2e-etcd" run them, too.

// TestRecover brings a dead cluster back. What ran before runs, and its data is there.
func TestRecover(t *testing.T) {
	the.startWorkload(t)
	t.Run("at once", func(t *testing.T) {
		the.expireAll(t)
		earlier := the.copiesOfEtcd(t)
		the.assertRecovers(t)
		the.assertNoProgram(t)
		the.assertEtcdWasCopied(t, earlier)
	})
	t.Run("again, when nothing has expired", func(t *testing.T) {
		services := []string{"kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
		if len(the.etcds) == 0 {
			services = append(services, "etcd") // otherwise it runs on no node
		}
		before := the.runningAll(t, services, the.snapshots(t))
		o := the.recoverHosts(t, the.sshConfig(t), "--yes")
		require.Zero(t, o.exit, "%s", o)
		assert.Contains(t, o.stderr, "No certificate of these hosts has expired; nothing was changed.")
		assert.Empty(t, before.restarted(the.running(t)))
	})
	t.Run("while its connections break", func(t *testing.T) {
		the.expireAll(t)
		run := the.startRecovery(t, stage{name: "files are replaced", come: says("replacing files", 1)})
		for _, n := range the.hosts() {
			the.on(t, n.Name, "pkill -KILL -f '^sshd(-session)?: root'")
		}
		o := <-run.outcome
		assert.Zero(t, o.exit, "%s", o)
		the.takeKubeconfig(t)
		the.assertRecovered(t)
		the.assertNoProgram(t)
	})
}

// TestRecoverAfterOneWasKilled kills a recovery at each of its stages; the same command
// completes it.
func TestRecoverAfterOneWasKilled(t *testing.T) {
	the.startWorkload(t)
	last := len(the.hosts()) // each prints that its files are replaced; a worker is the last one
	stages := []stage{
		{name: "connecting", come: says("Connecting", 1)},
		{name: "scanning", come: says("Scanning", 1)},
		{name: "planned", come: says("RESTARTS", 1)},
		{name: "the control plane staged", come: says("certificates signed", 1)},
		{name: "the first node in progress", come: says("replacing files", 1)},
		{name: "waiting for the control plane", come: says("waiting for etcd's quorum", 1)},
		{name: "the worker staged", come: says("certificates signed", 2)},
		{name: "the worker in progress", come: says("replacing files", last)},
		{name: "the worker verified", come: says("replaced · ", last)},
	}
	if len(the.controlPlanes()) > 1 { // whose recovery takes minutes
		stages = stages[3:5]
	}
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			the.expireAll(t)
			run := the.startRecovery(t, s)
			run.kill(syscall.SIGKILL)
			<-run.outcome
			the.assertRecovers(t)
		})
	}
}

// assertRecovers runs a recovery to its end, and checks what it promises.
func (l *lab) assertRecovers(t *testing.T) {
	t.Helper()
	l.completeRecovery(t)
	l.takeKubeconfig(t)
	l.assertRecovered(t)
}

// completeRecovery runs a recovery of all machines to its end.
func (l *lab) completeRecovery(t *testing.T) {
	t.Helper()
	began := time.Now()
	o := l.recoverHosts(t, l.sshConfig(t), "--yes")
	require.Zero(t, o.exit, "%s", o)
	t.Logf("verified after %s", time.Since(began).Round(time.Second))
	assert.NotContains(t, o.stdout, "FAILED")
}

// assertRecovered is true of a cluster that a recovery has brought back.
func (l *lab) assertRecovered(t *testing.T) {
	t.Helper()
	l.assertClusterIsWhole(t)
	pod, err := l.client.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), "before", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, corev1.PodRunning, pod.Status.Phase, "what ran before runs")
	assert.Equal(t, "from before", pod.Annotations["data"])
}

// copiesOfEtcd are the copies of etcd's data on each member's machine.
func (l *lab) copiesOfEtcd(t *testing.T) map[string][]string {
	t.Helper()
	members := l.controlPlanes()
	if len(l.etcds) > 0 {
		members = l.etcds
	}
	out := map[string][]string{}
	for _, n := range members {
		out[n.Name] = strings.Fields(string(l.on(t, n.Name, "ls -d /var/lib/rotate-certs/rotations/*/etcd/*/member/snap/db || true")))
	}
	return out
}

// assertEtcdWasCopied is true where every member has one more copy of its data, for root only.
func (l *lab) assertEtcdWasCopied(t *testing.T, earlier map[string][]string) {
	t.Helper()
	for node, copies := range l.copiesOfEtcd(t) {
		made := slices.DeleteFunc(copies, func(path string) bool { return slices.Contains(earlier[node], path) })
		if assert.Len(t, made, 1, "copies on %s", node) {
			said := string(l.on(t, node, "grep -q -a 'from before' "+made[0]+" && stat -c %a $(echo "+made[0]+" | cut -d/ -f1-7)"))
			assert.Equal(t, "700", strings.TrimSpace(said), "%s has the pod's annotation, in a directory for root", made[0])
		}
	}
}

// assertNoProgram is true where the recovery that has ended was the only one: the program of one
// that was killed stays for a day.
func (l *lab) assertNoProgram(t *testing.T) {
	t.Helper()
	for _, n := range l.hosts() {
		assert.Empty(t, strings.TrimSpace(string(l.on(t, n.Name, "ls -A /var/lib/rotate-certs/program 2>/dev/null || true"))), "no program stays on %s", n.Name)
	}
}

// hosts are all machines: nodes, and hosts of an etcd outside.
func (l *lab) hosts() []machine { return append(append([]machine{}, l.nodes...), l.etcds...) }

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
	require.Contains(t, l.expireSome(t), "the API does not answer")
}

// expireSome has certificates expire, by flags of "lab expire", and returns what that prints.
func (l *lab) expireSome(t *testing.T, flags ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(l.bin, "lab"), append([]string{"expire", "--name", l.name}, flags...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// takeKubeconfig replaces what the tests authenticate with by the administrator's renewed
// certificate on the first node, as people do after a recovery.
func (l *lab) takeKubeconfig(t *testing.T) {
	t.Helper()
	admin := "/etc/kubernetes/admin.conf"
	if l.shape.Topology == systemd {
		admin = "/var/lib/kubernetes/admin.kubeconfig"
	}
	renewed, err := clientcmd.Load(l.on(t, l.nodes[0].Name, "cat "+admin))
	require.NoError(t, err)
	path := os.Getenv("KUBECONFIG")
	own, err := clientcmd.LoadFromFile(path)
	require.NoError(t, err)
	user := renewed.AuthInfos[renewed.Contexts[renewed.CurrentContext].AuthInfo]
	own.AuthInfos[own.Contexts[own.CurrentContext].AuthInfo] = user
	require.NoError(t, clientcmd.WriteToFile(*own, path))
	l.client, err = newClient()
	require.NoError(t, err)
}

func (l *lab) recoveryArgs(config string, args ...string) []string {
	var hosts []string
	for _, n := range l.hosts() {
		hosts = append(hosts, n.Name)
	}
	return append([]string{"rotate-certs", "recover", "--ssh-config", config, "--host", strings.Join(hosts, ",")}, args...)
}

func (l *lab) recoverHosts(t *testing.T, config string, args ...string) outcome {
	t.Helper()
	return l.kubectl(t, l.recoveryArgs(config, args...)...)
}

// startRecovery starts a recovery and waits until it is at a stage.
func (l *lab) startRecovery(t *testing.T, s stage) started {
	t.Helper()
	run := l.start(t, l.recoveryArgs(l.sshConfig(t), "--yes")...)
	within(t, limit, s.name, func() bool { return s.come(t, run) || len(run.outcome) > 0 })
	require.True(t, s.come(t, run), "it ended before %q: %s", s.name, run.stderr)
	return run
}

// startWorkload starts a pod, if it does not run yet. It ends when its node shuts down.
func (l *lab) startWorkload(t *testing.T) {
	t.Helper()
	pods := l.client.CoreV1().Pods(metav1.NamespaceDefault)
	if _, err := pods.Get(t.Context(), "before", metav1.GetOptions{}); err == nil {
		return
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "before", Annotations: map[string]string{"data": "from before"}},
		Spec: corev1.PodSpec{
			NodeName:   l.nodes[len(l.nodes)-1].Name,
			Containers: []corev1.Container{{Name: "pause", Image: "registry.k8s.io/pause:3.10.2"}},
		},
	}
	_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	within(t, time.Minute, "a workload", func() bool {
		found, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		return err == nil && found.Status.Phase == corev1.PodRunning
	})
}
