// Package printers makes the documents that commands print, and prints them: as tables, JSON or
// YAML. "kubectl rotate-certs" and "rotate-certs-node" print with the same words.
package printers

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
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

// Formats are the values of -o, besides none.
var Formats = []string{string(JSON), string(YAML), string(Wide), string(Name)}

// ParseFormat reads the value of -o.
func ParseFormat(s string) (Format, error) {
	for _, f := range append(Formats, "") {
		if s == f {
			return Format(f), nil
		}
	}
	return "", fmt.Errorf("unknown output format %q\nhint: want one of %s", s, strings.Join(Formats, ", "))
}

// PrintDocument prints a whole document as JSON or YAML.
func PrintDocument(w io.Writer, f Format, document any) error {
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
			if cell == "" {
				cell = Nothing
			}
			cells = append(cells, CleanText(cell))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}
