package printers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubeprinters "k8s.io/cli-runtime/pkg/printers"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// The formats whose value has a template after "=", as kubectl's.
const (
	jsonPath       = "jsonpath"
	jsonPathAsJSON = "jsonpath-as-json"
	jsonPathFile   = "jsonpath-file"
	goTemplate     = "go-template"
	goTemplateFile = "go-template-file"
)

// TemplateFormats are the values of -o that take a template, without it.
var TemplateFormats = []string{jsonPath + "=", jsonPathAsJSON + "=", jsonPathFile + "=", goTemplate + "=", goTemplateFile + "="}

// isTemplate reports whether a format takes a template.
func (f Format) isTemplate() bool {
	return slices.ContainsFunc(TemplateFormats, func(name string) bool { return strings.HasPrefix(string(f)+"=", name) })
}

// newTemplatePrinter returns kubectl's printer for a format with a template. Fields that a document
// does not have print as nothing, or as <no value>.
func newTemplatePrinter(f Format) (kubeprinters.ResourcePrinter, error) {
	name, template, _ := strings.Cut(string(f), "=")
	if template == "" {
		return nil, hint.AddTo(fmt.Errorf("output format %q: the template is missing", name), "such as -o %s", templateExample(name))
	}
	if name == jsonPathFile || name == goTemplateFile {
		text, err := os.ReadFile(template)
		if err != nil {
			return nil, fmt.Errorf("output format %q: %w", name, err)
		}
		template = string(text)
	}
	if name == goTemplate || name == goTemplateFile {
		made, err := kubeprinters.NewGoTemplatePrinter([]byte(template))
		if err != nil {
			return nil, fmt.Errorf("output format %q: %w", name, err)
		}
		return made, nil
	}
	made, err := kubeprinters.NewJSONPathPrinter(template)
	if err != nil {
		return nil, fmt.Errorf("output format %q: %w", name, err)
	}
	made.AllowMissingKeys(true)
	made.EnableJSONOutput(name == jsonPathAsJSON)
	return made, nil
}

func templateExample(name string) string {
	switch name {
	case goTemplate:
		return `go-template='{{range .items}}{{.name}}{{"\n"}}{{end}}'`
	case goTemplateFile, jsonPathFile:
		return name + "=FILE"
	}
	return name + "='{.items[*].name}'"
}

// printByTemplate prints a document by the template of a format.
func printByTemplate(w io.Writer, f Format, document any) error {
	printer, err := newTemplatePrinter(f)
	if err != nil {
		return err
	}
	text, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode as %s: %w", f, err)
	}
	object := map[string]any{}
	if err := json.Unmarshal(text, &object); err != nil {
		return errors.New("a template needs one object to print")
	}
	return printer.PrintObj(&unstructured.Unstructured{Object: object}, w)
}
