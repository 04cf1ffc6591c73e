package monitoring

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// kustomized are the objects of a kustomization that has deploy as its one resource, as
// "kubectl kustomize" makes them.
func kustomized(t *testing.T, kustomization string) map[string]map[string]any {
	t.Helper()
	deploy, err := filepath.Abs(root + "deploy")
	require.NoError(t, err)
	disk, overlay := filesys.MakeFsOnDisk(), t.TempDir()
	base, err := filepath.Rel(overlay, deploy)
	require.NoError(t, err)
	require.NoError(t, disk.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("resources: ["+base+"]\n"+kustomization)))
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, overlay)
	require.NoError(t, err)
	for _, r := range made.Resources() {
		if slices.Contains(unknown, r.GetKind()) {
			_, err := r.Pipe(kyaml.Get("metadata"), kyaml.Clear("namespace"))
			require.NoError(t, err)
		}
	}
	text, err := made.AsYaml()
	require.NoError(t, err)
	return objects(t, string(text))
}

// unknown are kinds that are younger than what kustomize knows of Kubernetes. It gives them
// a namespace, which an API server removes: see EnsureObjectNamespaceMatchesRequestNamespace
// in k8s.io/apiserver/pkg/registry/rest.
var unknown = []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

// TestKustomizeIsInstall: what kustomize makes of the base is what install makes of the
// flags that say the same.
func TestKustomizeIsInstall(t *testing.T) {
	for name, tt := range map[string]struct {
		kustomization string
		flags         []string
	}{
		"nothing changed":   {"", nil},
		"another namespace": {"namespace: certs", []string{"--namespace", "certs"}},
		"other images": {`images:
- {name: ghcr.io/rotate-certs/rotate-certs-node, newName: mirror.test/rotate-certs-node, newTag: v9}
- {name: ghcr.io/rotate-certs/rotate-certs-watcher, newName: mirror.test/rotate-certs-watcher, newTag: v9}
`, []string{"--image", "mirror.test/rotate-certs-node:v9"}},
		"digests, in another namespace": {`namespace: certs
images:
- {name: ghcr.io/rotate-certs/rotate-certs-node, digest: sha256:0a}
- {name: ghcr.io/rotate-certs/rotate-certs-watcher, digest: sha256:0b}
`, []string{"--namespace", "certs", "--image", "ghcr.io/rotate-certs/rotate-certs-node@sha256:0a", "--watcher-image", "ghcr.io/rotate-certs/rotate-certs-watcher@sha256:0b"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := installed(t, tt.flags...)
			delete(want, "RotationPolicy /default") // with the defaults, which hold without it
			equal(t, want, kustomized(t, tt.kustomization))
		})
	}
}
