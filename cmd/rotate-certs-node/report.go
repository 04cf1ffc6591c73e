package main

import (
	"errors"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// reportOf puts the report of a rotation by hand together from its records, of which there is at
// least one. err is the rotation's error.
func reportOf(records []nodeapi.Record, req plan.Request, left []plan.LeftOut, err error) *v1alpha1.RotationReport {
	first := records[0]
	report := &v1alpha1.RotationReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationReportKind,
		ID: first.Rotation, RollbackOf: req.RollbackOf, StartTime: first.Time.UTC(), EndTime: records[len(records)-1].Time.UTC(),
		Result: resultOf(err), Items: []v1alpha1.RotationItem{}, Collateral: []v1alpha1.Collateral{}, LeftOut: printers.LeftOutItems(left),
	}
	if report.Result != v1alpha1.Succeeded {
		report.Message = hint.TextOf(err)
	}
	staged, renewed := renewalsIn(records)
	var services []certs.Service
	for _, rec := range records {
		services = append(services, rec.Services...)
	}
	for _, r := range staged {
		services = append(services, ownerOf(r))
	}
	for _, s := range certs.SortServices(services) {
		item := v1alpha1.RotationItem{Node: first.Node, Service: s, Result: report.Result}
		printers.AddRecords(&item, records)
		for _, r := range staged {
			if ownerOf(r) == s {
				item.Certificates = append(item.Certificates, rotatedCertificate(r, renewed, records))
			}
		}
		report.Items = append(report.Items, item)
	}
	if old := printers.StillValid(report, report.EndTime); old != "" {
		report.Notes = append(report.Notes, old)
	}
	return report
}

// resultOf is the result that an error of [rotate.Engine.RotateByHand] means.
func resultOf(err error) v1alpha1.Result {
	switch {
	case err == nil, errors.Is(err, rotate.ErrLeftOut):
		return v1alpha1.Succeeded
	case errors.Is(err, rotate.ErrRolledBack):
		return v1alpha1.RolledBack
	}
	return v1alpha1.Failed
}

// renewalsIn returns the certificates that were staged and those that were committed. A unit
// whose restart renews its certificates stages none.
func renewalsIn(records []nodeapi.Record) (staged, renewed []inventory.Renewal) {
	for _, rec := range records {
		switch rec.Kind {
		case nodeapi.Staged:
			staged = rec.Renewals
		case nodeapi.Committed:
			renewed = rec.Renewals
		default:
		}
	}
	if len(staged) == 0 {
		staged = renewed
	}
	return staged, renewed
}

// ownerOf is the service in the ID of a certificate.
func ownerOf(r inventory.Renewal) certs.Service {
	service, _, _ := strings.Cut(r.ID, "/")
	return certs.Service(service)
}

func rotatedCertificate(r inventory.Renewal, renewed []inventory.Renewal, records []nodeapi.Record) v1alpha1.RotatedCertificate {
	out := printers.RotatedCertificate(r)
	if !slices.ContainsFunc(renewed, func(n inventory.Renewal) bool { return n.ID == r.ID }) {
		out.New = nil
		return out
	}
	out.Evidence = printers.EvidenceFor(r.ID, records)
	return out
}
