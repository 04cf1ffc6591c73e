// Package v1alpha1 holds what others may rely on: the documents that `check`, a rotation,
// `history` and `status` print with -o json and -o yaml, and the objects through which
// the watcher and its agents work (CustomResourceDefinitions in crds/, which "make
// generate" writes). Fields are only ever added.
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
