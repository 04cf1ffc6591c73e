package plugin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// managed is an API server on which a tool of others has installed everything: it labels the
// objects, and Helm replaces a label of theirs. It does neither to definitions.
func managed(t *testing.T, labels, annotations map[string]any) *apiServerFake {
	t.Helper()
	s := installed(t)
	for path, object := range s.objects {
		if strings.Contains(path, "/customresourcedefinitions/") || !isOurs(&unstructured.Unstructured{Object: object}) {
			continue
		}
		metadata := object["metadata"].(map[string]any)
		for key, value := range labels {
			metadata["labels"].(map[string]any)[key] = value
		}
		metadata["annotations"] = annotations
	}
	return s
}

func TestManagedInstallationIsRefused(t *testing.T) {
	helm := map[string]any{"meta.helm.sh/release-name": "certs", "meta.helm.sh/release-namespace": "rotate-certs"}
	for name, tt := range map[string]struct {
		labels, annotations map[string]any
		want                string
	}{
		"Helm": {map[string]any{"app.kubernetes.io/managed-by": "Helm"}, helm,
			"error: the Helm release \"certs\" manages the installation in namespace \"rotate-certs\"\nhint: helm upgrade or helm uninstall certs --namespace rotate-certs\n"},
		"Flux, with Helm": {map[string]any{"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "certs"}, helm, "error: the HelmRelease \"certs\" of Flux manages"},
		"Flux":            {map[string]any{"kustomize.toolkit.fluxcd.io/name": "infra"}, nil, "error: the Kustomization \"infra\" of Flux manages"},
		"Argo CD": {nil, map[string]any{"argocd.argoproj.io/tracking-id": "certs:apps/DaemonSet:rotate-certs/rotate-certs-agent"},
			"error: the Application \"certs\" of Argo CD manages the installation in namespace \"rotate-certs\"\nhint: change or remove it in that tool's source; if the tool is no longer used: kubectl -n rotate-certs annotate daemonset rotate-certs-agent argocd.argoproj.io/tracking-id-\n"},
		"Argo CD before its version 3": {map[string]any{"app.kubernetes.io/instance": "certs"}, nil,
			"error: the Application \"certs\" of Argo CD, or what else has set the label app.kubernetes.io/instance, manages the installation in namespace \"rotate-certs\"\n" +
				"hint: change or remove it in that tool's source; if the tool is no longer used: kubectl -n rotate-certs label daemonset rotate-certs-agent app.kubernetes.io/instance-\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := managed(t, tt.labels, tt.annotations)
			for _, command := range [][]string{{"install"}, {"install", "--dry-run=server"}, {"install", "--namespace", "other"}, {"uninstall", "--yes"}, {"uninstall", "--dry-run"}, {"uninstall", "--yes", "--namespace", "other"}} {
				code, _, stderr := s.run(t, command...)
				assert.Equal(t, 1, code, command)
				assert.Contains(t, stderr, tt.want)
				assert.Empty(t, s.log, command)
			}
			code, out, stderr := s.run(t, "version", "-o", "json")
			require.Equal(t, 0, code, stderr)
			var got versionInfo
			require.NoError(t, json.Unmarshal([]byte(out), &got))
			require.NotNil(t, got.Installed, out)
			assert.Equal(t, version.Version, got.Installed.Agents)
			assert.Contains(t, tt.want, got.Installed.ManagedBy)
		})
	}
}

// TestUninstallOfAnotherNamespace removes nothing: objects are found in every namespace.
func TestUninstallOfAnotherNamespace(t *testing.T) {
	s := installed(t)
	code, _, stderr := s.run(t, "uninstall", "--yes", "--namespace", "other")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `rotate-certs is installed in namespace "rotate-certs", not in "other"`)
	assert.Empty(t, s.log)
}

// TestUninstallRemovesWhatHelmLeaves: definitions with their objects, and the Leases.
func TestUninstallRemovesWhatHelmLeaves(t *testing.T) {
	s := installed(t)
	for path, object := range s.objects {
		if !strings.Contains(path, "/customresourcedefinitions/") && !strings.HasPrefix(path, "/apis/rotate-certs.io/") && isOurs(&unstructured.Unstructured{Object: object}) {
			s.remove(path)
		}
	}
	code, _, stderr := s.run(t, "uninstall", "--yes")
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, s.paths("rotate-certs.io"))
}

func TestSkewOfAManagedInstallation(t *testing.T) {
	said := versionSkew("v1.2.0", &installedVersions{Agents: "v1.1.0", ManagedBy: "the Helm release \"certs\""}, displayName)
	assert.Equal(t, `The installation is older than this plugin. It is updated by the Helm release "certs"`, said)
}
