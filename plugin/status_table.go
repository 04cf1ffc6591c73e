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
)

// seenColumn is the column of a report that says when it was made.
const seenColumn = "seen"

// tables passes the name of every report, and when its node was seen.
func (s *survey) tables(ctx context.Context, fn func(name, observed string)) error {
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
		column := slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool {
			return strings.EqualFold(c.Name, seenColumn)
		})
		for _, row := range table.Rows {
			if len(row.Cells) == 0 {
				continue
			}
			name, _ := row.Cells[0].(string) // the first column is the name
			observed := ""
			if column >= 0 && column < len(row.Cells) {
				observed, _ = row.Cells[column].(string)
			}
			fn(name, observed)
		}
		if next = table.Continue; next == "" {
			return nil
		}
	}
}
