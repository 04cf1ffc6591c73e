package manifests

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// policySchema is the schema of a RotationPolicy.
func policySchema(t *testing.T) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	return definitionOf(t, "rotationpolicies").Spec.Versions[0].Schema.OpenAPIV3Schema
}

// at is the schema of a field; "[]" is the items of a list.
func at(t *testing.T, s *apiextensionsv1.JSONSchemaProps, path ...string) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	for _, name := range path {
		if name == "[]" {
			s = s.Items.Schema
			continue
		}
		next, has := s.Properties[name]
		require.True(t, has, "%v: %s", path, name)
		s = &next
	}
	return s
}

// ruled says whether the rules of a schema take a value, which is written as YAML.
func ruled(t *testing.T, s *apiextensionsv1.JSONSchemaProps, value string) bool {
	t.Helper()
	var self any
	require.NoError(t, yaml.Unmarshal([]byte(value), &self))
	require.NotEmpty(t, s.XValidations)
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType))
	require.NoError(t, err)
	for _, rule := range s.XValidations {
		ast, issues := env.Compile(rule.Rule)
		require.NoError(t, issues.Err())
		program, err := env.Program(ast)
		require.NoError(t, err)
		out, _, err := program.Eval(map[string]any{"self": self})
		if err != nil || out.Value() != true {
			return false
		}
	}
	return true
}

func TestThereIsOnePolicy(t *testing.T) {
	schema := policySchema(t)
	assert.True(t, ruled(t, schema, "{metadata: {name: default}}"))
	assert.False(t, ruled(t, schema, "{metadata: {name: mine}}"))
	assert.Contains(t, schema.XValidations[0].Message, `its name must be "default"`)
	assert.Equal(t, v1alpha1.RotationPolicyName, "default")
}

// TestTextsOfAPolicy: what the API server takes, policy check takes, and the other way round.
func TestTextsOfAPolicy(t *testing.T) {
	for field, tt := range map[string]struct {
		path  []string
		texts map[string]bool
	}{
		"defaults: {threshold: {duration: %}, validity: 9000d}": {[]string{"spec", "defaults", "threshold", "duration"}, map[string]bool{
			"90d": true, "1d12h": true, "12h": true, "90m": true, "1h30m": true, "30s": true,
			"": true, "1.5d": false, "1w": false, "90": false, "soon": false, "-5m": false, "1d1d": false, "d": false, "10000d": false, "1.5h": false, "100ms": false,
		}},
		"authorities: {fraction: %}": {[]string{"spec", "authorities", "fraction"}, map[string]bool{
			"20%": true, "90%": true, "1%": true, "0.5%": true, "12.5%": true, "0.001%": true,
			"0%": false, "0.0%": false, "91%": false, "100%": false, "20": false, "0.2": false, "-1%": false, "x%": false, "1e1%": false,
		}},
		"freeze: {until: %}": {[]string{"spec", "freeze", "until"}, map[string]bool{
			"2027-01-03T06:00:00Z": true, "2027-01-03T06:00:00+01:00": true,
			"2027-01-03": false, "2027-01-03T06:00:00": false, "2027-01-03 06:00:00Z": false, "2027-01-03T06:00:00.5Z": false,
		}},
		"defaults: {mode: %}":               {[]string{"spec", "defaults", "mode"}, map[string]bool{"Automatic": true, "NotifyOnly": true, "automatic": false, "notify-only": false}},
		"defaults: {restart: {renewal: %}}": {[]string{"spec", "defaults", "restart", "renewal"}, map[string]bool{"Always": true, "IfNeeded": true, "Never": true, "if-needed": false}},
		"defaults: {restart: {compromise: %}}": {[]string{"spec", "defaults", "restart", "compromise"}, map[string]bool{
			"Always": true, "IfNeeded": true, "Never": false}},
		"freeze: {allow: [%]}": {[]string{"spec", "freeze", "allow", "[]"}, map[string]bool{"Compromised": true, "Override": true, "override": false}},
	} {
		for text, fits := range tt.texts {
			schema := *at(t, policySchema(t), tt.path...)
			if text != "" { // that is the same as none for the watcher
				assert.Equal(t, fits, takes(t, schema, text), "%s: %q", field, text)
			}
			quoted, err := json.Marshal(text)
			require.NoError(t, err)
			_, err = rotationpolicy.Read([]byte(`{apiVersion: rotate-certs.io/v1alpha1, kind: RotationPolicy, metadata: {name: default}, spec: {` +
				strings.Replace(field, "%", string(quoted), 1) + "}}"))
			assert.Equal(t, fits, err == nil, "%s: %q: %v", field, text, err)
		}
	}
}

