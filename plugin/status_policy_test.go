package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatusShowsThePolicyInForce(t *testing.T) {
	for name, tt := range map[string]struct{ object, valid, says string }{
		"none": {"", "", "Policy: there is no RotationPolicy, the defaults are in force.\n"},
		"in force": {`{"metadata":{"generation":3},"status":{"observedGeneration":3,"inForceSince":"2026-11-20T07:00:00Z","conditions":[
			{"type":"Valid","status":"True"},{"type":"InForce","status":"True","message":"defaults, rules \"a\"; frozen"}]}}`,
			"True", "Policy: in force since 2026-11-20 07:00 UTC: defaults, rules \"a\"; frozen\n"},
		"invalid": {`{"metadata":{"generation":4},"status":{"observedGeneration":4,"conditions":[
			{"type":"Valid","status":"False","message":"2 errors\n  spec.a: x\n  spec.b: y"},
			{"type":"InForce","status":"False","message":"the policy before this change (generation 3) stays in force: defaults"}]}}`,
			"False", "Policy: RotationPolicy default is INVALID: the policy before this change (generation 3) stays in force: defaults\n  2 errors\n    spec.a: x\n    spec.b: y\n"},
		"not read yet": {`{"metadata":{"generation":5},"status":{"observedGeneration":4,"conditions":[{"type":"Valid","status":"True"},{"type":"InForce","status":"True"}]}}`,
			"Unknown", "Policy: RotationPolicy default has not been read by the watcher yet.\n"},
		"never read": {`{}`, "Unknown", "Policy: RotationPolicy default has not been read by the watcher yet.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			s.remove(policyPath)
			if tt.object != "" {
				s.add(t, policyPath, tt.object)
			}
			status, words := surveyed(t, s)
			require.NotNil(t, status.Policy)
			assert.Equal(t, tt.valid, status.Policy.Valid)
			assert.Contains(t, words, tt.says)
		})
	}
}

func TestStatusWithoutPermissionForThePolicy(t *testing.T) {
	s := installed(t)
	s.forbidden = []string{"get rotationpolicies"}
	status, words := surveyed(t, s)
	assert.Nil(t, status.Policy)
	assert.Contains(t, words, "Not read: the policy: read RotationPolicy \"default\": rotationpolicies is forbidden")
}
