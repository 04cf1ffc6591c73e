package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Limits of a report: etcd accepts objects of 1.5 MB, and the files of a node may have any
// size.
const (
	maxCertificates = 500
	maxAuthorities  = 100
	maxGaps         = 500
	maxNames        = 50
	maxText         = 512
	maxPath         = 4096
	maxReport       = 1 << 20
)

// labels are on every report, as on all objects of this project.
var labels = map[string]string{
	"app.kubernetes.io/name":       "rotate-certs",
	"app.kubernetes.io/component":  "agent",
	"app.kubernetes.io/managed-by": "rotate-certs",
}

// NewReport makes the report of an inventory. hidden returns the directory that would have to
// be mounted to make a file visible to the agent; nil: all files are visible. A report depends
// only on the node: values that change with the clock are left to the reader, so that a report
// changes only when the node does.
func NewReport(node inventory.Node, hidden func(hostPath string) string) *v1alpha1.NodeCertificateReport {
	r := &v1alpha1.NodeCertificateReport{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeCertificateReport"},
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: labels},
	}
	r.Summary.ObservedAt = node.Time.UTC().Format(time.RFC3339)
	r.Summary.ProgramVersion = limitText(node.ProgramVersion)

	for _, c := range node.Certificates {
		reported := reportCertificate(c, node.Time, hidden)
		reported.NotRenewable = obstacleOf(&node, c)
		reported.KeptKey = limitText(plan.KeptKey(&node, c))
		r.Certificates = append(r.Certificates, reported)
		if c.Status == certs.Invalid || c.Status == certs.NotServed {
			r.Summary.Problems++
		}
	}
	for _, a := range node.Authorities {
		if a.Renewed {
			continue // nothing depends on its end
		}
		r.Authorities = append(r.Authorities, reportAuthority(a))
	}
	for _, n := range node.NotInspected {
		r.NotInspected = append(r.NotInspected, v1alpha1.ReportedGap{
			Service: n.Service, Path: limitPath(n.Path), Reason: limitText(explainHidden(n.Reason, n.Path, hidden)), Informational: n.Informational})
	}
	sortLists(r)
	for _, gap := range r.NotInspected {
		if !gap.Informational {
			r.Summary.Problems++
		}
	}
	r.Summary.Certificates = int32(len(r.Certificates)) //nolint:gosec // likewise
	setEarliest(r)
	shortenLists(r)
	return r
}

func reportCertificate(c inventory.Certificate, at time.Time, hidden func(string) string) v1alpha1.ReportedCertificate {
	out := v1alpha1.ReportedCertificate{
		Service: c.Service, Name: limitText(c.Name), Path: limitPath(c.Store.Cert), User: limitText(c.Store.User),
		Subject: limitText(c.Subject), Issuer: limitText(c.Facts.Issuer), SerialNumber: limitSerial(c.SerialNumber),
		FingerprintSHA256: c.FingerprintSHA256, NotBefore: metav1.NewTime(c.NotBefore), NotAfter: metav1.NewTime(c.NotAfter),
		SelfManaged: c.SelfManaged, Reason: c.Reason,
	}
	for _, name := range c.SANs {
		if len(out.SANs) == maxNames {
			break
		}
		out.SANs = append(out.SANs, limitText(name))
	}
	if c.FingerprintSHA256 == "" {
		out.Reason = explainHidden(c.Reason, c.Store.Cert, hidden)
	} else if _, why := c.ValidityStatus(at, 0); why != "" {
		out.Reason = inventory.ReplaceRemark(c.Reason, why, "")
	}
	out.Reason = limitText(out.Reason)
	return out
}

// obstacleOf returns the reason why a certificate cannot be renewed on its node, without values
// that change with the clock; nil: it can be.
func obstacleOf(node *inventory.Node, c inventory.Certificate) *v1alpha1.NotRenewable {
	if _, why := c.ValidityStatus(node.Time, 0); why != "" && c.FingerprintSHA256 != "" {
		c.Reason = inventory.ReplaceRemark(c.Reason, why, "")
	}
	o := plan.ObstacleTo(node, c)
	if o.Reason == "" {
		return nil
	}
	out := &v1alpha1.NotRenewable{Reason: limitText(o.Reason), MaxRestart: o.MaxRestart.APIName()}
	if plan.NeedsSignerOnly(node, c) {
		out.Authority = c.Issuer.Authority
	}
	return out
}

