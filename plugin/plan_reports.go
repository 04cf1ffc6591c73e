package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
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
	printNotes(o.ErrOut, "Nothing was created or changed.")
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
	fresh, missing := freshReports(reports, chosen.Names, o.now())
	scan := o.connectionFlags.commandLine() + " " + planName
	if len(fresh) == 0 {
		return v1alpha1.RotationPlan{}, hint.AddTo(errors.New("plan without a scan: no node in scope has a fresh NodeCertificateReport"),
			"%s scans the nodes through read-only pods", scan)
	}
	document := o.reportedPlan(fresh, keysInReports(reports, all), all)
	document.NotInspected = append(document.NotInspected, printers.ExcludedItems(append(chosen.Excluded, missing...))...)
	document.Effects = reportedEffects(fresh, o.request.Restart, scan)
	return document, nil
}

// freshReports returns the usable reports of the named nodes, and which nodes have none.
func freshReports(reports []v1alpha1.NodeCertificateReport, nodes []string, now time.Time) (fresh []v1alpha1.NodeCertificateReport, missing []plan.Exclusion) {
	for _, name := range nodes {
		at := slices.IndexFunc(reports, func(r v1alpha1.NodeCertificateReport) bool { return r.Name == name })
		if at < 0 {
			missing = append(missing, plan.Exclusion{Node: name, NotInspected: inventory.NotInspected{Reason: "it has no NodeCertificateReport"}})
			continue
		}
		if reason := staleReason(reports[at], now); reason != "" {
			missing = append(missing, plan.Exclusion{Node: name, NotInspected: inventory.NotInspected{Reason: reason}})
			continue
		}
		fresh = append(fresh, reports[at])
	}
	return fresh, missing
}

// staleReason says why a report is not used; empty: it is.
func staleReason(r v1alpha1.NodeCertificateReport, now time.Time) string {
	if meta.IsStatusConditionFalse(r.Status.Conditions, v1alpha1.ConditionAccepted) {
		return "the watcher does not accept its report"
	}
	observed := observedAt(r)
	if now.Sub(observed) > v1alpha1.ReportFreshFor {
		return "its last report is of " + printers.UTCMinute(observed)
	}
	return ""
}

// observedAt is when a report was written; zero where that cannot be read.
func observedAt(r v1alpha1.NodeCertificateReport) time.Time {
	at, _ := time.Parse(time.RFC3339, r.Summary.ObservedAt) // zero is not fresh
	return at
}

// reportedPlan makes a plan of reports. They hold no components, issuers and other users of
// files, so it has neither waves nor restarts. hasKey are the CAs whose key a node has.
func (o *rotateOptions) reportedPlan(reports []v1alpha1.NodeCertificateReport, hasKey map[string]bool, nodes []kubenode.Node) v1alpha1.RotationPlan {
	out := v1alpha1.RotationPlan{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationPlanKind, FromReports: true,
		Services: o.request.Services, Restart: o.request.Restart.APIName(), ValiditySeconds: int64(o.request.Validity / time.Second),
		Steps: []v1alpha1.PlanStep{}, LeftOut: []v1alpha1.LeftOut{}, NotInspected: []v1alpha1.NotInspected{},
	}
	for _, r := range reports {
		step := v1alpha1.PlanStep{Node: r.Name, ControlPlane: isControlPlane(nodes, r.Name), Services: []v1alpha1.PlanService{},
			Certificates: []v1alpha1.PlannedCertificate{}, Restarts: []certs.Service{}}
		for _, c := range r.Certificates {
			reason := blockedReason(c, o.request.Restart)
			if signsElsewhere(c, r.Name, step.ControlPlane, hasKey) {
				reason = ""
			}
			switch {
			case !slices.Contains(o.request.Services, c.Service):
			case reason != "":
				out.LeftOut = append(out.LeftOut, v1alpha1.LeftOut{Node: r.Name, Service: c.Service, Name: c.Name, Path: c.Path, User: c.User, NotAfter: c.NotAfter, Reason: reason})
			default:
				step.Certificates = append(step.Certificates, v1alpha1.PlannedCertificate{
					Service: c.Service, Name: c.Name, Path: c.Path, FingerprintSHA256: c.FingerprintSHA256, NotAfter: c.NotAfter.Time, KeptKey: c.KeptKey})
				if service := (v1alpha1.PlanService{Service: c.Service}); !slices.Contains(step.Services, service) {
					step.Services = append(step.Services, service)
				}
			}
		}
		if len(step.Certificates) > 0 {
			out.Steps = append(out.Steps, step)
		}
		for _, gap := range r.NotInspected {
			out.NotInspected = append(out.NotInspected, v1alpha1.NotInspected{
				Node: r.Name, Service: gap.Service, Path: gap.Path, Reason: gap.Reason, Informational: gap.Informational})
		}
	}
	return out
}

// keysInReports are the ids of the CAs whose key a control-plane node has.
func keysInReports(reports []v1alpha1.NodeCertificateReport, nodes []kubenode.Node) map[string]bool {
	out := map[string]bool{}
	for _, r := range reports {
		for _, a := range r.Authorities {
			if a.HasKey && a.ID != "" && isControlPlane(nodes, r.Name) {
				out[a.ID] = true
			}
		}
	}
	return out
}

// signsElsewhere reports whether another node signs the successor of a certificate, by the CAs of which one has
// the key.
func signsElsewhere(c v1alpha1.ReportedCertificate, node string, controlPlane bool, hasKey map[string]bool) bool {
	return c.NotRenewable != nil && hasKey[c.NotRenewable.Authority] && certs.CheckIdentity(c.Subject, node, controlPlane) == nil
}

// blockedReason says why a reported certificate cannot be renewed under a restart policy.
func blockedReason(c v1alpha1.ReportedCertificate, restart plan.RestartPolicy) string {
	if c.NotRenewable == nil {
		return ""
	}
	most, err := plan.ParseRestartPolicy(c.NotRenewable.MaxRestart)
	if err != nil {
		most = "" // under no policy
	}
	if obstacle := (plan.Obstacle{Reason: c.NotRenewable.Reason, MaxRestart: most}); !obstacle.BlocksRenewal(restart) {
		return ""
	}
	return c.NotRenewable.Reason
}

func isControlPlane(nodes []kubenode.Node, name string) bool {
	return slices.ContainsFunc(nodes, func(n kubenode.Node) bool { return n.Name == name && n.ControlPlane })
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

// reportedEffects describes the limits of a plan from reports.
func reportedEffects(reports []v1alpha1.NodeCertificateReport, restart plan.RestartPolicy, scan string) []string {
	restarts := map[plan.RestartPolicy]string{
		plan.RestartAlways:   "The services that use these certificates restart (--restart=always).",
		plan.RestartIfNeeded: "The services that do not re-read these certificates restart (--restart=if-needed).",
		plan.RestartNever:    "No service restarts (--restart=never).",
	}
	return []string{
		fmt.Sprintf("Source: the NodeCertificateReports of %s, the oldest of %s.", printers.CountOf(len(reports), "node"), printers.UTCMinute(oldestReport(reports))),
		restarts[restart],
		"A scan decides the rest: the order, restarts on each node, what else uses these files, and whether an interrupted rotation is continued. See: " + scan,
	}
}
