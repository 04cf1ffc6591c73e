package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// The columns of a report for the time when it was made, and for what is due on its node and why
// it waits, as the CustomResourceDefinition names them.
const (
	seenColumn  = "Last Report"
	dueColumn   = "Due"
	waitsColumn = "Waiting On"
)

// row is a report's row; a column that the table lacks is empty.
type row struct{ name, observed, due, waits string }

// eachReportRow passes a row for every report.
func (s *survey) eachReportRow(ctx context.Context, fn func(row)) error {
	next := ""
	for {
		raw, err := s.client.CoreV1().RESTClient().Get().
			AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, reportsResource.Resource).
			Param("limit", strconv.Itoa(page*4)).Param("continue", next).
			SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("list reports: %w", err)
		}
		var table metav1.Table
		if err := json.Unmarshal(raw, &table); err != nil {
			return fmt.Errorf("read the list of reports: %w", err)
		}
		if !slices.ContainsFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return strings.EqualFold(c.Name, seenColumn) }) {
			return hint.AddTo(fmt.Errorf("read the list of reports: it has no column %q: their definition is of another version", seenColumn),
				"kubectl rotate-certs install updates it")
		}
		for _, r := range table.Rows {
			if len(r.Cells) == 0 {
				continue
			}
			cell := func(column string) string {
				i := slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool {
					return strings.EqualFold(c.Name, column)
				})
				if i < 0 || i >= len(r.Cells) {
					return ""
				}
				text, _ := r.Cells[i].(string) // null where there is nothing
				return text
			}
			name, _ := r.Cells[0].(string) // the first column is the name
			fn(row{name: name, observed: cell(seenColumn), due: cell(dueColumn), waits: cell(waitsColumn)})
		}
		if next = table.Continue; next == "" {
			return nil
		}
	}
}
