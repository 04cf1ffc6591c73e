package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const podSettings = "--cluster-name prod --priority-class high --toleration dedicated=infra:NoSchedule,spot --label team=platform " +
	"--watcher-limits memory=1Gi --watcher-requests cpu=1 --agent-limits memory=256Mi --agent-requests cpu=20m"

func TestPodFlagsReachThePods(t *testing.T) {
	s := newAPIServer(t)
	s.add(t, "/apis/scheduling.k8s.io/v1/priorityclasses/high", `{}`)
	s.install(t, podSettings)
	for _, again := range []string{"", "--notify-only"} { // which makes all of it anew
		said := s.install(t, again)
		assert.NotContains(t, said, "--toleration")
		watcher, agents := s.object(watcherPath), s.object(agentPath)
		for _, part := range []string{
			`"--cluster=prod"`, `"priorityClassName":"high"`, `{"effect":"NoSchedule","key":"dedicated","operator":"Equal","value":"infra"}`,
			`{"key":"spot","operator":"Exists"}`, `{"key":"node-role.kubernetes.io/control-plane","operator":"Exists"}`,
			`"limits":{"memory":"1Gi"},"requests":{"cpu":"1","memory":"64Mi"}`,
		} {
			assert.Contains(t, watcher, part)
		}
		assert.Contains(t, agents, `"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"20m","memory":"32Mi"}`)
		assert.Contains(t, agents, `"priorityClassName":"high"`)
		assert.Contains(t, agents, `"tolerations":[{"operator":"Exists"}]`)
		assert.Contains(t, s.object(rotateRole)+s.object("/api/v1/namespaces/rotate-certs"), `"team":"platform"`)
		for _, workload := range []string{watcher, agents} {
			assert.Equal(t, 2, strings.Count(workload, `"team":"platform"`), "its own and that of its pods; a selector cannot be changed")
		}
	}
	said := s.install(t, "--toleration= --label team=sre --watcher-limits=memory=2Gi")
	assert.Contains(t, said, "change       --toleration: dedicated=infra:NoSchedule,spot -> none\n")
	assert.Contains(t, said, "change       --label: team=platform -> team=sre\n")
	assert.Contains(t, said, "change       --watcher-limits: memory=1Gi -> memory=2Gi\n")
	assert.NotContains(t, s.object(watcherPath), "spot")
}

func TestInstallRefusesInvalidPodFlags(t *testing.T) {
	for flag, says := range map[string]string{
		"--cluster-name=a b":               `--cluster-name "a b": want letters`,
		"--priority-class=High":            `--priority-class "High" is not a valid name of an object`,
		"--toleration=a:Never":             `--toleration "a:Never": want KEY`,
		"--toleration=:NoSchedule":         `want KEY`,
		"--label=app.kubernetes.io/name=x": "the installation sets this label itself",
		"--label=team=a b":                 "--label team=a b: ",
		"--agent-limits=memory=much":       "--agent-limits memory=much: want cpu, memory or ephemeral-storage and a quantity",
		"--watcher-requests=gpu=1":         "--watcher-requests gpu=1: want cpu",
	} {
		s := newAPIServer(t)
		code, _, stderr := s.run(t, "install", flag)
		assert.Equal(t, 1, code, flag)
		assert.Contains(t, stderr, says)
		assert.Empty(t, s.log)
	}
	s := newAPIServer(t)
	code, _, stderr := s.run(t, "install", "--without-watcher", "--toleration", "spot")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "--without-watcher installs no watcher")
}

// TestInvalidPodFlagsChangeNothing: rights would have been given by then, and the
// watcher that runs been removed.
func TestInvalidPodFlagsChangeNothing(t *testing.T) {
	for flags, want := range map[string]string{
		"--agent-requests memory=256Mi":  "requests memory=256Mi and is limited to 128Mi",
		"--agent-limits memory=16Mi":     "requests memory=32Mi and is limited to 16Mi",
		"--watcher-limits memory=1Mi":    "is limited to 1Mi",
		"--watcher-requests memory=-1Mi": "want cpu, memory or ephemeral-storage and a quantity",
		"--priority-class no-such":       `PriorityClass "no-such" does not exist`,
	} {
		s := newAPIServer(t)
		code, _, stderr := s.run(t, append([]string{"install"}, strings.Fields(flags)...)...)
		assert.Equal(t, 1, code, flags)
		assert.Contains(t, stderr, want)
		assert.Empty(t, s.log, "%s: nothing was changed", flags)
	}
}

func TestPairsCanBeRemoved(t *testing.T) {
	s := newInstalled(t, "--label team=pki --agent-limits memory=256Mi,cpu=1")
	assert.Contains(t, s.object(agentPath), `"team":"pki"`)
	s.install(t, "--label= --agent-limits=")
	assert.NotContains(t, s.object(agentPath), "team")
	assert.NotContains(t, s.object(agentPath), "256Mi")
}
