//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestKilledPluginIsContinuedByTheSameCommand kills the plugin while a node is between old
// and new, and its API server or its etcd is about to restart. Until the lock has expired
// the same command is refused; --take-over continues at once.
func TestKilledPluginIsContinuedByTheSameCommand(t *testing.T) {
	service := "kube-apiserver"
	if len(the.controlPlanes()) == 1 {
		service = "etcd" // the only API server has to be available for the second run
	}
	before := the.snapshots(t)
	var names []string
	for _, n := range the.controlPlanes() {
		names = append(names, n.Name)
	}
	run := the.start(t, "rotate-certs", "--service", service, "-o", "json")
	the.waitForRecord(t, "Committing", names...)
	run.kill(syscall.SIGKILL)
	<-run.outcome

	within(t, time.Minute, "a refusal that names --take-over", func() bool {
		o := the.kubectl(t, "rotate-certs", "--service", service)
		return o.exit == 3 && strings.Contains(o.stderr, "--take-over") // 1 while the API is unavailable
	})

	began := time.Now()
	report := the.rotate(t, "--service", service, "--take-over")
	t.Logf("the second run took %s", time.Since(began).Round(time.Second))
	assert.Equal(t, "Succeeded", report.Result)
	skipped := 0
	for _, n := range the.controlPlanes() {
		after := the.snapshot(t, n.Name)
		for _, s := range the.certificates(t, service, n, after) {
			the.assertStoredAnew(t, n, s, before[n.Name], after)
		}
		if report.results()[n.Name+"/"+service] == "Skipped" {
			skipped++
		}
	}
	t.Logf("%d nodes were done by the first run and skipped by the second", skipped)
	the.assertClusterIsWhole(t)

	// Nothing is left to continue: the next one would be a new rotation.
	o := the.kubectl(t, "rotate-certs", "plan", "--service", service, "-o", "json")
	require.Zero(t, o.exit, "%s", o)
	var next struct{ Kind, Continues string }
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &next))
	assert.Equal(t, "RotationPlan", next.Kind)
	assert.Empty(t, next.Continues)
}

// stage is how far a rotation is when its plugin is killed.
type stage struct {
	name string
	come func(*testing.T, started) bool
	// recorded says that the nodes' journals know of the rotation by then.
	recorded bool
}

// says waits for words in what the plugin says, so many times.
func says(words string, times int) func(*testing.T, started) bool {
	return func(_ *testing.T, s started) bool { return strings.Count(s.stderr.String(), words) >= times }
}

// TestKilledPluginAtEveryStage kills the plugin at each boundary between its stages. The
// same command with --take-over completes the rotation, and nothing is renewed twice.
func TestKilledPluginAtEveryStage(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("each stage takes half a minute: part of soak")
	}
	const service = "kube-scheduler"
	nodes := the.controlPlanes()
	stages := []stage{
		{name: "scanning the nodes", come: says("Scanning", 1)},
		{name: "locked", come: lockIsHeld},
		{name: "pods run", come: podsRun(len(nodes))},
		{name: "staged", come: says("certificates signed", 1), recorded: true},
		{name: "the first node in progress", come: says("replacing files", 1), recorded: true},
		{name: "the first node verified", come: says("replaced · ", 1), recorded: true},
		{name: "the last node in progress", come: says("replacing files", len(nodes)), recorded: true},
		{name: "the last node verified", come: says("replaced · ", len(nodes)), recorded: true},
	}
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			before, began := the.snapshots(t), time.Now()
			run := the.start(t, "rotate-certs", "--service", service, "-o", "json")
			within(t, time.Minute, s.name, func() bool { return s.come(t, run) || len(run.outcome) > 0 })
			run.kill(syscall.SIGKILL)
			<-run.outcome

			again := the.rotate(t, "--service", service, "--take-over")
			assert.Equal(t, "Succeeded", again.Result)
			the.removeScans(t) // those of the killed process: a scan takes no lock, so it may still be in progress
			once := 1
			if id := rotationID(t, run); s.recorded && s.name == stages[len(stages)-1].name && id != again.ID {
				once = 2 // it had been quick enough to end before it was killed
			} else if s.recorded {
				assert.Equal(t, id, again.ID, "the same rotation continues")
			}
			for _, n := range nodes {
				assert.Equal(t, once, the.commits(t, n.Name, began), "%s was worked on once", n.Name)
				after := the.snapshot(t, n.Name)
				for _, c := range the.certificates(t, service, n, after) {
					the.assertStoredAnew(t, n, c, before[n.Name], after)
				}
			}
			the.assertClusterIsWhole(t)
		})
	}
}

// TestKilledPluginIsContinuedOnceItsLockHasExpired waits for the Lease instead of --take-over.
func TestKilledPluginIsContinuedOnceItsLockHasExpired(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("the Lease takes a minute and a half to expire: part of soak")
	}
	const service = "kube-scheduler"
	run := the.start(t, "rotate-certs", "--service", service, "-o", "json")
	within(t, time.Minute, "staged", func() bool { return says("certificates signed", 1)(t, run) || len(run.outcome) > 0 })
	run.kill(syscall.SIGKILL)
	<-run.outcome
	within(t, 2*time.Minute, "the end of the lease", func() bool {
		lease, err := the.client.CoordinationV1().Leases("kube-system").Get(t.Context(), "rotate-certs", metav1.GetOptions{})
		return err == nil && lease.Spec.RenewTime != nil && time.Since(lease.Spec.RenewTime.Time) > time.Minute
	})
	again := the.rotate(t, "--service", service)
	assert.Equal(t, "Succeeded", again.Result)
	assert.Equal(t, rotationID(t, run), again.ID, "the same rotation continues")
	the.assertClusterIsWhole(t)
}

// rotationID is the id that a plugin gave its rotation, by what it said.
func rotationID(t *testing.T, s started) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^Rotation ([0-9a-f]{6}),`).FindStringSubmatch(s.stderr.String())
	if found == nil {
		return "none"
	}
	return found[1]
}

func lockIsHeld(t *testing.T, _ started) bool {
	t.Helper()
	lease, err := the.client.CoordinationV1().Leases("kube-system").Get(t.Context(), "rotate-certs", metav1.GetOptions{})
	return err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != ""
}

// podsRun waits until the pods of a rotation are there, so many.
func podsRun(many int) func(*testing.T, started) bool {
	return func(t *testing.T, _ started) bool {
		t.Helper()
		pods, err := the.client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{
			LabelSelector: "app.kubernetes.io/name=rotate-certs,app.kubernetes.io/component=rotation", FieldSelector: "status.phase=Running"})
		return err == nil && len(pods.Items) >= many
	}
}