func TestInvalidPoliciesAreRefused(t *testing.T) {
	spec, rule := []string{"spec"}, []string{"spec", "rules", "[]"}
	for name, tt := range map[string]struct {
		path     []string
		value    string
		admitted bool
	}{
		"nothing":                             {spec, "{}", true},
		"a validity in days":                  {spec, "{defaults: {validity: 2d}, rules: [{validity: 1d}, {name: a}]}", true},
		"a validity of hours":                 {spec, "{defaults: {validity: 24h}}", true},
		"a short validity":                    {spec, "{defaults: {validity: 90m}}", false},
		"a short validity, allowed":           {spec, "{defaults: {validity: 90m, allowShortValidity: true}}", true},
		"a short validity of a rule":          {spec, "{rules: [{name: a}, {validity: 23h}]}", false},
		"a short validity of a rule, allowed": {spec, "{rules: [{validity: 23h, allowShortValidity: true}]}", true},
		"allowed by the defaults":             {spec, "{defaults: {allowShortValidity: true}, rules: [{validity: 23h}]}", true},
		"never":                               {[]string{"spec", "defaults", "override"}, "{never: true}", true},
		"never, and a time":                   {[]string{"spec", "defaults", "override"}, "{never: true, duration: 5d}", false},
		"not never, and a time":               {[]string{"spec", "defaults", "override"}, "{never: false, fraction: 5%}", true},
		"never, and a time, in a rule":        {append(rule, "override"), "{never: true, fraction: 5%}", false},
		"a match of services":                 {append(rule, "match"), "{services: [etcd]}", true},
		"a match of labels":                   {append(rule, "match"), "{nodeSelector: {matchLabels: {a: b}}}", true},
		"a match of expressions":              {append(rule, "match"), "{nodeSelector: {matchExpressions: [{key: a}]}}", true},
		"a match of issuers":                  {append(rule, "match"), "{issuers: [etcd-ca]}", true},
		"a match of everything":               {append(rule, "match"), "{}", false},
		"a match of empty lists":              {append(rule, "match"), "{services: [], issuers: [], nodeSelector: {matchLabels: {}}}", false},
		"a name":                              {append(rule, "name"), "etcd by hand", true},
		"the name of the defaults":            {append(rule, "name"), "defaults", false},
		"In without values":                   {append(rule, "match", "nodeSelector", "matchExpressions", "[]"), "{key: a, operator: In}", false},
		"Exists with values":                  {append(rule, "match", "nodeSelector", "matchExpressions", "[]"), "{key: a, operator: Exists, values: [b]}", false},
		"NotIn":                               {append(rule, "match", "nodeSelector", "matchExpressions", "[]"), "{key: a, operator: NotIn, values: [b]}", true},
		"this machine's zone":                 {append(rule, "windows", "[]", "timeZone"), "Local", false},
		"a zone":                              {append(rule, "windows", "[]", "timeZone"), "Europe/Berlin", true},
		"workers":                             {[]string{"spec", "limits", "maxUnavailable"}, `"10%"`, true},
		"no workers":                          {[]string{"spec", "limits", "maxUnavailable"}, `"0%"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.admitted, ruled(t, at(t, policySchema(t), tt.path...), tt.value))
		})
	}
	rules := at(t, policySchema(t), "spec", "rules")
	assert.Equal(t, []string{"name"}, rules.XListMapKeys, "each has a name of its own")
}

// TestThePolicyThatIsInstalledIsTheDefault: it says what holds without it.
func TestThePolicyThatIsInstalledIsTheDefault(t *testing.T) {
	for name, options := range variants() {
		object := find[*v1alpha1.RotationPolicy](t, render(t, options), v1alpha1.RotationPolicyName, "")
		p, err := rotationpolicy.Compile(&object.Spec)
		require.NoError(t, err, name)
		assert.Equal(t, renewal.Default(), p, name)
		assert.NotEmpty(t, object.Spec.Limits, "it is written out, so that a person sees what to change")
	}
}

func TestAPolicyOfAFileTakesItsPlace(t *testing.T) {
	options := base()
	options.Policy = &v1alpha1.RotationPolicy{}
	options.Policy.APIVersion, options.Policy.Kind, options.Policy.Name = v1alpha1.APIVersion, rotationpolicy.Kind, v1alpha1.RotationPolicyName
	options.Policy.Labels = map[string]string{"team": "a"}
	options.Policy.Spec.Defaults.Windows = []v1alpha1.RotationPolicyWindow{}
	object := find[*v1alpha1.RotationPolicy](t, render(t, options), v1alpha1.RotationPolicyName, "")
	assert.Equal(t, options.Policy.Spec, object.Spec)
	assert.Equal(t, "a", object.Labels["team"])
}

// TestNoRoleMayChangeThePolicy: administrators decide which users may.
func TestNoRoleMayChangeThePolicy(t *testing.T) {
	for name, options := range variants() {
		for _, u := range render(t, options) {
			role := rbacv1.ClusterRole{}
			if u.GetKind() == "ClusterRole" {
				role = *find[*rbacv1.ClusterRole](t, []*unstructured.Unstructured{u}, u.GetName(), "")
			}
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
				assert.False(t, allows(role.Rules, "rotate-certs.io", "rotationpolicies", verb), "%s: %s", name, u.GetName())
			}
		}
	}
	people := find[*rbacv1.ClusterRole](t, render(t, base()), "rotate-certs:view", "")
	assert.True(t, allows(people.Rules, "rotate-certs.io", "rotationpolicies", "list"))
}
