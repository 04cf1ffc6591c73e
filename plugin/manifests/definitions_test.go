package manifests

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/deploy/chart"
	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// specField is the schema of a field of the spec of a kind.
func specField(t *testing.T, plural, field string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	schema, has := definitionOf(t, plural).Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties[field]
	require.True(t, has, field)
	return schema
}

// takes says whether the API server takes a text under a schema.
func takes(t *testing.T, schema apiextensionsv1.JSONSchemaProps, text string) bool {
	t.Helper()
	for _, rule := range schema.XValidations {
		env, err := cel.NewEnv(cel.Variable("self", cel.StringType))
		require.NoError(t, err)
		ast, issues := env.Compile(rule.Rule)
		require.NoError(t, issues.Err())
		program, err := env.Program(ast)
		require.NoError(t, err)
		out, _, err := program.Eval(map[string]any{"self": text})
		if err != nil || out.Value() != true {
			return false
		}
	}
	if schema.Pattern != "" && !regexp.MustCompile(schema.Pattern).MatchString(text) {
		return false
	}
	for i, one := range schema.Enum {
		if string(one.Raw) == `"`+text+`"` {
			break
		}
		if i == len(schema.Enum)-1 {
			return false
		}
	}
	return schema.MinLength == nil || int64(len(text)) >= *schema.MinLength
}

// TestAcceptedPolicyCanBeRead: a watcher that cannot decode one object sees
// none of its kind.
func TestAcceptedPolicyCanBeRead(t *testing.T) {
	for text, fits := range map[string]bool{
		"90d": true, "1d12h": true, "9999d9999h9999m": true, "2160h": true, "90m": true, "1h30m": true, "1.5h": true, "0s": true,
		"0d": false, "d": false, "1d1d": false, "10000d": false, "1d99999999999999h": false, "1.5d": false, "1w": false, "": false, "soon": false, "-5m": false, "90": false, "5m ": false,
		"9999999999999999h": false, "99999999h": false, strings.Repeat("1h", 20): false,
	} {
		for _, field := range []string{"validity", "timeout"} {
			assert.Equal(t, fits, takes(t, specField(t, "certificaterotations", field), text), "%s %q", field, text)
			raw, err := json.Marshal(map[string]string{field: text})
			require.NoError(t, err)
			if fits {
				assert.NoError(t, json.Unmarshal(raw, &v1alpha1.CertificateRotationSpec{}), text)
			}
		}
	}
}

func TestInvalidObjectsAreRefused(t *testing.T) {
	for _, plural := range []string{"certificaterotations", "compromisedcertificates"} {
		nodes := *specField(t, plural, "nodes").Items.Schema
		assert.True(t, takes(t, nodes, "cp1.example.org"))
		assert.False(t, takes(t, nodes, ""), "it must not be taken for every node")
		assert.False(t, takes(t, nodes, " "))
	}
	services := *specField(t, "certificaterotations", "services").Items.Schema
	assert.True(t, takes(t, services, "etcd"))
	assert.False(t, takes(t, services, " "))
	reason := specField(t, "compromisedcertificates", "reason")
	assert.True(t, takes(t, reason, "the laptop is lost"))
	assert.False(t, takes(t, reason, "   "))
}

