package watched

import (
	"context"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// reportOf is the report of a rotation that the watcher carried out, as far as its status, the
// plan and the agents' reports tell.
func (r Rotation) reportOf(ctx context.Context, c *v1alpha1.CertificateRotation, document v1alpha1.RotationPlan) *v1alpha1.RotationReport {
	out := &v1alpha1.RotationReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationReportKind, ID: c.Status.RotationID, Result: resultOf(c.State()),
		StartTime: c.CreationTimestamp.UTC(), EndTime: r.Now().UTC(), Items: []v1alpha1.RotationItem{}, Collateral: []v1alpha1.Collateral{},
		Message: c.Message(), Notes: c.Status.Notes, LeftOut: c.Status.LeftOut, NotInspected: document.NotInspected,
	}
	if c.Status.StartTime != nil {
		out.StartTime = c.Status.StartTime.UTC()
	}
	if c.Status.CompletionTime != nil {
		out.EndTime = c.Status.CompletionTime.UTC()
	}
	for _, step := range document.Steps {
		for _, service := range step.Services {
			out.Items = append(out.Items, watchedItem(c, step, service))
		}
	}
	r.addSuccessors(ctx, out)
	for i := range out.Items {
		out.Items[i].Reason = withUnreported(out.Items[i])
	}
	return out
}

// withUnreported adds to the reason of a renewed service which new certificates no agent has
// reported.
func withUnreported(item v1alpha1.RotationItem) string {
	var missing []string
	for _, certificate := range item.Certificates {
		if item.Result == v1alpha1.Succeeded && certificate.New == nil {
			missing = append(missing, certificate.Name)
		}
	}
	if len(missing) == 0 {
		return item.Reason
	}
	return strings.TrimPrefix(item.Reason+"; the agent has not reported the new certificate yet: "+printers.SomeNames(missing), "; ")
}

func resultOf(state v1alpha1.RotationState) v1alpha1.Result {
	switch state {
	case v1alpha1.StateSucceeded:
		return v1alpha1.Succeeded
	case v1alpha1.StateRolledBack:
		return v1alpha1.RolledBack
	}
	return v1alpha1.Failed
}

// watchedItem is a service on a node, by the status of its node.
func watchedItem(c *v1alpha1.CertificateRotation, step v1alpha1.PlanStep, service v1alpha1.PlanService) v1alpha1.RotationItem {
	item := v1alpha1.RotationItem{Node: step.Node, Service: service.Service, Result: v1alpha1.Skipped, Reason: "not reached"}
	if service.NoCertificate {
		item.Result = v1alpha1.NoCertificate
		item.Reason = service.Reason
		return item
	}
	at := slices.IndexFunc(c.Status.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return n.Node == step.Node })
	switch {
	case at < 0 && c.State() == v1alpha1.StateSucceeded: // a status of many nodes is shortened
		item.Result = v1alpha1.Succeeded
		item.Reason = ""
		item.Restarted = slices.Contains(step.Restarts, service.Service)
	case at >= 0:
		node := c.Status.Nodes[at]
		item.Reason = node.Message
		switch fleet.Phase(strings.ToLower(node.Phase)) {
		case fleet.PhaseVerified:
			item.Result = v1alpha1.Succeeded
			item.Reason = ""
			item.Restarted = slices.Contains(step.Restarts, service.Service)
		case fleet.PhaseUndone:
			item.Result = v1alpha1.RolledBack
		case fleet.PhaseFailed:
			item.Result = v1alpha1.Failed
		}
	}
	leftOut := ""
	for _, planned := range step.Certificates {
		if planned.Service != service.Service {
			continue
		}
		if why := whyLeftOut(c, step.Node, planned); why != "" {
			leftOut = why
		} else {
			item.Certificates = append(item.Certificates, v1alpha1.RotatedCertificate{Name: planned.Name, Path: planned.Path, KeptKey: planned.KeptKey,
				Old: v1alpha1.CertificateRef{FingerprintSHA256: planned.FingerprintSHA256, NotAfter: planned.NotAfter}})
		}
	}
	if leftOut != "" && len(item.Certificates) == 0 {
		item.Result = v1alpha1.Skipped
		item.Reason = "left out: " + leftOut
		item.Restarted = false
	}
	return item
}

// whyLeftOut is why the watcher left a planned certificate out; empty: it did not.
func whyLeftOut(c *v1alpha1.CertificateRotation, node string, planned v1alpha1.PlannedCertificate) string {
	for _, l := range c.Status.LeftOut {
		if l.Node == node && l.Service == planned.Service && l.Name == planned.Name && l.Path == planned.Path {
			return l.Reason
		}
	}
	return ""
}

// addSuccessors adds the new certificates from the agents' reports. One that no agent has reported
// in time stays unknown.
func (r Rotation) addSuccessors(ctx context.Context, report *v1alpha1.RotationReport) {
	for waited := time.Duration(0); ; waited += wait.RequestEvery { // counted, since tests do not wait
		reports, err := r.Reports(ctx)
		if err == nil && fillSuccessors(report, reports) {
			return
		}
		if waited >= 15*time.Second || !r.Pause(ctx) {
			return
		}
	}
}

// fillSuccessors reports whether every renewed certificate has its successor.
func fillSuccessors(report *v1alpha1.RotationReport, reports []v1alpha1.NodeCertificateReport) bool {
	complete := true
	for i := range report.Items {
		item := &report.Items[i]
		if item.Result != v1alpha1.Succeeded {
			continue
		}
		for n := range item.Certificates {
			c := &item.Certificates[n]
			if c.New == nil {
				c.New = findSuccessor(reports, item.Node, item.Service, *c)
			}
			complete = complete && c.New != nil
		}
	}
	return complete
}

func findSuccessor(reports []v1alpha1.NodeCertificateReport, node string, service certs.Service, old v1alpha1.RotatedCertificate) *v1alpha1.CertificateRef {
	for _, r := range reports {
		for _, c := range r.Certificates {
			if r.Name == node && c.Service == service && c.Name == old.Name && c.Path == old.Path &&
				c.FingerprintSHA256 != "" && c.FingerprintSHA256 != old.Old.FingerprintSHA256 {
				return new(printers.CertificateRef(reported.CertificateOf(c).Facts))
			}
		}
	}
	return nil
}
