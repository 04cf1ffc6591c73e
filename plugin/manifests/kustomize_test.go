package manifests

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// TestKustomizeBase writes and compares the objects of the kustomize base, which are those
// of an installation without flags. The definitions are in the chart. The RotationPolicy is
// left out: the defaults hold without it, and kubectl cannot apply an object together with the
// definition of its kind.
func TestKustomizeBase(t *testing.T) {
	const path = "../../deploy/kustomize/objects.yaml"
	out := bytes.NewBufferString("# Written by \"make generate\" from plugin/manifests.\n")
	for _, u := range render(t, Options{Settings: Settings{Image: version.NodeImage(), WatcherImage: version.WatcherImage()}, Namespace: DefaultNamespace, Version: version.Version}) {
		if u.GetKind() == "CustomResourceDefinition" || u.GetKind() == rotationpolicy.Kind {
			continue
		}
		text, err := yaml.Marshal(u.Object)
		require.NoError(t, err)
		out.WriteString("---\n")
		out.Write(text)
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), out.String(), "make generate writes it anew")
}
