//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// TestPolicy is the RotationPolicy of the cluster: what the API server refuses of it, what the
// watcher makes of it, and that a change takes effect without a restart.
func TestPolicy(t *testing.T) {
	o := the.kubectl(t, "rotate-certs", "install", "--dry-run=server")
	require.Zero(t, o.exit, "%s", o)
	assert.Contains(t, o.stderr, "not checked, since its kind is not defined yet")
	the.installWatcher(t)
	inForce := func(message string) func() bool {
		return func() bool {
			p := the.policy(t)
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionInForce)
			return c != nil && p.Status.ObservedGeneration == p.Generation && strings.Contains(c.Message, message)
		}
	}
	within(t, time.Minute, "the default policy in force", inForce("defaults"))
	require.Zero(t, the.kubectl(t, "wait", "--for=condition=InForce", "--timeout=10s", "rotpol/default").exit)

	for change, says := range map[string]string{
		`{"spec":{"defaults":{"mode":"automatic"}}}`:                                   `supported values: "Automatic", "NotifyOnly"`,
		`{"spec":{"defaults":{"validity":"90m"}}}`:                                     "validity is too short",
		`{"spec":{"defaults":{"threshold":{"fraction":"120%"}}}}`:                      "should match",
		`{"spec":{"defaults":{"restart":{"compromise":"Never"}}}}`:                     `supported values: "Always", "IfNeeded"`,
		`{"spec":{"rules":[{"name":"a","match":{}}]}}`:                                 "match selects every certificate",
		`{"spec":{"limits":{"maxUnavailable":0}}}`:                                     "want a number of workers",
		`{"spec":{"freeze":{"enabled":true,"until":"tomorrow"}}}`:                      "should match",
		`{"spec":{"defaults":{"override":{"never":true,"duration":"1d"}}}}`:            "never excludes duration and fraction",
		`{"spec":{"defaults":{"windows":[{"schedule":"0 2 * * 6","duration":"4w"}]}}}`: "should match",
	} {
		o := the.patchPolicy(t, change)
		assert.NotZero(t, o.exit, change)
		assert.Contains(t, o.stderr, says, change)
	}
	other := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(other, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: other}\n"), 0o600))
	o = the.kubectl(t, "create", "-f", other)
	assert.NotZero(t, o.exit)
	assert.Contains(t, o.stderr, `its name must be "default"`)

	// What it cannot see, the watcher reports, and the policy before stays in force.
	windows := func(schedule string) string {
		return `{"spec":{"defaults":{"windows":[{"schedule":"` + schedule + `","duration":"4h","timeZone":"Europe/Berlin"}]}}}`
	}
	require.Zero(t, the.patchPolicy(t, windows("0 2 30 2 *")).exit)
	within(t, time.Minute, "the policy before it in force", inForce("the policy before this change"))
	valid := meta.FindStatusCondition(the.policy(t).Status.Conditions, v1alpha1.ConditionValid)
	require.NotNil(t, valid)
	assert.Contains(t, valid.Message, "spec.defaults.windows[0].schedule")
	assert.Contains(t, the.kubectl(t, "rotate-certs", "status", "--nodes=false").stdout, "INVALID")
	o = the.kubectl(t, "rotate-certs", "policy", "check")
	assert.Equal(t, 2, o.exit)
	assert.Contains(t, o.stderr, "spec.defaults.windows[0].schedule")
	within(t, time.Minute, "the metric of an invalid policy", func() bool { return strings.Contains(the.metrics(t), "rotate_certs_policy_valid 0") })
	require.Zero(t, the.patchPolicy(t, windows("0 2 * * 6")).exit)
	within(t, time.Minute, "the new policy in force", inForce("defaults"))

	// A policy that freezes everything holds back what is due, and another lets it through.
	require.Zero(t, the.patchPolicy(t, `{"spec":{"defaults":{"windows":[]},"freeze":{"enabled":true}}}`).exit)
	within(t, time.Minute, "the freeze in force", inForce("frozen"))
	before := len(the.rotations(t))
	node := the.controlPlanes()[0]
	serial := the.putExpiring(t, node, due)
	within(t, time.Minute, "the event", func() bool { return slices.Contains(the.eventKinds(t, node.Name), "certificate.expiring") })
	assert.Len(t, the.rotations(t), before)
	assert.Contains(t, the.metrics(t), `rotate_certs_certificates_waiting{reason="Freeze"}`)
	require.Zero(t, the.patchPolicy(t, `{"spec":{"freeze":null}}`).exit)
	the.waitUntilRenewed(t, node, serial)
}

// policy is the RotationPolicy of the cluster.
func (l *lab) policy(t *testing.T) v1alpha1.RotationPolicy {
	t.Helper()
	var p v1alpha1.RotationPolicy
	if o := l.kubectl(t, "get", "rotationpolicy", "default", "-o", "json"); o.exit == 0 {
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &p))
	}
	return p
}

func (l *lab) patchPolicy(t *testing.T, change string) outcome {
	t.Helper()
	return l.kubectl(t, "patch", "rotationpolicy", "default", "--type=merge", "--patch", change)
}
