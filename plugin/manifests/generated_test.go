package manifests

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// generated compares a file with what it is to hold, or writes it.
func generated(t *testing.T, path, content string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	has, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, content, string(has), "make generate writes it anew")
}

// TestGeneratedRotateRole writes the roles that a rotation needs, from the very table that a
// person's permissions are checked against. Node pods of the watcher run in its own namespace.
// What it needs in namespaces of Kubernetes is part of the ClusterRole, and
// watcher-admission.yaml confines it to these: tools that move an installation to another
// namespace would move roles that lie there as well.
func TestGeneratedRotateRole(t *testing.T) {
	const namespace = "{{.Release.Namespace}}"
	var clusterWide, inNamespace []rbacv1.PolicyRule
	for _, role := range kube.Roles(kube.UseRotate, namespace) {
		switch r := role.(type) {
		case *rbacv1.ClusterRole:
			clusterWide = append(clusterWide, r.Rules...)
		case *rbacv1.Role:
			if r.Namespace == namespace {
				inNamespace = append(inNamespace, r.Rules...)
			} else {
				clusterWide = append(clusterWide, r.Rules...)
			}
		}
	}
	out := "{{- if not (or .Values.notifyOnly .Values.withoutWatcher)}}\n" +
		"# Written by \"make generate\" from the permissions in pkg/cluster/kube/preflight.go.\n"
	for i, role := range []struct {
		kind, namespace string
		rules           []rbacv1.PolicyRule
	}{
		{"ClusterRole", "", clusterWide},
		{"Role", "  namespace: " + namespace + "\n", inNamespace},
	} {
		if i > 0 {
			out += "---\n"
		}
		head := func(kind string) string {
			return "apiVersion: rbac.authorization.k8s.io/v1\nkind: " + kind + "\nmetadata:\n  name: rotate-certs-watcher:rotate\n" +
				role.namespace + "  labels: {{- template \"labels\" .}}\n    app.kubernetes.io/component: watcher\n"
		}
		rules, err := yaml.Marshal(map[string]any{"rules": role.rules})
		require.NoError(t, err)
		out += head(role.kind) + string(rules) + "---\n" + head(role.kind+"Binding") +
			"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: " + role.kind + "\n  name: rotate-certs-watcher:rotate\n" +
			"subjects:\n- kind: ServiceAccount\n  name: rotate-certs-watcher\n  namespace: " + namespace + "\n"
	}
	generated(t, "../../deploy/chart/templates/watcher-rotate.yaml", out+"{{- end}}\n")
}

// TestGeneratedKustomizeBase writes the objects of the kustomize base, which are those of an
// installation without flags. The definitions are in the chart. The RotationPolicy is left out:
// the defaults hold without it, and kubectl cannot apply an object together with the
// definition of its kind.
func TestGeneratedKustomizeBase(t *testing.T) {
	out := bytes.NewBufferString("# Written by \"make generate\" from the templates of the chart.\n")
	for _, u := range render(t, Options{Settings: Settings{Image: version.NodeImage(), WatcherImage: version.WatcherImage()}, Namespace: DefaultNamespace, Version: version.Version}) {
		if u.GetKind() == "CustomResourceDefinition" || u.GetKind() == rotationpolicy.Kind {
			continue
		}
		text, err := yaml.Marshal(u.Object)
		require.NoError(t, err)
		out.WriteString("---\n")
		out.Write(text)
	}
	generated(t, "../../deploy/kustomize/objects.yaml", out.String())
}

// TestTheChartIsOfThisVersion: its default images are those of the version.
func TestTheChartIsOfThisVersion(t *testing.T) {
	text, err := os.ReadFile("../../deploy/chart/Chart.yaml")
	require.NoError(t, err)
	var is struct{ Version, AppVersion string }
	require.NoError(t, yaml.Unmarshal(text, &is))
	assert.Equal(t, version.Version, is.AppVersion)
	assert.Equal(t, strings.TrimPrefix(version.Version, "v"), is.Version)
}
