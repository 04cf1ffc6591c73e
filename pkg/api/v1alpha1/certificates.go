package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// CertificateList is the result of `kubectl rotate-certs check`.
type CertificateList struct {
	APIVersion   string         `json:"apiVersion"`
	Kind         string         `json:"kind"`
	Items        []Certificate  `json:"items"`
	Authorities  []Authority    `json:"authorities"`
	NotInspected []NotInspected `json:"notInspected"`
	Findings     []Finding      `json:"findings"`
	// Unused are certificates that no component uses. No rotation renews them, and they do
	// not change the exit code.
	Unused []UnusedCertificate `json:"unused"`
}

// UnusedCertificate is a certificate on a node that no component uses: a backup, a copy of an
// administrator's kubeconfig, a file of a user or of another program.
type UnusedCertificate struct {
	Node string `json:"node"`
	Kind string `json:"kind"` // Backup, Copy, File, Bootstrap, or Other: of another program
	Path string `json:"path"`
	User string `json:"user,omitempty"` // of a kubeconfig
	certs.Facts
	Reason string `json:"reason"`
}

// Finding is a deviation that no rotation fixes: the mode or owner of a file against the CIS
// benchmark, a serving certificate without the current names of its node, or a certificate in
// the memory of a component that expires soon. It changes neither the status of a certificate
// nor the exit code.
type Finding struct {
	Node    string        `json:"node"`
	Kind    string        `json:"kind"` // FileMode, FileOwner, Names or Memory
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path"`
	Message string        `json:"message"`
}

// Certificate is one certificate on one node.
type Certificate struct {
	Node    string        `json:"node"`
	Service certs.Service `json:"service"`
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	certs.Facts
	// SANs and Usages are always present, empty if the certificate has none; they replace
	// those in Facts.
	SANs   []string     `json:"sans"`
	Usages []string     `json:"usages"`
	Served *Served      `json:"served,omitempty"` // absent: no endpoint presents it, or it is a client certificate
	Status certs.Status `json:"status"`
	Reason string       `json:"reason,omitempty"`
	// NotRenewable is why no rotation can renew it on its node; absent: one can.
	NotRenewable string `json:"notRenewable,omitempty"`
}

// Served is the certificate that an endpoint presents. Of several endpoints, it is one that
// presents another certificate, if any.
type Served struct {
	Address           string     `json:"address"`
	FingerprintSHA256 string     `json:"fingerprintSHA256"` // empty: no answer, see Error
	NotAfter          *time.Time `json:"notAfter,omitempty"`
	Error             string     `json:"error,omitempty"`
}

// Authority is a certificate authority as found on one or more nodes.
type Authority struct {
	certs.Facts
	Name  string   `json:"name"`
	Nodes []string `json:"nodes"`
	KeyOn []string `json:"keyOn"` // nodes that hold its key
	// Renewed means that its renewal, with the same name and key, is on all its nodes: its own
	// expiry has no effect, and Status is OK.
	Renewed bool         `json:"renewed,omitempty"`
	Status  certs.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"`
}

// NotInspected is a file, component or node that could not be scanned.
type NotInspected = plan.NotInspected
