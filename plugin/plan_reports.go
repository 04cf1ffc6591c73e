package plugin

import (
	"context"
	"fmt"
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// storedReports reads the NodeCertificateReports of the cluster; none where their definition
// is not installed.
func (a *app) storedReports(ctx context.Context, c connection) ([]v1alpha1.NodeCertificateReport, error) {
	api, err := openObjects(c)
	if err != nil {
		return nil, err
	}
	var out []v1alpha1.NodeCertificateReport
	err = eachOf(ctx, api, reportsResource, func(r *v1alpha1.NodeCertificateReport) { out = append(out, *r) })
	if noSuchKind(err) {
		return nil, nil
	}
	return out, err
}

// runFromReports prints which certificates would be renewed, by the agents' reports.
func (o *rotateOptions) runFromReports(ctx context.Context) error {
	c, err := o.dial(o.conn)
	if err != nil {
		return err
	}
	document, err := o.planFromReports(ctx, c)
	if err != nil {
		return err
	}
	if o.format == printers.Table || o.format == printers.Wide {
		fmt.Fprintf(o.Out, "Planned without a scan: %s. The CA stays. Workloads are not touched.\n", requestScope(o.request))
	}
	if err := printPlan(o.Out, o.format, document); err != nil {
		return err
	}
	printers.PrintNotes(o.ErrOut, "Nothing was created or changed.")
	return nil
}

// planFromReports plans which certificates would be renewed, by the agents' reports. It only
// reads objects of the API and creates none, not even the reviews by which permissions are
// checked.
func (o *rotateOptions) planFromReports(ctx context.Context, c *cluster) (v1alpha1.RotationPlan, error) {
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return v1alpha1.RotationPlan{}, err
	}
	chosen, err := o.selectNodes(all, o.now())
	if err != nil {
		return v1alpha1.RotationPlan{}, err
	}
	reports, err := o.readReports(ctx, o.conn)
	if err != nil {
		return v1alpha1.RotationPlan{}, err
	}
	scope := reported.Scope{Request: o.request, Nodes: all, Names: chosen.Names, Excluded: chosen.Excluded}
	return scope.PlanRotation(reports, o.now(), o.connectionFlags.commandLine()+" "+planName)
}

// withoutColumns drops columns of a table by their names.
func withoutColumns(columns []printers.Column, rows [][]string, names ...string) ([]printers.Column, [][]string) {
	var kept []printers.Column
	out := make([][]string, len(rows))
	for i, c := range columns {
		if slices.Contains(names, c.Name) {
			continue
		}
		kept = append(kept, c)
		for n := range rows {
			out[n] = append(out[n], rows[n][i])
		}
	}
	return kept, out
}
