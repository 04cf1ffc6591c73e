package manifests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestFieldReference keeps docs/fields.md true.
func TestFieldReference(t *testing.T) {
	files, err := filepath.Glob("../../deploy/chart/crds/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var index, page strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var crd apiextensionsv1.CustomResourceDefinition
		require.NoError(t, yaml.Unmarshal(data, &crd))
		kind := crd.Spec.Names.Kind
		version := crd.Spec.Versions[0]
		schema := version.Schema.OpenAPIV3Schema
		fmt.Fprintf(&index, "- [%s](#%s)\n", kind, strings.ToLower(kind))
		fmt.Fprintf(&page, "\n## %s\n\n`%s/%s`. %s\n\n| field | type | required | meaning |\n|---|---|---|---|\n",
			kind, crd.Spec.Group, version.Name, tableText(schema.Description))
		for _, every := range []string{"apiVersion", "kind", "metadata"} {
			delete(schema.Properties, every)
		}
		writeFields(&page, "", *schema)
	}
	want := "# Fields of the custom resources\n\nWritten by `UPDATE=1 go test -run TestFieldReference ./plugin/manifests` from the definitions. " +
		"`kubectl explain KIND.spec` prints the same.\n\n" + index.String() + page.String()
	const path = "../../docs/fields.md"
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, want, string(got), "UPDATE=1 go test -run TestFieldReference ./plugin/manifests writes docs/fields.md")
}

// writeFields lists the fields of a schema and of what lies below, in the order of their names.
func writeFields(w *strings.Builder, path string, schema apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		field := schema.Properties[name]
		kind := field.Type
		below := field
		suffix := ""
		switch {
		case field.XIntOrString:
			kind = "integer or string"
		case field.Items != nil:
			below = *field.Items.Schema
			kind = "list of " + below.Type
			suffix = "[]"
		case field.AdditionalProperties != nil:
			below = *field.AdditionalProperties.Schema
			kind = "map of " + below.Type
			suffix = ".KEY"
		}
		required := ""
		if slices.Contains(schema.Required, name) {
			required = "yes"
		}
		fmt.Fprintf(w, "| `%s%s%s` | %s | %s | %s%s |\n", path, name, suffix, kind, required, tableText(field.Description), allowedValues(below))
		writeFields(w, path+name+suffix+".", below)
	}
}

// allowedValues lists the values of an enumeration; empty where there is none.
func allowedValues(schema apiextensionsv1.JSONSchemaProps) string {
	if len(schema.Enum) == 0 {
		return ""
	}
	values := make([]string, 0, len(schema.Enum))
	for _, v := range schema.Enum {
		values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
	}
	return " One of " + strings.Join(values, ", ") + "."
}

// tableText keeps a text from ending its cell of a table.
func tableText(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}

// TestStateIsTheFirstColumn of "kubectl get certificaterotations": the services and nodes before it
// would move it out of a terminal with 80 columns.
func TestStateIsTheFirstColumn(t *testing.T) {
	data, err := os.ReadFile("../../deploy/chart/crds/rotate-certs.io_certificaterotations.yaml")
	require.NoError(t, err)
	var crd apiextensionsv1.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(data, &crd))
	for _, version := range crd.Spec.Versions {
		require.NotEmpty(t, version.AdditionalPrinterColumns)
		assert.Equal(t, "State", version.AdditionalPrinterColumns[0].Name)
	}
}
