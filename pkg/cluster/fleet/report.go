package fleet

import (
	"context"
	"errors"
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// reportOf puts together what happened, from the nodes' own records.
func (r *run) reportOf(ctx context.Context, err error) *v1alpha1.RotationReport {
	report := &v1alpha1.RotationReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationReportKind,
		ID: r.ID, RollbackOf: r.Request.RollbackOf, StartTime: r.startTime.UTC(), Result: v1alpha1.Succeeded,
		Items: []v1alpha1.RotationItem{}, Collateral: []v1alpha1.Collateral{},
	}
	if err != nil {
		report.Result = v1alpha1.Failed
		report.Message = hint.TextOf(err)
		if !errors.Is(err, ErrManualInterventionRequired) && r.anyResult(v1alpha1.RolledBack) {
			report.Result = v1alpha1.RolledBack
		}
	}
	for _, s := range r.Plan.AllSteps() {
		for _, service := range s.Services {
			report.Items = append(report.Items, r.itemOf(s, service))
		}
	}
	report.NotInspected = r.Plan.NotInspected
	report.LeftOut = printers.LeftOutItems(r.Plan.LeftOut)
	report.Collateral = append(report.Collateral, r.listCollateral(ctx)...)
	report.Notes = slices.Concat(r.notes, r.etcdCopies(), r.lifetimeNotes())
	for _, f := range r.overridden {
		report.Overridden = append(report.Overridden, f.Text)
	}
	report.EndTime = r.Now().UTC()
	return report
}

func (r *run) itemOf(s plan.Step, service plan.Service) v1alpha1.RotationItem {
	item := v1alpha1.RotationItem{Node: s.Node, Service: service.Service}
	o := r.outcomes[s.Node]
	switch {
	case service.NoCertificate:
		item.Result = v1alpha1.NoCertificate
		item.Reason = service.Note
		return item
	case o.result != "":
		item.Result = o.result
		item.Reason = o.message
	case r.Unfinished.IsDone(s.Node):
		item.Result = v1alpha1.Skipped
		item.Reason = "already renewed by this rotation"
	default:
		item.Result = v1alpha1.Skipped
		item.Reason = "not reached"
	}
	fresh := map[string]inventory.Renewal{}
	var records []nodeapi.Record // nil: an earlier run of the rotation has them, and the node's journal keeps them
	if w := r.seen[s.Node]; w != nil {
		records = w.records
		printers.AddRecords(&item, records)
		for _, rec := range w.recordsOf(nodeapi.Committed) {
			for _, renewal := range rec.Renewals {
				fresh[renewal.ID] = renewal
			}
		}
	}
	for id, renewal := range r.Unfinished.RenewedOn(s.Node) {
		if _, again := fresh[id]; !again {
			fresh[id] = renewal
		}
	}
	for _, c := range r.certificatesOf(s.Node, service.Service) {
		if r.leftOut(s.Node, c) {
			continue // listed apart from what was to be renewed
		}
		if _, again := fresh[c.ID()]; (service.Because != "" || s.RollbackOf != "") && !again && targetOf(s, c.ID()).ID == "" {
			continue // not in the scope, and no part of this
		}
		entry := v1alpha1.RotatedCertificate{Name: c.Name, Path: c.Store.Cert, Old: printers.CertificateRef(c.Facts)}
		if renewal, ok := fresh[c.ID()]; ok {
			renewed := printers.CertificateRef(renewal.New)
			entry.Old = printers.CertificateRef(renewal.Old)
			entry.New = &renewed
			entry.Evidence = printers.EvidenceFor(c.ID(), records)
			entry.KeptKey = renewal.KeptKey
			entry.SignedBy = renewal.SignedBy
		}
		item.Certificates = append(item.Certificates, entry)
	}
	return item
}

func (r *run) certificatesOf(node string, s certs.Service) []inventory.Certificate {
	var out []inventory.Certificate
	n := r.inventoryOf(node)
	if n == nil {
		return nil
	}
	for _, c := range n.Certificates {
		if c.FingerprintSHA256 != "" && (c.Service == s || slices.Contains(c.UsedBy, s)) {
			out = append(out, c)
		}
	}
	return out
}

// leftOut says whether the plan leaves a certificate as it is.
func (r *run) leftOut(node string, c inventory.Certificate) bool {
	return slices.ContainsFunc(r.Plan.LeftOut, func(l plan.LeftOut) bool {
		return l.Node == node && l.Service == c.Service && l.Name == c.Name && l.Path == c.Store.Cert && l.User == c.Store.User
	})
}
