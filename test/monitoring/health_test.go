package monitoring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// TestHealth has Argo CD's scripts and kstatus, which Flux uses, judge objects as the watcher
// leaves them.
func TestHealth(t *testing.T) {
	for name, tt := range map[string]struct {
		kind, spec, conditions string // of generation 2
		observed               int64
		argo                   string
		kstatus                status.Status
	}{
		"rotation, new": {"CertificateRotation", "", "", 0, "Progressing", status.InProgressStatus},
		"rotation, pending": {"CertificateRotation", "", `[{type: Succeeded, status: Unknown, reason: Pending, message: m}, {type: Reconciling, status: "True", reason: Pending, message: m}]`,
			2, "Progressing", status.InProgressStatus},
		"rotation, suspended": {"CertificateRotation", "suspend: true", `[{type: Succeeded, status: Unknown, reason: Suspended, message: m}, {type: Reconciling, status: "True", reason: Suspended, message: m}]`,
			2, "Suspended", status.InProgressStatus},
		"rotation, succeeded": {"CertificateRotation", "", `[{type: Succeeded, status: "True", reason: Succeeded, message: m}]`, 2, "Healthy", status.CurrentStatus},
		"rotation, some left out": {"CertificateRotation", "", `[{type: LeftOut, status: "True", reason: NotRenewable, message: x}, {type: Succeeded, status: "True", reason: Succeeded, message: m}]`,
			2, "Healthy", status.CurrentStatus},
		"rotation, failed": {"CertificateRotation", "", `[{type: Succeeded, status: "False", reason: RolledBack, message: m}, {type: Stalled, status: "True", reason: RolledBack, message: m}]`,
			2, "Degraded", status.FailedStatus},
		"rotation, changed since": {"CertificateRotation", "", `[{type: Succeeded, status: "True", reason: Succeeded, message: m}]`, 1, "Progressing", status.InProgressStatus},
		"CompromisedCertificate, on nodes": {"CompromisedCertificate", "", `[{type: Accepted, status: "True", reason: Matched, message: x}, {type: Replaced, status: "False", reason: OnNodes, message: m}, {type: Reconciling, status: "True", reason: OnNodes, message: m}]`,
			2, "Progressing", status.InProgressStatus},
		"CompromisedCertificate without a match": {"CompromisedCertificate", "", `[{type: Accepted, status: "False", reason: NoMatch, message: x}, {type: Replaced, status: Unknown, reason: NoMatch, message: m}, {type: Reconciling, status: "True", reason: NoMatch, message: m}]`,
			2, "Progressing", status.InProgressStatus},
		"CompromisedCertificate with too many matches": {"CompromisedCertificate", "", `[{type: Accepted, status: "False", reason: TooMany, message: x}, {type: Replaced, status: "False", reason: TooMany, message: m}, {type: Stalled, status: "True", reason: TooMany, message: m}]`,
			2, "Degraded", status.FailedStatus},
		"policy, new": {"RotationPolicy", "", "", 0, "Progressing", status.InProgressStatus},
		"policy, in force": {"RotationPolicy", "", `[{type: Valid, status: "True", reason: Valid, message: ""}, {type: InForce, status: "True", reason: InForce, message: m}]`,
			2, "Healthy", status.CurrentStatus},
		"policy, notify-only": {"RotationPolicy", "", `[{type: Valid, status: "True", reason: Valid, message: ""}, {type: InForce, status: "True", reason: NotifyOnly, message: m}]`,
			2, "Healthy", status.CurrentStatus},
		"policy, invalid": {"RotationPolicy", "", `[{type: Valid, status: "False", reason: Invalid, message: m}, {type: InForce, status: "False", reason: Invalid, message: x}, {type: Stalled, status: "True", reason: Invalid, message: m}]`,
			2, "Degraded", status.FailedStatus},
		"policy, changed since": {"RotationPolicy", "", `[{type: Valid, status: "True", reason: Valid, message: ""}, {type: InForce, status: "True", reason: InForce, message: m}]`,
			1, "Progressing", status.InProgressStatus},
		"CompromisedCertificate, replaced": {"CompromisedCertificate", "", `[{type: Accepted, status: "True", reason: Matched, message: x}, {type: Replaced, status: "True", reason: Replaced, message: m}]`, 2, "Healthy", status.CurrentStatus},
	} {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{"apiVersion": "rotate-certs.io/v1alpha1", "kind": tt.kind, "metadata": map[string]any{"name": "x", "generation": int64(2)}}
			object["status"] = defaultStatus(t, tt.kind)
			if tt.observed > 0 {
				object["status"] = map[string]any{"observedGeneration": tt.observed, "conditions": parse(t, tt.conditions)}
			}
			object["spec"] = parse(t, "{"+tt.spec+"}")

			said := health(t, object)
			assert.Equal(t, tt.argo, said["status"])
			if tt.observed == 2 {
				assert.Equal(t, "m", said["message"])
			}

			text, err := json.Marshal(object)
			require.NoError(t, err)
			decoded := &unstructured.Unstructured{}
			require.NoError(t, decoded.UnmarshalJSON(text))
			result, err := status.Compute(decoded)
			require.NoError(t, err)
			assert.Equal(t, tt.kstatus, result.Status)
		})
	}
}

// defaultStatus is what the API server shows of a status that nothing has written.
func defaultStatus(t *testing.T, kind string) any {
	t.Helper()
	files, err := filepath.Glob(root + "deploy/chart/crds/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		definition := &unstructured.Unstructured{Object: parse(t, string(text)).(map[string]any)}
		if name, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind"); name != kind {
			continue
		}
		versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
		require.NoError(t, err)
		value, _, err := unstructured.NestedFieldNoCopy(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "status", "default")
		require.NoError(t, err)
		return value
	}
	require.FailNow(t, "no definition", kind)
	return nil
}

func parse(t *testing.T, text string) (value any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(text), &value))
	return value
}

// health runs the script for an object as Argo CD does: with the libraries for base and
// tables only, the object as the global "obj", and a table as the result.
func health(t *testing.T, object map[string]any) map[string]string {
	t.Helper()
	var settings struct{ Data map[string]string }
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/argocd/argocd-cm.yaml"), &settings))
	script := settings.Data["resource.customizations.health.rotate-certs.io_"+object["kind"].(string)]
	require.NotEmpty(t, script)
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		require.NoError(t, state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)))
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	state.SetGlobal("obj", luaValue(state, parse(t, string(text))))
	require.NoError(t, state.DoString(script))
	table, is := state.Get(-1).(*lua.LTable)
	require.True(t, is, "a script returns a table")
	out := map[string]string{}
	table.ForEach(func(key, value lua.LValue) { out[key.String()] = value.String() })
	return out
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}
