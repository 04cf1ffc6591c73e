package rotationpolicy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// TestWrittenPolicyIsReadAgain: an empty list is not the same as none.
func TestWrittenPolicyIsReadAgain(t *testing.T) {
	for _, text := range []string{everything, header, header + "spec: {freeze: {enabled: true, allow: []}, defaults: {windows: []}}\n"} {
		object, err := rotationpolicy.Read([]byte(text))
		require.NoError(t, err)
		written, err := yaml.Marshal(object)
		require.NoError(t, err)
		again, err := rotationpolicy.Read(written)
		require.NoError(t, err, string(written))
		assert.Equal(t, object, again)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":                       {"", "the file is empty\nhint: it needs at least apiVersion: rotate-certs.io/v1alpha1, kind: RotationPolicy, metadata: {name: default}"},
		"comments only":                 {"# later\n", "the file is empty"},
		"a list":                        {"- a\n", "cannot unmarshal array"},
		"a text":                        {"hello\n", "cannot unmarshal string"},
		"not YAML":                      {"a: [1\n", "yaml: line 1: did not find expected"},
		"two documents":                 {header + "---\n" + header, "the file has a second document; want one"},
		"another version":               {"apiVersion: rotate-certs.io/v2\nkind: RotationPolicy\nmetadata: {name: default}\n", `apiVersion: "rotate-certs.io/v2": want rotate-certs.io/v1alpha1`},
		"no kind":                       {"apiVersion: rotate-certs.io/v1alpha1\nmetadata: {name: default}\n", `kind: "": want RotationPolicy`},
		"another name":                  {"apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: mine}\n", `metadata.name: "mine": want "default", a cluster has one RotationPolicy`},
		"no name":                       {"apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\n", `metadata.name: "": want "default"`},
		"a mistyped field":              {header + "spec: {defaults: {treshold: {duration: 30d}}}\n", "spec.defaults.treshold: unknown field"},
		"a field outside of the spec":   {header + "limits: {}\n", "limits: unknown field"},
		"a field twice":                 {header + "spec:\n  limits: {}\n  limits: {}\n", `key "limits" already set`},
		"a field in another case":       {header + "spec: {Limits: {}}\n", "spec.Limits: unknown field"},
		"a list for a text":             {header + "spec: {defaults: {mode: [Automatic]}}\n", "spec.defaults.mode: want a string, not array"},
		"a text for a list":             {header + "spec: {rules: none}\n", "spec.rules: want a list, not string"},
		"a text for a number":           {header + "spec: {limits: {rotationsPerDay: many}}\n", "spec.limits.rotationsPerDay: want a whole number, not string"},
		"a fraction that is no percent": {header + "spec: {defaults: {threshold: {fraction: 0.2}}}\n", "spec.defaults.threshold.fraction: want a string, not number"},
		"yes for true in quotes":        {header + "spec: {freeze: {enabled: \"yes\"}}\n", "spec.freeze.enabled: want true or false, not string"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rotationpolicy.Read([]byte(tt.text))
			require.Error(t, err)
			assert.Contains(t, hint.TextOf(err), tt.want)
		})
	}
}

// TestAllErrorsAreReportedAtOnce: those of the form, of types and of meaning.
func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	_, err := rotationpolicy.Read([]byte(`apiVersion: rotate-certs.io/v1alpha1
kind: RotationPolicy
metadata: {name: mine}
spec:
  defaults: {mode: notify, treshold: 30d}
  rules:
  - {name: a, match: {services: [ectd]}}
  - {name: b, match: {issuers: [x]}, windows: [{schedule: 61 * * * *, duration: 1h}], windw: []}
  limits: {rotationsPerDay: many, nodesPerRotation: [1]}
`))
	var found rotationpolicy.Errors
	require.ErrorAs(t, err, &found)
	var fields []string
	for _, e := range found {
		fields = append(fields, e.Field)
	}
	assert.ElementsMatch(t, []string{
		"metadata.name", "spec.defaults.mode", "spec.defaults.treshold", "spec.rules[0].match.services[0]",
		"spec.rules[1].windows[0].schedule", "spec.rules[1].windw", "spec.limits.rotationsPerDay", "spec.limits.nodesPerRotation",
	}, fields, err)
	assert.Contains(t, err.Error(), "8 errors\n  ")
}

// FuzzRead: no input makes it panic, and what it accepts survives being written.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{everything, header, "", "- a", "a: &x [*x]", header + "spec: {" + windows("*/0 * * * *", "1h", "UTC") + "}",
		header + "spec: {" + windows("0 0 29 2 *", "7d", "America/St_Johns") + "}", "{", "a: !!binary x", "? a\n: b", header + "spec: {rules: [{name: 1, match: {issuers: [x]}}]}"} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := rotationpolicy.Read(data)
		if err != nil {
			return
		}
		p, err := rotationpolicy.Compile(&object.Spec)
		require.NoError(t, err)
		for _, w := range p.Default.Windows {
			w.OpenAt(now)
		}
		written, err := yaml.Marshal(object)
		require.NoError(t, err)
		again, err := rotationpolicy.Read(written)
		require.NoError(t, err, string(written))
		twice, err := yaml.Marshal(again)
		require.NoError(t, err)
		assert.Equal(t, string(written), string(twice))
	})
}