// TestEverythingInADefinitionIsBounded: what one object holds is copied into events, other
// objects and conditions, which have bounds of their own.
func TestEverythingInADefinitionIsBounded(t *testing.T) {
	for _, plural := range []string{"certificaterotations", "compromisedcertificates", "nodecertificatereports", "rotationpolicies"} {
		var walk func(path string, s apiextensionsv1.JSONSchemaProps)
		walk = func(path string, s apiextensionsv1.JSONSchemaProps) {
			switch s.Type {
			case "string":
				duration := len(s.XValidations) > 0 && strings.Contains(s.XValidations[0].Rule, "size(self) <= ")
				assert.True(t, s.MaxLength != nil || len(s.Enum) > 0 || s.Format == "date-time" || duration, "%s has no maximal length", path)
			case "integer":
				assert.True(t, s.Format != "int32" || s.Maximum != nil && *s.Maximum <= 1<<31-1 || strings.HasPrefix(path, ".summary."), "%s may be larger than what it is read into", path)
			case "array":
				assert.NotNil(t, s.MaxItems, "%s has no maximal number", path)
				walk(path+"[]", *s.Items.Schema)
			}
			if s.AdditionalProperties != nil {
				assert.NotNil(t, s.MaxProperties, "%s has no maximal number", path)
				walk(path+"{}", *s.AdditionalProperties.Schema)
			}
			for name, property := range s.Properties {
				if path == "" && (name == "apiVersion" || name == "kind" || name == "metadata") {
					continue
				}
				if strings.HasSuffix(path, ".conditions[]") {
					continue // as Kubernetes has them
				}
				if strings.Contains(strings.ToLower(name), "fingerprint") && property.Type == "string" {
					assert.Contains(t, property.Pattern, "[0-9a-f]{64}", "%s.%s", path, name)
				}
				walk(path+"."+name, property)
			}
		}
		walk("", *definitionOf(t, plural).Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
}

// admits says whether the API server takes a CertificateRotation's spec, by its rules.
func admits(t *testing.T, spec map[string]any) bool {
	t.Helper()
	spec = maps.Clone(spec)
	spec["services"] = []string{"etcd"}
	return changes(t, spec, spec)
}

// changes says whether the API server takes a change of a CertificateRotation's spec.
func changes(t *testing.T, from, to map[string]any) bool {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType), cel.Variable("oldSelf", cel.DynType))
	require.NoError(t, err)
	for _, rule := range specRules(t) {
		ast, issues := env.Compile(rule.Rule)
		require.NoError(t, issues.Err())
		program, err := env.Program(ast)
		require.NoError(t, err)
		out, _, err := program.Eval(map[string]any{"self": to, "oldSelf": from})
		if err != nil || out.Value() != true {
			return false
		}
	}
	return true
}

func specRules(t *testing.T) apiextensionsv1.ValidationRules {
	t.Helper()
	return definitionOf(t, "certificaterotations").Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].XValidations
}

func definitionOf(t *testing.T, plural string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	raw, err := chart.FS.ReadFile("crds/rotate-certs.io_" + plural + ".yaml")
	require.NoError(t, err)
	var definition apiextensionsv1.CustomResourceDefinition
	require.NoError(t, yaml.UnmarshalStrict(raw, &definition))
	return &definition
}

// TestShortNamesAreOurs: cert-manager's CertificateRequest is cr, and there are more of two letters.
func TestShortNamesAreOurs(t *testing.T) {
	for plural, want := range map[string]string{"certificaterotations": "certrot", "compromisedcertificates": "compcert", "nodecertificatereports": "ncr", "rotationpolicies": "rotpol"} {
		assert.Equal(t, []string{want}, definitionOf(t, plural).Spec.Names.ShortNames)
	}
}

func TestCompromisedKeysDoNotStayInUse(t *testing.T) {
	assert.False(t, admits(t, map[string]any{"compromised": true, "restart": "Never"}))
	assert.True(t, admits(t, map[string]any{"compromised": true, "restart": "IfNeeded"}))
	assert.True(t, admits(t, map[string]any{"compromised": false, "restart": "Never"}))
}

// TestMaxUnavailableIsANumberOrAPercentage, as a Deployment's.
func TestMaxUnavailableIsANumberOrAPercentage(t *testing.T) {
	schema := specField(t, "certificaterotations", "maxUnavailable")
	assert.True(t, schema.XIntOrString)
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType))
	require.NoError(t, err)
	ast, issues := env.Compile(schema.XValidations[0].Rule)
	require.NoError(t, issues.Err())
	program, err := env.Program(ast)
	require.NoError(t, err)
	for value, fits := range map[any]bool{1: true, 10: true, 999999999: true, 3000000000: false, "3": true, "10%": true, 0: false, -1: false, "0%": false, "": false, "many": false, "9999999999": false} {
		out, _, err := program.Eval(map[string]any{"self": value})
		require.NoError(t, err)
		assert.Equal(t, fits, out.Value(), "%v", value)
		if raw, err := json.Marshal(map[string]any{"maxUnavailable": value}); fits && assert.NoError(t, err) {
			var spec v1alpha1.CertificateRotationSpec
			require.NoError(t, json.Unmarshal(raw, &spec))
			assert.NoError(t, plan.ValidateMaxUnavailable(spec.MaxUnavailable.String()))
		}
	}
}

