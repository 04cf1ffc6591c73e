package monitoring

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// plugin is the path of the plugin, which TestMain builds.
var plugin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "rotate-certs-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		plugin = filepath.Join(dir, "kubectl-rotate_certs")
		build := exec.CommandContext(context.Background(), "go", "build", "-C", root, "-o", plugin, "./cmd/kubectl-rotate_certs")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

// installed are the objects that `install` would make with flags.
func installed(t *testing.T, flags ...string) map[string]map[string]any {
	t.Helper()
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), plugin, append([]string{"install", "--dry-run=client", "-o", "yaml"}, flags...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, said.String())
	return objects(t, string(out))
}

// objects are those of a stream of documents, by kind, namespace and name.
func objects(t *testing.T, documents string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for document := range strings.SplitSeq("\n"+documents, "\n---") {
		object := map[string]any{}
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &object))
		if len(object) == 0 {
			continue
		}
		metadata := object["metadata"].(map[string]any)
		namespace, _ := metadata["namespace"].(string)
		name := object["kind"].(string) + " " + namespace + "/" + metadata["name"].(string)
		require.NotContains(t, all, name)
		all[name] = object
	}
	return all
}

// equal compares objects one by one, so that a difference can be read.
func equal(t *testing.T, want, got map[string]map[string]any) {
	t.Helper()
	assert.ElementsMatch(t, keys(want), keys(got))
	for name := range want {
		if got[name] != nil {
			assert.Equal(t, want[name], got[name], name)
		}
	}
}

func keys(objects map[string]map[string]any) []string {
	var out []string
	for name := range maps.Keys(objects) {
		out = append(out, name)
	}
	return out
}
