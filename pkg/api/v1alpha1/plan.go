package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// RotationPlan is what `kubectl rotate-certs plan` prints: what a rotation would do, in which
// order, and what that means.
type RotationPlan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Continues is the id of the unfinished rotation that would be continued; absent:
	// a new one.
	Continues       string          `json:"continues,omitempty"`
	Services        []certs.Service `json:"services"`
	Restart         string          `json:"restart"`
	ValiditySeconds int64           `json:"validitySeconds,omitempty"`
	Force           bool            `json:"force,omitempty"` // what that overrides is in Effects
	// FromReports says that the nodes were not scanned: NodeCertificateReports say which
	// certificates would be renewed, and waves, issuers and restarts are not known.
	FromReports bool       `json:"fromReports,omitempty"`
	Steps       []PlanStep `json:"steps"`
	// Effects say in sentences what restarts and what that means to others.
	Effects []string `json:"effects"`
	// LeftOut are the certificates in scope that cannot be renewed, and why.
	LeftOut      []LeftOut      `json:"leftOut"`
	NotInspected []NotInspected `json:"notInspected"`
}

// PlanStep is one node's part of a plan.
type PlanStep struct {
	Node string `json:"node"`
	// Wave counts from 1; the steps of one wave may run at the same time. Among the
	// control-plane nodes the etcd leader is found at run time and taken last. 0: not known.
	Wave         int                  `json:"wave"`
	ControlPlane bool                 `json:"controlPlane"`
	Services     []PlanService        `json:"services"`
	Certificates []PlannedCertificate `json:"certificates"`
	Restarts     []certs.Service      `json:"restarts"`
	// RestartUnit is the systemd unit whose restart renews the certificates: its program makes
	// new ones when it starts. It runs all components in Restarts.
	RestartUnit string `json:"restartUnit,omitempty"`
	// OtherRestarts are static pods and units that restart as well, since they use replaced
	// files.
	OtherRestarts []string `json:"otherRestarts,omitempty"`
}

// PlanService is one service of a step.
type PlanService struct {
	Service certs.Service `json:"service"`
	// NoCertificate is set where the service has none on this node; Reason says why.
	NoCertificate bool   `json:"noCertificate,omitempty"`
	Reason        string `json:"reason,omitempty"`
	// Because says why a service that was not asked for is part of the step.
	Because string `json:"because,omitempty"`
}

// PlannedCertificate is a certificate that would be renewed.
type PlannedCertificate struct {
	Service           certs.Service `json:"service"`
	Name              string        `json:"name"`
	Path              string        `json:"path"`
	Issuer            string        `json:"issuer,omitempty"` // LocalCA, KubernetesCSR, Throwaway or UnitStart
	FingerprintSHA256 string        `json:"fingerprintSHA256"`
	NotAfter          time.Time     `json:"notAfter"`
	// NewNotAfter is when the new one will end, as far as can be told before it is signed.
	NewNotAfter time.Time `json:"newNotAfter,omitzero"`
	// LifeReason says why it will be valid clearly longer or shorter than the old one was
	// made to be; absent: it will not.
	LifeReason string `json:"lifeReason,omitempty"`
	// KeptKey says what else the key is used for, so that it stays.
	KeptKey string `json:"keptKey,omitempty"`
	// SharedKeyFile is where the key lies together with those of others of this step,
	// which all get one new key.
	SharedKeyFile string `json:"sharedKeyFile,omitempty"`
}
