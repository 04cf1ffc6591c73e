// Package plan turns a request and the inventories of the nodes into a value: waves of steps. A
// dry run prints it, package fleet carries it out; nothing here does I/O.
package plan

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Request is a request for a rotation.
type Request struct {
	Services []certs.Service // in the order of certs.Services; never empty
	Nodes    []string        // empty: every node
	// NodeSelector selects nodes by their labels, as in "kubectl get nodes --selector"; empty:
	// Nodes counts. Package prepare replaces it by the names of the nodes.
	NodeSelector string
	Restart      RestartPolicy
	Validity     time.Duration // 0: each lives as long as its predecessor
	// ValidityFrom is the source of Validity if it was not requested: "the cluster's kubeadm
	// configuration".
	ValidityFrom string
	// AllowShortValidity allows a Validity below [MinValidity].
	AllowShortValidity bool
	// MaxUnavailable is a number ("3") or a percentage ("10%") of the workers that
	// may be worked on at a time; rounded down, at least 1.
	MaxUnavailable string
	// Compromised means that the old keys may be compromised: the new certificates are signed
	// with the CA's key and not through a node's own identity, and the old keys are destroyed
	// once the new ones are verified.
	Compromised bool
	// Recover renews only on nodes with an expired certificate, and there only those that have
	// expired or expire soon. On a control-plane node that cannot work with what has expired,
	// all components are restarted: also those that wait for each other.
	Recover bool
	// RequireAll refuses a plan that leaves a certificate in scope out.
	RequireAll bool
	// StepOf plans the step of one node only, as the whole rotation has it; empty: of all.
	StepOf string
	// RollbackOf is the id of an earlier rotation whose old certificates are put back, from the
	// files that the nodes keep of it; empty: successors are issued. Services does not count then.
	RollbackOf string
}

// Plan is an ordered list of waves. Steps of one wave may run at the same time;
// a wave starts only when the one before it is verified.
type Plan struct {
	Waves []Wave `json:"waves"`
	// LeftOut are the certificates in scope that cannot be renewed, and why.
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	// NotInspected lists nodes, files and components that could not be inspected, with the
	// reason.
	NotInspected []NotInspected `json:"notInspected,omitempty"`
}

// NotInspected is a node, file or component that could not be inspected, with the reason. No step
// changes it.
type NotInspected struct {
	Node    string        `json:"node"`
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path,omitempty"`
	Reason  string        `json:"reason"`
	// Informational means that this is expected, or cannot be changed. It does not change the
	// exit code.
	Informational bool `json:"informational,omitempty"`
}

// NotInspectedOn is what a scan could not inspect on a node.
func NotInspectedOn(node string, x inventory.NotInspected) NotInspected {
	return NotInspected{Node: node, Service: x.Service, Path: x.Path, Reason: x.Reason, Informational: x.Informational}
}

// String is what was not inspected, as text.
func (x NotInspected) String() string {
	what := x.Node + ": "
	if x.Path != "" {
		what += fmt.Sprintf("%q: ", x.Path)
	}
	return what + x.Reason
}

// Wave is a set of steps that may run at the same time.
type Wave struct {
	ControlPlane bool   `json:"controlPlane"` // one step; gated on quorum and health
	Steps        []Step `json:"steps"`
}

// Step is one node's part.
type Step struct {
	Node         string    `json:"node"`
	ControlPlane bool      `json:"controlPlane"`
	Etcd         bool      `json:"etcd"` // runs an etcd member
	Services     []Service `json:"services"`
	// Targets are the certificates to renew. Empty: only restarts, or nothing.
	Targets []Target `json:"targets,omitempty"`
	// Restarts are the services to restart, in the order of certs.Services.
	Restarts []certs.Service `json:"restarts,omitempty"`
	// RestartUnit is the systemd unit whose restart renews the targets: its program makes their
	// successors when it starts. Restarts are then all components that it runs.
	RestartUnit string `json:"restartUnit,omitempty"`
	// UnitCommand makes successors: it is run while RestartUnit is stopped, whose next start makes
	// them, or it restarts that unit itself. Empty: every start does.
	UnitCommand string `json:"unitCommand,omitempty"`
	// RollbackOf is the rotation whose old certificates are put back; empty: the targets'
	// successors are issued.
	RollbackOf string `json:"rollbackOf,omitempty"`
	// OtherRestarts are static pods, units and Docker containers to restart that read replaced
	// files and are no components.
	OtherRestarts []inventory.OtherUser `json:"otherRestarts,omitempty"`
	// Directories are the host directories that must be writable for this step.
	Directories []string `json:"directories,omitempty"`
	// CRISocket, DBusSocket and DockerSocket are host paths, set only where a restart needs them.
	CRISocket    string `json:"criSocket,omitempty"`
	DBusSocket   string `json:"dbusSocket,omitempty"`
	DockerSocket string `json:"dockerSocket,omitempty"`
	// LifetimeSeconds is how long the step's process may be needed; 0: unknown.
	LifetimeSeconds int64 `json:"lifetimeSeconds,omitempty"`
}

// Service is the part of a step for one service of the scope.
type Service struct {
	Service certs.Service `json:"service"`
	// NoCertificate is set if the service has none on this node; Note has the reason.
	NoCertificate bool   `json:"noCertificate,omitempty"`
	Note          string `json:"note,omitempty"`
	// Because is the reason why a service outside of the scope is part of the step: some of its
	// certificates have their key in one file with those of the scope.
	Because string `json:"because,omitempty"`
}

// Target is one certificate to renew.
type Target struct {
	ID      string        `json:"id"` // inventory.Certificate.ID
	Service certs.Service `json:"service"`
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	Issuer  string        `json:"issuer"` // inventory.IssuerKind, or FromBackup
	// SignedBy are the nodes that can sign it, if its own node cannot: the first that answers does.
	SignedBy       []string  `json:"signedBy,omitempty"`
	OldFingerprint string    `json:"oldFingerprint"` // the node refuses when the file changed since
	OldNotAfter    time.Time `json:"oldNotAfter"`
	// NewFingerprint is that of the certificate to put back; empty: a successor is issued.
	NewFingerprint string `json:"newFingerprint,omitempty"`
	// NewNotAfter is the expiry of the successor, as far as it is known before it is signed.
	NewNotAfter time.Time `json:"newNotAfter,omitzero"`
	// LifeSeconds is for how long the certificate was made to be valid, and LifeReason why
	// its successor will be valid clearly longer or shorter; empty: it will not.
	LifeSeconds int64  `json:"lifeSeconds,omitempty"`
	LifeReason  string `json:"lifeReason,omitempty"`
	// KeptKey is why the successor is for the old key, see inventory.Node.KeptKey.
	KeptKey string `json:"keptKey,omitempty"`
	// SharedKeyFile is where the key lies together with those of other targets, which all
	// get one new key.
	SharedKeyFile string `json:"sharedKeyFile,omitempty"`
}

// UnitDirectory is the directory of a node's own systemd units. A step may write to it if a
// component runs under systemd: a commit installs a recovery unit for the next boot.
const UnitDirectory = "/etc/systemd/system"
