package reported

import (
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

// Scope is that of a plan: a request, and the nodes that it selects.
type Scope struct {
	Request  plan.Request
	Nodes    []kubenode.Node     // of the cluster
	Names    []string            // in scope
	Excluded []plan.NotInspected // in scope, and not reachable
}

// PlanRotation plans which certificates would be renewed. scan is the command line that plans by a
// scan. Without a fresh report it is an error.
func (s Scope) PlanRotation(reports []v1alpha1.NodeCertificateReport, now time.Time, scan string) (v1alpha1.RotationPlan, error) {
	fresh, missing := freshReports(reports, s.Names, now)
	if len(fresh) == 0 {
		return v1alpha1.RotationPlan{}, hint.AddTo(errors.New("plan without a scan: no node in scope has a fresh NodeCertificateReport"),
			"%s scans the nodes through read-only pods", scan)
	}
	document := s.makePlan(fresh, keysInReports(reports, s.Nodes))
	document.NotInspected = append(document.NotInspected, append(s.Excluded, missing...)...)
	document.Effects = describeEffects(fresh, s.Request.Restart, scan)
	return document, nil
}

// freshReports returns the usable reports of the named nodes, and which nodes have none.
func freshReports(reports []v1alpha1.NodeCertificateReport, nodes []string, now time.Time) (fresh []v1alpha1.NodeCertificateReport, missing []plan.NotInspected) {
	places := map[string]int{}
	for i := range reports {
		places[reports[i].Name] = i
	}
	for _, name := range nodes {
		at, has := places[name]
		if !has {
			missing = append(missing, plan.NotInspected{Node: name, Reason: "it has no NodeCertificateReport"})
			continue
		}
		if reason := staleReason(reports[at], now); reason != "" {
			missing = append(missing, plan.NotInspected{Node: name, Reason: reason})
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
	observed := ObservedAt(r)
	if now.Sub(observed) > v1alpha1.FreshFor(v1alpha1.ReportHeartbeat) {
		return "its last report is of " + printers.UTCMinute(observed)
	}
	return ""
}

// ObservedAt is when a report was written; zero where that cannot be read.
func ObservedAt(r v1alpha1.NodeCertificateReport) time.Time {
	at, _ := time.Parse(time.RFC3339, r.Summary.ObservedAt) // zero is not fresh
	return at
}

// makePlan makes a plan of the fresh reports of nodes in scope. They hold no components, issuers and
// other users of files, so it has neither waves nor restarts. hasKey are the CAs whose key a node has.
func (s Scope) makePlan(reports []v1alpha1.NodeCertificateReport, hasKey map[string]bool) v1alpha1.RotationPlan {
	out := v1alpha1.RotationPlan{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationPlanKind, FromReports: true,
		Services: s.Request.Services, Restart: s.Request.Restart.APIName(), ValiditySeconds: int64(s.Request.Validity / time.Second),
		Steps: []v1alpha1.PlanStep{}, LeftOut: []v1alpha1.LeftOut{}, NotInspected: []v1alpha1.NotInspected{},
	}
	controlPlane := controlPlaneNames(s.Nodes)
	for _, r := range reports {
		step := v1alpha1.PlanStep{Node: r.Name, ControlPlane: controlPlane[r.Name], Services: []v1alpha1.PlanService{},
			Certificates: []v1alpha1.PlannedCertificate{}, Restarts: []certs.Service{}}
		for _, c := range r.Certificates {
			reason := blockedReason(c, s.Request.Restart)
			if signsElsewhere(c, r.Name, step.ControlPlane, hasKey) {
				reason = ""
			}
			switch {
			case !slices.Contains(s.Request.Services, c.Service):
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
			out.NotInspected = append(out.NotInspected, plan.NotInspectedOn(r.Name, inventory.NotInspected(gap)))
		}
	}
	return out
}

// keysInReports are the ids of the CAs whose key a control-plane node has.
func keysInReports(reports []v1alpha1.NodeCertificateReport, nodes []kubenode.Node) map[string]bool {
	out := map[string]bool{}
	controlPlane := controlPlaneNames(nodes)
	for _, r := range reports {
		for _, a := range r.Authorities {
			if a.HasKey && a.ID != "" && controlPlane[r.Name] {
				out[a.ID] = true
			}
		}
	}
	return out
}

// controlPlaneNames are the names of the control-plane nodes.
func controlPlaneNames(nodes []kubenode.Node) map[string]bool {
	out := map[string]bool{}
	for i := range nodes {
		if nodes[i].ControlPlane {
			out[nodes[i].Name] = true
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

// describeEffects describes the limits of a plan from reports.
func describeEffects(reports []v1alpha1.NodeCertificateReport, restart plan.RestartPolicy, scan string) []string {
	restarts := map[plan.RestartPolicy]string{
		plan.RestartAlways:   "The services that use these certificates restart (--restart=always).",
		plan.RestartIfNeeded: "The services that do not re-read these certificates restart (--restart=if-needed).",
		plan.RestartNever:    "No service restarts (--restart=never).",
	}
	return []string{
		fmt.Sprintf("Source: the NodeCertificateReports of %s, the oldest of %s.", printers.CountOf(len(reports), "node"), printers.UTCMinute(OldestReport(reports))),
		restarts[restart],
		"A scan decides the rest: the order, restarts on each node, what else uses these files, and whether an interrupted rotation is continued. See: " + scan,
	}
}

// OldestReport is when the oldest of the reports was written.
func OldestReport(reports []v1alpha1.NodeCertificateReport) time.Time {
	oldest := ObservedAt(reports[0])
	for _, r := range reports {
		if at := ObservedAt(r); at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}