// TestShortValidityNeedsPermission in the object, as it does on the command line.
func TestShortValidityNeedsPermission(t *testing.T) {
	for name, tt := range map[string]struct {
		spec     map[string]any
		admitted bool
	}{
		"none":                       {map[string]any{}, true},
		"a day":                      {map[string]any{"validity": "24h"}, true},
		"90 days":                    {map[string]any{"validity": "2160h"}, true},
		"90 minutes":                 {map[string]any{"validity": "90m"}, false},
		"nothing":                    {map[string]any{"validity": "0s"}, false},
		"90 minutes, not allowed":    {map[string]any{"validity": "90m", "allowShortValidity": false}, false},
		"90 minutes, allowed":        {map[string]any{"validity": "90m", "allowShortValidity": true}, true},
		"nine minutes, even allowed": {map[string]any{"validity": "9m", "allowShortValidity": true}, false},
		"in days":                    {map[string]any{"validity": "90d"}, true},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.admitted, admits(t, tt.spec)) })
	}
	assert.True(t, slices.ContainsFunc(specRules(t), func(r apiextensionsv1.ValidationRule) bool { return strings.Contains(r.Rule, "duration('24h')") }), "plan.MinValidity")
	assert.Equal(t, 24*time.Hour, plan.MinValidity)
	assert.Equal(t, 10*time.Minute, plan.LeastValidity)
}

// TestNothingOfARotationIsChangedButSuspend and how long its object stays: a change of
// another field would change what was agreed to. A field that is added to the spec has to be
// named in the rule.
func TestNothingOfARotationIsChangedButSuspend(t *testing.T) {
	from := map[string]any{
		"services": []string{"etcd"}, "nodes": []string{"cp1"}, "restart": "Always", "validity": "90d", "allowShortValidity": true, "maxUnavailable": 1,
		"timeout": "1m", "pause": "1m", "compromised": true, "requireAll": true, "trigger": map[string]any{"attempt": 1},
	}
	fields := definitionOf(t, "certificaterotations").Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties
	for field := range fields {
		removed, added := maps.Clone(from), maps.Clone(from)
		delete(removed, field)
		delete(added, field)
		other := maps.Clone(added)
		added[field], other[field] = "120d", "121d"
		free := field == "suspend" || field == "ttlSecondsAfterFinished"
		if field == "nodeSelector" { // excludes nodes, whatever changes
			delete(added, "nodes")
			delete(other, "nodes")
		}
		if field != "services" {
			assert.Equal(t, free, changes(t, removed, added), "%s is added", field)
			assert.Equal(t, free, changes(t, added, removed), "%s is removed", field)
		}
		assert.Equal(t, free, changes(t, added, other), "%s is changed", field)
	}
}

// TestPauseIsShort: a watcher that says nothing for an hour is taken for one that hangs.
func TestPauseIsShort(t *testing.T) {
	schema := specField(t, "certificaterotations", "pause")
	for text, fits := range map[string]bool{"90s": true, "30m": true, "0s": true, "31m": false, "1h": false, "1d": false, "-1s": false, "90": false, "": false} {
		assert.Equal(t, fits, takes(t, schema, text), text)
	}
}

func TestNodesAreNamedOrSelected(t *testing.T) {
	selector := map[string]any{"matchLabels": map[string]any{"env": "test"}}
	assert.True(t, admits(t, map[string]any{"nodeSelector": selector}))
	assert.Len(t, specField(t, "certificaterotations", "nodeSelector").XValidations, 1, "an empty one would select every node")
	assert.False(t, admits(t, map[string]any{"nodeSelector": selector, "nodes": []string{"w1"}}))
}
