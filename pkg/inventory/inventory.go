// Package inventory holds what was found on a node, as values: components, the
// certificates they use, the authorities behind them, and what could not be
// inspected. It is what travels from a node to whoever plans, as JSON, and has
// nothing secret in it: no keys, no tokens, no raw file bytes.
//
// All paths are the host's, never those of a container or of a node pod's mounts.
package inventory

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Node is the inventory of one node at one moment.
type Node struct {
	Name           string         `json:"name"` // as the API knows the node
	Time           time.Time      `json:"time"` // the node's clock
	ProgramVersion string         `json:"programVersion"`
	Components     []Component    `json:"components,omitempty"`
	Certificates   []Certificate  `json:"certificates,omitempty"`
	Authorities    []Authority    `json:"authorities,omitempty"`
	Copies         []Copy         `json:"copies,omitempty"` // in people's homes
	NotInspected   []NotInspected `json:"notInspected,omitempty"`
	// Unused are certificates in places where certificates lie, that no component of this
	// node uses: backups, copies of another node's kubeconfig, files of a person, those of
	// other programs. They are
	// listed with their expiry and never renewed.
	Unused []UnusedCertificate `json:"unused,omitempty"`
	// InMemory are certificates that components made at their start and keep in memory.
	InMemory   []InMemory     `json:"inMemory,omitempty"`
	Findings   []Finding      `json:"findings,omitempty"`
	Rotations  []NodeRotation `json:"rotations,omitempty"` // newest first, from this node's journals
	Token      int64          `json:"token"`               // highest fencing token this node ever accepted
	CRISocket  string         `json:"criSocket,omitempty"` // path of the container runtime's socket
	DBusSocket string         `json:"dbusSocket,omitempty"`
	// SocketsHidden says that the directories of sockets were kept from whoever looked, so
	// that a missing one says nothing.
	SocketsHidden bool   `json:"socketsHidden,omitempty"`
	KubeletConf   string `json:"kubeletConf,omitempty"` // the kubelet's kubeconfig: the node's own identity

	// Known is what the API says of the node, and Scanned when it was scanned. They are
	// filled in by who requested the scan, never by the node.
	Known   Known   `json:"-"`
	Scanned Scanned `json:"-"`
}

// Known is what the API says of a node.
type Known struct {
	ControlPlane bool     // it has the label of a control-plane node
	Etcd         bool     // it has a label that says that it runs etcd
	Addresses    []string // internal IP addresses
}

// Scanned is between which moments a node's clock was read, by the clock of who
// requested the scan; zero: not known.
type Scanned struct{ From, To time.Time }

// UnusedKind says why a certificate is taken to be in no use.
type UnusedKind string

// The kinds of unused certificates.
const (
	UnusedBackup UnusedKind = "Backup" // its file's name, or its place beside an original, says so
	UnusedCopy   UnusedKind = "Copy"   // a kubeconfig of another node or of an administrator, copied here
	UnusedFile   UnusedKind = "File"   // no component names it
	// UnusedBootstrap: the kubelet obtained its first certificate with it.
	UnusedBootstrap UnusedKind = "Bootstrap"
	UnusedOther     UnusedKind = "Other" // a static pod or unit names it that is no component
)

// UnusedCertificate is a certificate that no component of this node uses.
type UnusedCertificate struct {
	certs.Facts
	Kind   UnusedKind `json:"kind"`
	Path   string     `json:"path"`
	User   string     `json:"user,omitempty"` // of a kubeconfig
	Reason string     `json:"reason"`
}

// Copy is a client certificate in a person's kubeconfig, which may be one that a
// rotation replaces elsewhere. It is nobody's to renew.
type Copy struct {
	Path              string `json:"path"`
	FingerprintSHA256 string `json:"fingerprintSHA256"`
}

// NotInspected is something that is, or should be, there and could not be looked at.
type NotInspected struct {
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path,omitempty"`
	Reason  string        `json:"reason"`
	// Informational says that it is as it should be, or that nobody can change it: a node
	// without a node program, a component that authenticates with a token. It asks for
	// nothing to be done.
	Informational bool `json:"informational,omitempty"`
}

// FindingKind says what a finding is about.
type FindingKind string

// The kinds of findings.
const (
	FileMode  FindingKind = "FileMode"  // more may read or write a file than the CIS benchmark allows
	FileOwner FindingKind = "FileOwner" // somebody else than root owns it
	Memory    FindingKind = "Memory"    // a certificate in a component's memory expires soon
	Names     FindingKind = "Names"     // a serving certificate does not name its node any more
)

// Finding is something that has drifted from how it should be, and that no rotation
// changes. It does not make a certificate less valid, so it is no status.
type Finding struct {
	Kind    FindingKind   `json:"kind"`
	Service certs.Service `json:"service,omitempty"` // empty: a CA's file
	Path    string        `json:"path"`
	Text    string        `json:"text"`
}

// UnreadJournals begins the reason where a node's journals could not all be read.
const UnreadJournals = "read this node's journals: "

// Component returns the component of a service, or nil.
func (n *Node) Component(s certs.Service) *Component {
	for i := range n.Components {
		if n.Components[i].Service == s {
			return &n.Components[i]
		}
	}
	return nil
}

// ControlPlane says whether the node runs a component of the control plane, or has the
// label of a node that does, and so must be taken one at a time.
func (n *Node) ControlPlane() bool {
	if n.Known.ControlPlane || n.Known.Etcd {
		return true
	}
	for _, s := range []certs.Service{certs.KubeAPIServer, certs.Etcd, certs.KubeControllerManager, certs.KubeScheduler} {
		if n.Component(s) != nil {
			return true
		}
	}
	return false
}
