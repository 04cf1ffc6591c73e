package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// RotationPlan is the output of `kubectl rotate-certs plan`: the steps of a rotation in their
// order, and their effects.
type RotationPlan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Continues is the id of the unfinished rotation that would be continued; absent:
	// a new one.
	Continues string `json:"continues,omitempty"`
	// RollbackOf is the id of the rotation whose old certificates are put back; absent: new ones
	// are issued.
	RollbackOf      string          `json:"rollbackOf,omitempty"`
	Services        []certs.Service `json:"services"`
	Restart         string          `json:"restart"`
	ValiditySeconds int64           `json:"validitySeconds,omitempty"`
	Force           bool            `json:"force,omitempty"` // Effects lists the overridden findings
	// FromReports means that the nodes were not scanned: the certificates are those of the
	// NodeCertificateReports, and waves, issuers and restarts are unknown.
	FromReports bool       `json:"fromReports,omitempty"`
	Steps       []PlanStep `json:"steps"`
	// Effects are the restarts and their consequences.
	Effects []string `json:"effects"`
	// LeftOut are the certificates in scope that cannot be renewed, and why.
	LeftOut      []LeftOut      `json:"leftOut"`
	NotInspected []NotInspected `json:"notInspected"`
}

// PlanStep is the part of a plan for one node.
type PlanStep struct {
	Node string `json:"node"`
	// Wave counts from 1; the steps of one wave may run at the same time. Among the
	// control-plane nodes the etcd leader is found at run time and taken last. 0: not known.
	Wave         int                  `json:"wave"`
	ControlPlane bool                 `json:"controlPlane"`
	Services     []PlanService        `json:"services"`
	Certificates []PlannedCertificate `json:"certificates"`
	Restarts     []certs.Service      `json:"restarts"`
	// RestartUnit is the systemd unit whose restart renews the certificates: its program creates
	// new ones at its start. It runs all components in Restarts.
	RestartUnit string `json:"restartUnit,omitempty"`
	// UnitCommand is a command of the distribution that renews the certificates. It is run while
	// RestartUnit is stopped, whose next start creates them, or it restarts that unit itself, see the
	// issuer of the certificates. Absent: every start creates them.
	UnitCommand string `json:"unitCommand,omitempty"`
	// OtherRestarts are static pods, units and Docker containers that restart as well, since they
	// use replaced files.
	OtherRestarts []string `json:"otherRestarts,omitempty"`
}

// PlanService is one service of a step.
type PlanService struct {
	Service certs.Service `json:"service"`
	// NoCertificate is set if the service has none on this node, for the given Reason.
	NoCertificate bool   `json:"noCertificate,omitempty"`
	Reason        string `json:"reason,omitempty"`
	// Because is why a service outside the requested scope is part of the step.
	Because string `json:"because,omitempty"`
}

// PlannedCertificate is a certificate that would be renewed.
type PlannedCertificate struct {
	Service certs.Service `json:"service"`
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	Issuer  string        `json:"issuer,omitempty"` // LocalCA, OtherNode, KubernetesCSR, Throwaway, UnitStart, UnitCommand, RestartCommand or Backup
	// SignedBy are the nodes that have the key of its CA, if its own node does not have it: the
	// first that can be reached signs.
	SignedBy          []string  `json:"signedBy,omitempty"`
	FingerprintSHA256 string    `json:"fingerprintSHA256"`
	NotAfter          time.Time `json:"notAfter"`
	// NewNotAfter is the expected expiry of the new certificate.
	NewNotAfter time.Time `json:"newNotAfter,omitzero"`
	// LifeReason is why it will be valid clearly longer or shorter than the old one; absent: it
	// will not.
	LifeReason string `json:"lifeReason,omitempty"`
	// KeptKey is why the key is kept: the other use of the key, or the command that keeps it.
	KeptKey string `json:"keptKey,omitempty"`
	// SharedKeyFile is the file of a key that several certificates of this step share; they
	// all get one new key.
	SharedKeyFile string `json:"sharedKeyFile,omitempty"`
}
