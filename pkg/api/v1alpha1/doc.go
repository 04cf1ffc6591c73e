// Package v1alpha1 holds the documents that others may rely on: what `check`, a
// rotation, `history` and `status` print with -o json and -o yaml. Fields are only ever added.
package v1alpha1

// APIVersion of every document in this package.
const APIVersion = "rotate-certs.io/v1alpha1"

// Kinds of the documents.
const (
	CertificateListKind = "CertificateList"
	RotationReportKind  = "RotationReport"
	RotationPlanKind    = "RotationPlan"
	RotationListKind    = "RotationList"
	RotationHistoryKind = "RotationHistory"
	RotationStatusKind  = "RotationStatus"
)
