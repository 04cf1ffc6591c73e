package printers

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// NewHistory makes the document of one rotation from the journals of nodes, of which one has a
// record of it. command is how the program is called, and partial is as for [PastRotations].
func NewHistory(id string, logs []nodeapi.Journal, command string, partial bool, now time.Time) v1alpha1.RotationHistory {
	var nodes []inventory.Node
	out := v1alpha1.RotationHistory{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationHistoryKind, Records: []v1alpha1.RotationRecord{}, NotInspected: []v1alpha1.NotInspected{},
	}
	for _, l := range logs {
		nodes = append(nodes, inventory.Node{Name: l.Node, Rotations: []inventory.NodeRotation{nodeapi.SummarizeRecords(id, l.Records)}})
		for _, rec := range l.Records {
			out.Records = append(out.Records, rotationRecord(rec))
		}
	}
	slices.SortStableFunc(out.Records, func(a, b v1alpha1.RotationRecord) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Node, b.Node))
	})
	out.PastRotation = PastRotations(nodes, command, partial, now)[0]
	return out
}

func rotationRecord(rec nodeapi.Record) v1alpha1.RotationRecord {
	out := v1alpha1.RotationRecord{
		Node: rec.Node, Time: rec.Time.UTC(), Kind: string(rec.Kind), Service: rec.Service, Services: rec.Services,
		Message: rec.Message, Hint: rec.Hint, Unverified: rec.Unverified, UnavailableSeconds: rec.UnavailableSeconds,
	}
	if e := rec.Evidence; e != nil {
		out.Service = e.Service
		out.Evidence = e.String()
	}
	for _, r := range rec.Renewals {
		out.Certificates = append(out.Certificates, RotatedCertificate(r))
	}
	return out
}

// RotatedCertificate is a renewal as documents show it, without evidence.
func RotatedCertificate(r inventory.Renewal) v1alpha1.RotatedCertificate {
	renewed := CertificateRef(r.New)
	name, path, _ := strings.Cut(r.ID, "@")
	_, name, _ = strings.Cut(name, "/")
	return v1alpha1.RotatedCertificate{Name: name, Path: path, Old: CertificateRef(r.Old), New: &renewed, KeptKey: r.KeptKey}
}

// CertificateRef identifies a certificate in documents.
func CertificateRef(f certs.Facts) v1alpha1.CertificateRef {
	return v1alpha1.CertificateRef{SerialNumber: f.SerialNumber, FingerprintSHA256: f.FingerprintSHA256, NotAfter: f.NotAfter}
}

// AddRecords adds the restarts and the evidence of an item's service to the item.
func AddRecords(item *v1alpha1.RotationItem, records []nodeapi.Record) {
	for _, rec := range records {
		switch {
		case rec.Kind == nodeapi.Restarted && rec.Service == item.Service:
			item.Restarted = true
			item.UnavailableSeconds += rec.UnavailableSeconds
		case rec.Kind == nodeapi.Verified && rec.Evidence.Service == item.Service:
			item.Evidence = append(item.Evidence, rec.Evidence.String())
		}
	}
}

// EvidenceFor is how a new certificate was verified; id is that of the certificate.
func EvidenceFor(id string, records []nodeapi.Record) []string {
	var out []string
	for _, rec := range records {
		if rec.Kind == nodeapi.Verified && rec.Evidence.TargetID == id {
			out = append(out, rec.Evidence.String())
		}
	}
	return out
}
