// Package v1alpha1 has the stable interfaces: the documents that `check`, a rotation, `history`
// and `status` print with -o json and -o yaml, and the objects of the watcher and its agents
// (their CustomResourceDefinitions are in deploy/chart/crds; "make generate" writes them).
// Fields are only ever added.
//
// +groupName=rotate-certs.io
// +versionName=v1alpha1
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
