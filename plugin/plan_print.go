package plugin

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

var planColumns = []printers.Column{{Name: "Order"}, {Name: "Node"}, {Name: "Renews"}, {Name: "Restarts"}}

// rollbackColumns are planColumns for a rollback.
var rollbackColumns = []printers.Column{{Name: "Order"}, {Name: "Node"}, {Name: "Puts back"}, {Name: "Restarts"}}

var planWideColumns = []printers.Column{
	{Name: "Order"}, {Name: "Node"}, {Name: "Service"}, {Name: "Certificate"}, {Name: "Expires"}, {Name: "Issuer"},
	{Name: "SHA256"}, {Name: "Path"},
}

// fewCertificates is how many are named in one row; more would break every terminal's
// lines, and -o wide lists them all.
const fewCertificates = 4

// printPlan prints a plan in any format.
func printPlan(w io.Writer, f printers.Format, p v1alpha1.RotationPlan) error {
	switch {
	case f.IsDocument():
		return printers.PrintDocument(w, f, p)
	case f == printers.Name:
		for _, s := range p.Steps {
			for _, c := range s.Certificates {
				fmt.Fprintf(w, "%s/%s/%s\n", s.Node, c.Service, c.Name)
			}
		}
		return nil
	}
	columns := planColumns
	if p.RollbackOf != "" {
		columns = rollbackColumns
	}
	rows := planRows(p)
	if f == printers.Wide {
		columns = planWideColumns
		rows = planWideRows(p)
	}
	if p.FromReports {
		columns, rows = withoutColumns(columns, rows, "Order", "Restarts", "Issuer")
	}
	if len(rows) > 0 {
		if err := printers.PrintTable(w, f, columns, rows); err != nil {
			return err
		}
	}
	for _, line := range printers.WithoutCertificate(planItems(p)) {
		fmt.Fprintln(w, line)
	}
	for _, e := range p.Effects {
		fmt.Fprintln(w, printers.CleanText(e))
	}
	printers.PrintLeftOut(w, p.LeftOut, p.RollbackOf)
	printers.PrintNotInspected(w, p.NotInspected)
	return nil
}

func planRows(p v1alpha1.RotationPlan) [][]string {
	var rows [][]string
	for _, s := range p.Steps {
		renews := make([]string, 0, len(s.Certificates))
		for _, c := range s.Certificates {
			renews = append(renews, c.Name)
		}
		switch {
		case len(renews) > 0:
		case !hasCertificate(s):
			continue // listed below the table
		default:
			renews = append(renews, "(done before)")
		}
		what := strings.Join(renews, ", ")
		if len(renews) > fewCertificates {
			what = fmt.Sprintf("%d certificates", len(renews))
		}
		rows = append(rows, []string{fmt.Sprint(s.Wave), s.Node, what, allRestarts(s)})
	}
	return rows
}

// allRestarts are the components, static pods, units and Docker containers that restart in a step.
func allRestarts(s v1alpha1.PlanStep) string {
	names := append([]string{}, s.OtherRestarts...)
	switch components := printers.JoinServices(s.Restarts, ", "); {
	case s.RestartUnit != "":
		names = append([]string{fmt.Sprintf("%s (%s)", s.RestartUnit, components)}, names...)
	case components != "":
		names = append([]string{components}, names...)
	}
	return strings.Join(names, ", ")
}

func planWideRows(p v1alpha1.RotationPlan) [][]string {
	var rows [][]string
	for _, s := range p.Steps {
		for _, c := range s.Certificates {
			rows = append(rows, []string{fmt.Sprint(s.Wave), s.Node, string(c.Service), c.Name, printers.UTCMinute(c.NotAfter), issuerWord(c), c.FingerprintSHA256, c.Path})
		}
	}
	return rows
}

// issuerWord is the issuer of a certificate in the wide form: its kind, or the nodes that sign.
func issuerWord(c v1alpha1.PlannedCertificate) string {
	if len(c.SignedBy) == 0 {
		return c.Issuer
	}
	return "signed by " + strings.Join(c.SignedBy, ", ")
}

// hasCertificate says that a step has a service with a certificate.
func hasCertificate(s v1alpha1.PlanStep) bool {
	return slices.ContainsFunc(s.Services, func(s v1alpha1.PlanService) bool { return !s.NoCertificate })
}

func planItems(p v1alpha1.RotationPlan) []printers.NoCertificate {
	var out []printers.NoCertificate
	for _, s := range p.Steps {
		for _, service := range s.Services {
			if service.NoCertificate {
				out = append(out, printers.NoCertificate{Node: s.Node, Service: service.Service, Reason: service.Reason})
			}
		}
	}
	return out
}

// planTitle names a rotation, its scope, and whether it is new.
func planTitle(id string, req plan.Request, unfinished *plan.Unfinished) string {
	if unfinished == nil {
		return fmt.Sprintf("Rotation %s, new: %s. The CA stays. Workloads are not touched.", id, requestScope(req))
	}
	done := slices.Sorted(maps.Keys(unfinished.Committed))
	before := "no node is done yet"
	if len(done) > 0 {
		before = printers.SomeNames(done) + " done before"
	}
	return fmt.Sprintf("Rotation %s, continued from %s (%s): %s. The CA stays. Workloads are not touched.",
		unfinished.ID, printers.UTCMinute(unfinished.StartTime), before, requestScope(req))
}

// requestScope names the services and nodes of a request.
func requestScope(req plan.Request) string {
	text := printers.JoinServices(req.Services, ", ")
	switch {
	case req.RollbackOf != "":
		text = "rollback of " + req.RollbackOf
	case len(req.Services) == len(certs.Services()):
		text = "all services"
	}
	if len(req.Nodes) > 0 {
		text += " on " + printers.SomeNames(req.Nodes)
	}
	return text
}