func reportAuthority(a inventory.Authority) v1alpha1.ReportedAuthority {
	out := v1alpha1.ReportedAuthority{
		ID: a.ID, Name: limitText(a.Name), Subject: limitText(a.Subject), SerialNumber: limitSerial(a.SerialNumber), FingerprintSHA256: a.FingerprintSHA256,
		NotBefore: metav1.NewTime(a.NotBefore), NotAfter: metav1.NewTime(a.NotAfter), HasKey: a.KeyOn != "",
	}
	if len(a.Paths) > 0 {
		out.Path = limitPath(a.Paths[0])
	}
	return out
}

// explainHidden adds the next step if a file is missing only for the agent.
func explainHidden(reason, file string, hidden func(string) string) string {
	if file == "" || hidden == nil {
		return reason
	}
	if dir := hidden(file); dir != "" {
		return fmt.Sprintf("%s; %s is not visible to the agent: kubectl rotate-certs install --agent-directory %s", reason, dir, dir)
	}
	return reason
}

// sortLists sorts the lists, since the order of discovery varies.
func sortLists(r *v1alpha1.NodeCertificateReport) {
	rank := func(s certs.Service) int { return slices.Index(certs.Services(), s) }
	slices.SortStableFunc(r.Certificates, func(a, b v1alpha1.ReportedCertificate) int {
		return cmp.Or(cmp.Compare(rank(a.Service), rank(b.Service)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path), cmp.Compare(a.User, b.User))
	})
	slices.SortStableFunc(r.Authorities, func(a, b v1alpha1.ReportedAuthority) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.FingerprintSHA256, b.FingerprintSHA256))
	})
	slices.SortStableFunc(r.NotInspected, func(a, b v1alpha1.ReportedGap) int {
		return cmp.Or(cmp.Compare(rank(a.Service), rank(b.Service)), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	r.NotInspected = slices.Compact(r.NotInspected)
}

// setEarliest fills in the certificate that expires first.
func setEarliest(r *v1alpha1.NodeCertificateReport) {
	var first *v1alpha1.ReportedCertificate
	for i := range r.Certificates {
		c := &r.Certificates[i]
		if c.FingerprintSHA256 != "" && (first == nil || c.NotAfter.Before(&first.NotAfter)) {
			first = c
		}
	}
	if first != nil {
		r.Summary.EarliestExpiry = first.NotAfter.UTC().Format(time.RFC3339)
		r.Summary.EarliestCertificate = string(first.Service) + "/" + first.Name
	}
}

// shortenLists keeps the lists within the limits of the API, and notes it in the report. Of too
// many certificates those stay that expire first.
func shortenLists(r *v1alpha1.NodeCertificateReport) {
	var left []string
	if more := len(r.Certificates) - maxCertificates; more > 0 {
		slices.SortStableFunc(r.Certificates, func(a, b v1alpha1.ReportedCertificate) int { return a.NotAfter.Compare(b.NotAfter.Time) })
		r.Certificates = r.Certificates[:maxCertificates]
		left = append(left, fmt.Sprintf("%d more certificates", more))
	}
	if more := len(r.Authorities) - maxAuthorities; more > 0 {
		r.Authorities = r.Authorities[:maxAuthorities]
		left = append(left, fmt.Sprintf("%d more certificate authorities", more))
	}
	if room := maxGaps - len(left) - 2; len(r.NotInspected) > room {
		left = append(left, fmt.Sprintf("%d more that could not be inspected", len(r.NotInspected)-room))
		r.NotInspected = r.NotInspected[:room]
	}
	if data, err := json.Marshal(r); err == nil && len(data) > maxReport-maxGaps {
		// Names need the most space, and are dropped first: every rotation scans the node
		// again.
		for i := range r.Certificates {
			r.Certificates[i].SANs = nil
		}
		left = append(left, "the names in certificates")
	}
	for _, what := range left {
		r.NotInspected = append(r.NotInspected, v1alpha1.ReportedGap{Reason: "too many to report: " + what})
	}
}

// limitText limits the texts of a node's files in the API.
func limitText(s string) string { return cutText(s, maxText) }

// limitSerial limits a serial number, which may have any length. It stays hexadecimal: the API
// rejects the whole report otherwise.
func limitSerial(s string) string { return s[:min(len(s), maxText)] }

func limitPath(s string) string { return cutText(s, maxPath) }

func cutText(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// contentOf returns everything of a report except its time: a report is new if this differs.
type content string

func contentOf(r *v1alpha1.NodeCertificateReport) content {
	bare := *r
	bare.Summary.ObservedAt = ""
	data, err := json.Marshal(&bare)
	if err != nil {
		return content(r.Summary.ObservedAt) // cannot happen; rather write too often
	}
	return content(data)
}
