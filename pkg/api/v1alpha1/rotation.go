package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Result is how a rotation, or a node's part of it, ended.
type Result string

// The results.
const (
	Succeeded     Result = "Succeeded"
	RolledBack    Result = "RolledBack" // as before, and verified so
	Failed        Result = "Failed"
	NoCertificate Result = "NoCertificate" // the service has none on this node
	Skipped       Result = "Skipped"       // already renewed by this rotation, or never reached
)

// RotationReport is the result of a rotation.
type RotationReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	ID         string `json:"id"`
	// RollbackOf is the id of the rotation whose old certificates it puts back; absent: it is no
	// rollback.
	RollbackOf string         `json:"rollbackOf,omitempty"`
	StartTime  time.Time      `json:"startTime"`
	EndTime    time.Time      `json:"endTime"`
	Result     Result         `json:"result"`
	Message    string         `json:"message,omitempty"` // why it did not succeed
	Items      []RotationItem `json:"items"`
	Collateral []Collateral   `json:"collateral"`
	// Overridden are the findings that --force overrode.
	Overridden []string `json:"overridden,omitempty"`
	// Notes are for the operator: access that an old certificate still gives, missing
	// verifications, copies of a kubeconfig that are now outdated.
	Notes []string `json:"notes,omitempty"`
	// LeftOut are the certificates in scope that could not be renewed, and why.
	LeftOut      []LeftOut      `json:"leftOut,omitempty"`
	NotInspected []NotInspected `json:"notInspected,omitempty"`
}

// LeftOut is a certificate in the scope of a rotation that it does not renew.
//
// +kubebuilder:object:generate=true
type LeftOut struct {
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	Service certs.Service `json:"service"`
	// +kubebuilder:validation:MaxLength=4096
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path"`
	// User is the entry in a kubeconfig.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	User string `json:"user,omitempty"`
	// NotAfter is missing where the certificate cannot be read.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitzero"`
	// Reason is why it cannot be renewed, with an alternative if one is known.
	// +kubebuilder:validation:MaxLength=32768
	Reason string `json:"reason"`
}

// RotationItem is one service on one node.
type RotationItem struct {
	Node               string               `json:"node"`
	Service            certs.Service        `json:"service"`
	Result             Result               `json:"result"`
	Reason             string               `json:"reason,omitempty"`
	Restarted          bool                 `json:"restarted"`
	UnavailableSeconds float64              `json:"unavailableSeconds"`
	Evidence           []string             `json:"evidence,omitempty"`
	Certificates       []RotatedCertificate `json:"certificates,omitempty"`
}

// RotatedCertificate is a certificate before and after.
type RotatedCertificate struct {
	Name string          `json:"name"`
	Path string          `json:"path"`
	Old  CertificateRef  `json:"old"`
	New  *CertificateRef `json:"new,omitempty"` // absent: not renewed
	// KeptKey is why the new certificate has the old key: the other use of the key, or the command
	// that keeps it. Absent: the key is new.
	KeptKey string `json:"keptKey,omitempty"`
	// SignedBy is the node that signed the new certificate, if that was another one.
	SignedBy string `json:"signedBy,omitempty"`
	// Evidence is how the new certificate was verified, "Method: detail".
	Evidence []string `json:"evidence,omitempty"`
}

// CertificateRef identifies one certificate.
type CertificateRef struct {
	SerialNumber      string    `json:"serialNumber"`
	FingerprintSHA256 string    `json:"fingerprintSHA256"`
	NotAfter          time.Time `json:"notAfter"`
}

// Collateral is an unplanned restart that this rotation caused, or an end that its kubelet will
// answer with one: a controller that lost its lease while its API server was unavailable.
type Collateral struct {
	Node    string        `json:"node"`
	Service certs.Service `json:"service"`
	Reason  string        `json:"reason"`
}
