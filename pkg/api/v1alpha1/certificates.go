package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
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

// UnusedCertificate is a certificate that lies on a node and that no component uses: a
// backup, a copy of an administrator's kubeconfig, a file of a person, another program's.
type UnusedCertificate struct {
	Node string `json:"node"`
	Kind string `json:"kind"` // Backup, Copy, File, Bootstrap, or Other: another program's
	Path string `json:"path"`
	User string `json:"user,omitempty"` // of a kubeconfig
	certs.Facts
	Reason string `json:"reason"`
}

// Finding is something that has drifted and that no rotation changes: a file's mode or
// owner against the CIS benchmark, a serving certificate that does not name its node
// any more; or a certificate in a component's memory that expires soon. It changes neither a certificate's status nor the exit code.
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
	// SANs and Usages are always there, empty where the certificate has none; they
	// take the place of those in Facts.
	SANs   []string     `json:"sans"`
	Usages []string     `json:"usages"`
	Served *Served      `json:"served,omitempty"` // absent: nothing serves it, or it is a client certificate
	Status certs.Status `json:"status"`
	Reason string       `json:"reason,omitempty"`
	// NotRenewable says why no rotation can renew it where it is; absent: one can.
	NotRenewable string `json:"notRenewable,omitempty"`
}

// Served is what a live endpoint shows. Where a certificate has several endpoints it
// is one that shows another certificate, else one that shows this one.
type Served struct {
	Address           string     `json:"address"`
	FingerprintSHA256 string     `json:"fingerprintSHA256"` // empty: it did not answer, see Error
	NotAfter          *time.Time `json:"notAfter,omitempty"`
	Error             string     `json:"error,omitempty"`
}

// Authority is a certificate authority as found on one or more nodes.
type Authority struct {
	certs.Facts
	Name  string   `json:"name"`
	Nodes []string `json:"nodes"`
	KeyOn []string `json:"keyOn"` // nodes that hold its key
	// Renewed says that its renewal, with the same name and key, lies wherever it does:
	// its own end means nothing, and Status is OK.
	Renewed bool         `json:"renewed,omitempty"`
	Status  certs.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"`
}

// NotInspected is something that could not be looked at.
type NotInspected struct {
	Node    string        `json:"node"`
	Service certs.Service `json:"service,omitempty"`
	Path    string        `json:"path,omitempty"`
	Reason  string        `json:"reason"`
	// Informational says that it is as it should be, or that nobody can change it. It does
	// not change the exit code.
	Informational bool `json:"informational,omitempty"`
}
