package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// format is the value of -o.
type format string

const (
	formatTable format = ""
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

var formats = []string{string(formatJSON), string(formatYAML), string(formatWide), string(formatName)}

// parseFormat reads the value of -o.
func parseFormat(s string) (format, error) {
	for _, f := range append(formats, "") {
		if s == f {
			return format(f), nil
		}
	}
	return "", fmt.Errorf("unknown output format %q\nhint: want one of %s", s, strings.Join(formats, ", "))
}

// printDocument prints a whole document as JSON or YAML.
func printDocument(w io.Writer, f format, document any) error {
	var text []byte
	var err error
	if f == formatYAML {
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

// column is a table's column; a wide one is shown only by -o wide.
type column struct {
	name string
	wide bool
}

// printTable prints rows under the columns' names, as kubectl does.
func printTable(w io.Writer, f format, columns []column, rows [][]string) error {
	table := &metav1.Table{}
	for _, c := range columns {
		definition := metav1.TableColumnDefinition{Name: c.name, Type: "string"}
		if c.wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, row := range rows {
		cells := make([]any, 0, len(row))
		for _, cell := range row {
			if cell == "" {
				cell = nothing
			}
			cells = append(cells, cleanText(cell))
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
	}
	return printers.NewTablePrinter(printers.PrintOptions{Wide: f == formatWide}).PrintObj(table, w)
}
