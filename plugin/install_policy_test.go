package plugin

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const policyPath = "/apis/rotate-certs.io/v1alpha1/rotationpolicies/default"

// spec is that of the stored RotationPolicy, as JSON; empty: there is none.
func (s *apiServerFake) spec() string {
	s.Lock()
	defer s.Unlock()
	if s.objects[policyPath] == nil {
		return ""
	}
	return flat(s.objects[policyPath]["spec"])
}

func TestInstallCreatesThePolicyOnlyWhereThereIsNone(t *testing.T) {
	s := newInstalled(t, "")
	assert.Contains(t, s.spec(), `"rotationsPerDay":6`, "written out, so that it is easy to change")

	s.remove(policyPath)
	s.add(t, policyPath, `{"spec":{"limits":{"rotationsPerDay":2}}}`)
	said := s.install(t, "")
	assert.Contains(t, said, "RotationPolicy default is kept; --policy FILE replaces it.")
	assert.JSONEq(t, `{"limits":{"rotationsPerDay":2}}`, s.spec())

	s.remove(policyPath)
	s.install(t, "")
	assert.NotEmpty(t, s.spec(), "it was deleted")

	s = newAPIServer(t)
	s.install(t, "--without-watcher")
	assert.NotEmpty(t, s.spec(), "a watcher that runs elsewhere reads it too")
}

func TestInstallWithAPolicyFile(t *testing.T) {
	s := newAPIServer(t)
	file := policyAt(t, policyHeader+"spec: {limits: {rotationsPerDay: 2}}\n")
	said := s.install(t, "--policy "+file)
	assert.NotContains(t, said, "is kept")
	assert.JSONEq(t, `{"limits":{"rotationsPerDay":2}}`, s.spec())
	s.log = nil
	s.install(t, "--policy "+file)
	assert.JSONEq(t, `{"limits":{"rotationsPerDay":2}}`, s.spec())

	// One that a user made, with fields that the file does not have, is replaced as a whole.
	s.remove(policyPath)
	s.add(t, policyPath, `{"metadata":{"labels":{"team":"a"}},"spec":{"freeze":{"enabled":true}},"status":{"observedGeneration":7}}`)
	said = s.install(t, "--policy "+file)
	assert.Contains(t, said, "1 changed")
	assert.JSONEq(t, `{"limits":{"rotationsPerDay":2}}`, s.spec())
	assert.Contains(t, flat(s.objects[policyPath]), `"team":"a"`)

	for text, says := range map[string]string{
		policyHeader + "spec: {limit: {}}\n":                     "spec.limit: unknown field",
		policyHeader + "spec: {defaults: {validity: 5m}}\n":      "spec.defaults.validity: ",
		strings.Replace(policyHeader, "default", "mine", 1):      `metadata.name: "mine": want "default"`,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n": `kind: "ConfigMap": want RotationPolicy`,
	} {
		s.log = nil
		code, _, stderr := s.run(t, "install", "--policy", policyAt(t, text))
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "policy.yaml")
		assert.Contains(t, stderr, says)
		assert.Empty(t, s.log)
	}
}

func TestInstallForGitPrintsThePolicy(t *testing.T) {
	s := newAPIServer(t)
	s.Close()
	file := policyAt(t, policyHeader+"spec: {limits: {rotationsPerDay: 2}}\nstatus: {observedGeneration: 3}\n")
	exported, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(exported), "name: default", `name: default, resourceVersion: "7", uid: abc`, 1)), 0o600))
	code, stdout, stderr := s.run(t, "install", "--dry-run=client", "-o", "yaml", "--policy", file)
	require.Zero(t, code, stderr)
	var found string
	for _, document := range strings.Split(stdout, "\n---\n") {
		if strings.Contains(document, "\nkind: RotationPolicy\n") {
			found = document
		}
	}
	assert.Contains(t, found, "\nspec:\n  limits:\n    rotationsPerDay: 2")
	assert.NotContains(t, found, "status")
	assert.NotContains(t, found, "resourceVersion")
	assert.Less(t, strings.Index(stdout, "name: rotationpolicies.rotate-certs.io"), strings.Index(stdout, "\nkind: RotationPolicy\n"))
}

// TestInstallServerDryRunWithoutTheKind: the API server does not know it yet.
func TestInstallServerDryRunWithoutTheKind(t *testing.T) {
	s := newAPIServer(t)
	code, stdout, stderr := s.run(t, "install", "--dry-run=server", "-o", "name")
	require.Zero(t, code, stderr)
	assert.Contains(t, stderr, "1 not checked, since its kind is not defined yet")
	assert.Contains(t, stdout, "rotationpolicy.rotate-certs.io/default\n")
	assert.Empty(t, s.log)

	s.install(t, "")
	before := s.spec()
	s.log = nil
	code, _, stderr = s.run(t, "install", "--dry-run=server", "--policy", policyAt(t, policyHeader))
	require.Zero(t, code, stderr)
	assert.NotContains(t, stderr, "not checked, since its kind is not defined yet")
	assert.Empty(t, s.log)
	assert.Equal(t, before, s.spec())
}

// TestInstallWaitsUntilTheKindIsServed: it is established, and one of several API servers does
// not serve it yet.
func TestInstallWaitsUntilTheKindIsServed(t *testing.T) {
	s := newAPIServer(t)
	s.late = map[string]int{"rotationpolicies": 5}
	s.install(t, "")
	assert.NotEmpty(t, s.spec())
	assert.Zero(t, s.late["rotationpolicies"])
}

func TestInstallNeedsNoPermissionToPatchPolicies(t *testing.T) {
	s := newAPIServer(t)
	s.forbidden = []string{"patch rotationpolicies", "delete rotationpolicies"}
	s.install(t, "")
	s = newAPIServer(t)
	s.forbidden = []string{"create rotationpolicies"}
	code, _, stderr := s.run(t, "install")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "create rotationpolicies.rotate-certs.io (install RotationPolicies)")
}
