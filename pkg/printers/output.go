// Package printers makes the documents that commands print, and prints them: as tables, JSON or
// YAML. "kubectl rotate-certs" and "rotate-certs-node" print with the same words.
package printers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// Format is the value of -o.
type Format string

// The formats.
const (
	Table Format = ""
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"
)

// Formats are the values of -o, besides none. Those that end with "=" take a template.
var Formats = append([]string{string(JSON), string(YAML), string(Wide), string(Name)}, TemplateFormats...)

// FormatUsage is the help text of -o.
const FormatUsage = "Output format: json, yaml, wide, name, or kubectl's jsonpath=TEMPLATE, jsonpath-as-json=TEMPLATE, jsonpath-file=FILE, go-template=TEMPLATE, go-template-file=FILE"

// IsDocument reports whether a whole document is printed, and no table or names.
func (f Format) IsDocument() bool { return f == JSON || f == YAML || f.isTemplate() }

// ParseFormat reads the value of -o. A template is parsed, so that a wrong one is an error before
// anything is done.
func ParseFormat(s string) (Format, error) {
	f := Format(s)
	if f.isTemplate() {
		_, err := newTemplatePrinter(f)
		return f, err
	}
	if s == "" || slices.Contains(Formats, s) {
		return f, nil
	}
	return "", hint.AddTo(fmt.Errorf("unknown output format %q", s), "want one of %s", strings.Join(Formats, ", "))
}

// PrintDocument prints a whole document as JSON, as YAML or by a template.
func PrintDocument(w io.Writer, f Format, document any) error {
	if f.isTemplate() {
		return printByTemplate(w, f, document)
	}
	var text []byte
	var err error
	if f == YAML {
		text, err = yaml.Marshal(document)
	} else {
		text, err = json.MarshalIndent(document, "", "  ")
		text = append(text, '\n')
	}
	if err != nil {
		return fmt.Errorf("encode as %s: %w", f, err)
	}
	_, err = w.Write(text)
	return err
}

// Column is a table's column; a wide one is shown only by -o wide.
type Column struct {
	Name string
	Wide bool
}

// PrintTable prints rows under the columns' names, as kubectl does.
func PrintTable(w io.Writer, f Format, columns []Column, rows [][]string) error {
	// The widths are kubectl's, see package k8s.io/cli-runtime/pkg/printers.
	table := tabwriter.NewWriter(w, 6, 4, 3, ' ', 0)
	var names []string
	for _, c := range columns {
		names = append(names, strings.ToUpper(c.Name))
	}
	for _, row := range append([][]string{names}, rows...) {
		cells := make([]string, 0, len(row))
		for i, cell := range row {
			if columns[i].Wide && f != Wide {
				continue
			}
			cell = cmp.Or(cell, Nothing)
			cells = append(cells, CleanText(cell))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// PrintNotes prints the lines that are not empty.
func PrintNotes(w io.Writer, lines ...string) {
	for _, l := range lines {
		if l != "" {
			fmt.Fprintln(w, l)
		}
	}
}
