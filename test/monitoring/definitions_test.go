package monitoring

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"sigs.k8s.io/yaml"
)

// TestTheAPIServerTakesTheDefinitions, by its own code: it compiles every rule, and refuses
// those that may cost too much.
func TestTheAPIServerTakesTheDefinitions(t *testing.T) {
	names, err := filepath.Glob("../../deploy/chart/crds/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		var definition apiextensionsv1.CustomResourceDefinition
		require.NoError(t, yaml.UnmarshalStrict(raw, &definition))
		apiextensionsv1.SetDefaults_CustomResourceDefinition(&definition)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&definition.Spec)
		var internal apiextensions.CustomResourceDefinition
		require.NoError(t, apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&definition, &internal, nil))
		internal.Status.StoredVersions = []string{"v1alpha1"} // as the API server sets it
		assert.Empty(t, validation.ValidateCustomResourceDefinition(t.Context(), &internal), name)
	}
}
