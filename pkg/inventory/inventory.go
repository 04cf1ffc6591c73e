// Package inventory holds the result of a scan as values: components, the certificates they
// use, the authorities behind them, and files that could not be inspected. A node sends it to
// the plugin or the watcher as JSON. It holds no secret: no keys, no tokens, no raw file bytes.
//
// All paths are the host's, never those of a container or of a node pod's mounts.
package inventory

import (
	"slices"
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
	Copies         []Copy         `json:"copies,omitempty"` // in home directories
	NotInspected   []NotInspected `json:"notInspected,omitempty"`
	// Unused lists certificates in the usual directories that no component of this node uses:
	// backups, copies of another node's kubeconfig, personal files, those of other programs.
	// They are listed with their expiry and never renewed.
	Unused []UnusedCertificate `json:"unused,omitempty"`
	// InMemory are certificates that components made at their start and keep in memory.
	InMemory   []InMemory     `json:"inMemory,omitempty"`
	Findings   []Finding      `json:"findings,omitempty"`
	Rotations  []NodeRotation `json:"rotations,omitempty"` // newest first, from this node's journals
	Token      int64          `json:"token"`               // highest fencing token this node ever accepted
	CRISocket  string         `json:"criSocket,omitempty"` // path of the container runtime's socket
	DBusSocket string         `json:"dbusSocket,omitempty"`
	// DockerSocket is that of dockerd, if a component or another user of files runs in a container
	// of Docker's own.
	DockerSocket string `json:"dockerSocket,omitempty"`
	// SocketsHidden means that the directories of sockets were not visible to the scan, so that
	// a missing socket is no finding.
	SocketsHidden bool   `json:"socketsHidden,omitempty"`
	KubeletConf   string `json:"kubeletConf,omitempty"` // the kubelet's kubeconfig: the node's own identity

	// Known holds the API's data about the node, and Scanned the time of the scan. The
	// requester of the scan fills them in, never the node.
	Known   Known   `json:"-"`
	Scanned Scanned `json:"-"`
}

// Known holds the API's data about a node.
type Known struct {
	ControlPlane bool     // it has the label of a control-plane node
	Etcd         bool     // it has a label of nodes that run etcd
	Addresses    []string // internal IP addresses
}

// Scanned is the interval in which a node's clock was read, by the requester's clock; zero:
// unknown.
type Scanned struct{ From, To time.Time }

// UnusedKind is the reason why a certificate counts as unused.
type UnusedKind string

// The kinds of unused certificates.
const (
	UnusedBackup UnusedKind = "Backup" // by its file's name, or its place beside an original
	UnusedCopy   UnusedKind = "Copy"   // a kubeconfig of another node or of an administrator, copied here
	UnusedFile   UnusedKind = "File"   // no component names it
	// UnusedBootstrap: the kubelet obtained its first certificate with it.
	UnusedBootstrap UnusedKind = "Bootstrap"
	UnusedOther     UnusedKind = "Other" // a static pod, unit or Docker container names it that is no component
)

// UnusedCertificate is a certificate that no component of this node uses.
type UnusedCertificate struct {
	certs.Facts
	Kind   UnusedKind `json:"kind"`
	Path   string     `json:"path"`
	User   string     `json:"user,omitempty"` // of a kubeconfig
	Reason string     `json:"reason"`
}

// Copy is a client certificate in a personal kubeconfig, which may be a copy of one that a
// rotation replaces. It is never renewed.
type Copy struct {
	Path              string `json:"path"`
	FingerprintSHA256 string `json:"fingerprintSHA256"`
}

// NotInspected is a file or component that could not be inspected, or that is missing.
type NotInspected struct {
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path,omitempty"`
	Reason  string        `json:"reason"`
	// Informational means that it is as intended, or cannot be changed: a node without a node
	// program, a component that authenticates with a token. It needs no action.
	Informational bool `json:"informational,omitempty"`
}

// FindingKind is the kind of a finding.
type FindingKind string

// The kinds of findings.
const (
	FileMode  FindingKind = "FileMode"  // a file's mode is wider than the CIS benchmark allows
	FileOwner FindingKind = "FileOwner" // its owner is not root
	Memory    FindingKind = "Memory"    // a certificate in a component's memory expires soon
	Names     FindingKind = "Names"     // a serving certificate does not name its node any more
)

// Finding is a deviation that no rotation changes. The certificate remains valid, so it is no
// status.
type Finding struct {
	Kind    FindingKind   `json:"kind"`
	Service certs.Service `json:"service,omitempty"` // empty: a CA's file
	Path    string        `json:"path"`
	Text    string        `json:"text"`
}

// UnreadJournals is the beginning of the reason if not all journals of a node could be read.
const UnreadJournals = "read this node's journals: "

// ComponentOf returns the component of a service, or nil.
func (n *Node) ComponentOf(s certs.Service) *Component {
	for i := range n.Components {
		if n.Components[i].Service == s {
			return &n.Components[i]
		}
	}
	return nil
}

// ControlPlane reports whether the node runs a component of the control plane, or has the label
// of such a node. Control-plane nodes are rotated one at a time.
func (n *Node) ControlPlane() bool {
	if n.Known.ControlPlane || n.Known.Etcd {
		return true
	}
	services := []certs.Service{certs.KubeAPIServer, certs.Etcd, certs.KubeControllerManager, certs.KubeScheduler}
	return slices.ContainsFunc(services, func(s certs.Service) bool { return n.ComponentOf(s) != nil })
}
