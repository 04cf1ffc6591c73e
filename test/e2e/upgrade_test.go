//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// olderVersion is that of the programs in the directory OLDER, which "make e2e-upgrade" builds.
const olderVersion = "v0.0.9"

// TestUpgradeKeepsWhatWasInstalled installs the older version with an image of the user's own
// registry, a NATS of the user's own and without the right to rotate, and then this version
// without a flag.
func TestUpgradeKeepsWhatWasInstalled(t *testing.T) {
	const registry = "registry.example.test/own/"
	the.tagImages(t, registry)
	url := plainNATS(t)
	the.installOlder(t, "--notify-only", "--nats-url", url, "--image", registry+"rotate-certs-node:"+olderVersion)
	node := the.controlPlanes()[0]
	serial := the.putExpiring(t, node, due)

	plan := the.kubectl(t, "rotate-certs", "install", "--dry-run=server")
	require.Zero(t, plan.exit, "%s", plan)
	t.Logf("%s", plan.stderr)
	assert.Contains(t, plan.stderr, "version: "+olderVersion+" -> "+version.Version)
	assert.NotContains(t, plan.stderr, "--nats-url")
	assert.NotContains(t, plan.stderr, "--notify-only")
	assert.NotContains(t, plan.stderr, "--agent-directory")

	the.upgraded(t)

	watcher, err := the.client.AppsV1().Deployments("rotate-certs").Get(t.Context(), manifests.Watcher, metav1.GetOptions{})
	require.NoError(t, err)
	agents, err := the.client.AppsV1().DaemonSets("rotate-certs").Get(t.Context(), manifests.Agent, metav1.GetOptions{})
	require.NoError(t, err)
	container := watcher.Spec.Template.Spec.Containers[0]
	assert.Subset(t, container.Args, []string{"--nats-url=" + url, "--notify-only"})
	assert.Contains(t, container.Env, corev1.EnvVar{Name: "NODE_IMAGE", Value: registry + "rotate-certs-node:" + version.Version})
	assert.Equal(t, registry+"rotate-certs-watcher:"+version.Version, container.Image)
	assert.Equal(t, registry+"rotate-certs-node:"+version.Version, agents.Spec.Template.Spec.Containers[0].Image)
	account := "--as=system:serviceaccount:rotate-certs:rotate-certs-watcher"
	assert.NotZero(t, the.kubectl(t, "auth", "can-i", "create", "pods", "-n", "rotate-certs", account).exit, "it has no more rights than before")
	agentsReportWhatCheckSees(t)
	assert.Equal(t, serial, served(t, node.IP+":2379").SerialNumber, "nothing was renewed")

	o := the.kubectl(t, append([]string{"rotate-certs", "install", "--notify-only=false"}, noDailyLimit(t)...)...)
	require.Zero(t, o.exit, "%s", o)
	the.waitUntilRenewed(t, node, serial)
	uninstalledItLeavesNothing(t)
}

// TestUpgradeTakesOverWhatItRotated has the older version, installed without a flag, replace a
// compromised certificate; this version shows its object, and renews what is due.
func TestUpgradeTakesOverWhatItRotated(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\nspec: {limits: {rotationsPerDay: 5}}\n"), 0o600))
	the.installOlder(t, "--policy", policy)
	node := the.controlPlanes()[0]
	o := the.older(t, "mark-compromised", "--service", "kube-scheduler", "--node", node.Name, "--reason", "a backup was stolen", "-o", "name")
	require.Zero(t, o.exit, "%s", o)
	object := strings.TrimSpace(o.stdout)
	done := the.kubectl(t, "wait", "--for=condition=Replaced", object, "--timeout=4m")
	require.Zero(t, done.exit, "%s", done)
	within(t, 2*time.Minute, "the rotation's end", func() bool {
		all := the.rotations(t)
		return len(all) == 1 && all[0].Status.CompletionTime != nil
	})

	the.upgraded(t)

	kept := the.kubectl(t, "get", "rotationpolicies.rotate-certs.io", v1alpha1.RotationPolicyName, "-o", "jsonpath={.spec.limits.rotationsPerDay}")
	assert.Equal(t, "5", kept.stdout, "%s", kept)
	all := the.rotations(t)
	require.Len(t, all, 1)
	assert.Equal(t, v1alpha1.StateSucceeded, all[0].State())
	assert.Zero(t, the.kubectl(t, "get", object).exit, "what is compromised is still known")
	the.beginRenewal(t, node).assertOnce(t)
	status := the.kubectl(t, "rotate-certs", "status")
	assert.Zero(t, status.exit, "%s", status)
	agentsReportWhatCheckSees(t)
	uninstalledItLeavesNothing(t)
}

// installOlder installs the older version, which goes with this one's uninstall.
func (l *lab) installOlder(t *testing.T, args ...string) {
	t.Helper()
	l.uninstallAtEnd(t)
	o := l.older(t, append([]string{"install"}, args...)...)
	require.Zero(t, o.exit, "%s", o)
	within(t, time.Minute, "a report of every node", func() bool { return len(l.reports(t)) == len(l.nodes) })
}

// upgraded installs this version without a flag.
func (l *lab) upgraded(t *testing.T) {
	t.Helper()
	o := l.kubectl(t, "rotate-certs", "install")
	require.Zero(t, o.exit, "%s", o)
	t.Logf("upgraded in %s: %s", o.took.Round(time.Millisecond), o.stderr)
}

// older runs the older version's plugin.
func (l *lab) older(t *testing.T, args ...string) outcome {
	t.Helper()
	dir := os.Getenv("OLDER")
	require.NotEmpty(t, dir, "see make e2e-upgrade")
	with := *l
	with.bin = filepath.Join(dir, "bin")
	return with.kubectl(t, append([]string{"rotate-certs"}, args...)...)
}

// tagImages has every node know the images of both versions by a registry of the user's own.
func (l *lab) tagImages(t *testing.T, registry string) {
	t.Helper()
	const public = "ghcr.io/rotate-certs/"
	for _, n := range l.nodes {
		for _, image := range []string{"rotate-certs-node:" + olderVersion, "rotate-certs-watcher:" + olderVersion, "rotate-certs-node:" + version.Version, "rotate-certs-watcher:" + version.Version} {
			l.on(t, n.Name, "ctr -n k8s.io images tag --force "+public+image+" "+registry+image)
		}
	}
}

// plainNATS is a server of the user's own that permits every user everything.
func plainNATS(t *testing.T) (url string) {
	t.Helper()
	ip := beside(t, the.nodes[0])
	server := exec.Command(filepath.Join(the.bin, "nats-server"), "-a", ip, "-p", "4222", "-js", "-sd", t.TempDir()) //nolint:noctx // it ends with the test
	var log lockedBuffer
	server.Stderr = &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		assert.NoError(t, server.Process.Kill())
		_ = server.Wait() // it was killed
		if t.Failed() {
			t.Logf("nats-server:\n%s", &log)
		}
	})
	return "nats://" + net.JoinHostPort(ip, "4222")
}
