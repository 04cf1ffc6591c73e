package printers_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func TestTemplatesPrintAsKubectlDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "template")
	require.NoError(t, os.WriteFile(file, []byte(`{.items[1].node}`), 0o600))
	list := v1alpha1.CertificateList{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.CertificateListKind, Items: []v1alpha1.Certificate{
		{Node: "cp1", Service: certs.Etcd, Name: "etcd-server"}, {Node: "cp2", Service: certs.Etcd, Name: "etcd-peer"},
	}}
	for output, want := range map[string]string{
		`jsonpath={.items[*].name}`:                        "etcd-server etcd-peer",
		`jsonpath={range .items[*]}{.node}{"\n"}{end}`:     "cp1\ncp2\n",
		`jsonpath={.items[0].noSuchField}`:                 "",
		`jsonpath-as-json={.items[?(@.node=="cp2")].name}`: "[\n    \"etcd-peer\"\n]\n",
		`jsonpath-file=` + file:                            "cp2",
		`go-template={{range .items}}{{.node}};{{end}}`:    "cp1;cp2;",
		`go-template={{.kind}} {{len .items}}`:             "CertificateList 2",
	} {
		f, err := printers.ParseFormat(output)
		require.NoError(t, err, output)
		var out bytes.Buffer
		require.NoError(t, printers.PrintCertificates(&out, f, list, list.Items[0].NotAfter))
		assert.Equal(t, want, out.String(), output)
	}
}

func TestWrongTemplatesAreRefusedAtOnce(t *testing.T) {
	for output, want := range map[string]string{
		"jsonpath":                      "hint: such as -o jsonpath='{.items[*].name}'",
		"jsonpath=":                     "the template is missing",
		"jsonpath={.items[}":            `output format "jsonpath"`,
		"go-template={{.items":          `output format "go-template"`,
		"go-template-file=/no/such/one": `output format "go-template-file": open /no/such/one`,
		"jsonpaths={.items}":            `unknown output format "jsonpaths={.items}"`,
		"json=":                         `unknown output format "json="`,
	} {
		_, err := printers.ParseFormat(output)
		assert.Contains(t, hint.TextOf(err), want, output)
	}
}
