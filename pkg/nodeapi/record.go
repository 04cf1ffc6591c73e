package nodeapi

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Kind is the kind of a record.
type Kind string

// The kinds of records, in the order in which a successful rotation writes them.
const (
	Staging     Kind = "Staging"     // a Stage order was accepted; Scope, Services
	CSRPosted   Kind = "CSRPosted"   // a CertificateSigningRequest of the node's own identity is pending: CSR.Name
	CSRNeeded   Kind = "CSRNeeded"   // the node can neither sign nor post the request; the plugin or the watcher has it signed: CSR.PEM
	Staged      Kind = "Staged"      // keys and certificates lie ready; Renewals
	CopyingEtcd Kind = "CopyingEtcd" // etcd's data is being copied
	EtcdCopied  Kind = "EtcdCopied"  // that has ended; Message: where the copy is, or why there is none
	Committing  Kind = "Committing"  // from here on files may be new
	Replaced    Kind = "Replaced"    // every file is new
	Restarting  Kind = "Restarting"  // Service is being stopped
	Waiting     Kind = "Waiting"     // Service is started again only after its supervisor's pause; Message
	Restarted   Kind = "Restarted"   // Service runs again and is healthy; UnavailableSeconds
	Verified    Kind = "Verified"    // Evidence
	Committed   Kind = "Committed"   // all new, all verified; Renewals
	// The kinds after a failure or an interruption:
	Failed      Kind = "Failed"      // nothing visible was changed; Message has the reason
	RollingBack Kind = "RollingBack" // a verification failed; Message has the verification and the reason
	RolledBack  Kind = "RolledBack"  // all old again, and verified
	Unknown     Kind = "Unknown"     // neither could be verified: manual intervention required
	Refused     Kind = "Refused"     // an order was not carried out: fencing, unknown rotation, changed files
	Finished    Kind = "Finished"    // the rotation has succeeded on all nodes
	Abandoned   Kind = "Abandoned"   // the process ended without Finish; it can be resumed
)

// IsAnswer reports whether a record of this kind answers a Stage or Commit order.
func (k Kind) IsAnswer() bool {
	switch k {
	case Staged, Committed, Failed, RolledBack, Unknown, Refused, Finished, Abandoned:
		return true
	}
	return false
}

// Record is one line of the journal, a node's durable record of a rotation. It is written
// and synced to disk before its effect. The plugin follows it to show progress, the node
// resumes from it, and "history" reads it.
type Record struct {
	Seq      int64     `json:"seq"` // 1, 2, 3, … within the rotation on this node
	Time     time.Time `json:"time"`
	Rotation string    `json:"rotation"`
	Node     string    `json:"node"`
	Token    int64     `json:"token"`
	Order    int64     `json:"order,omitempty"` // number in the node's inbox of the order that this belongs to
	// OrderID is the ID of that order; empty: the record belongs to none.
	OrderID  string              `json:"orderID,omitempty"`
	Kind     Kind                `json:"kind"`
	Message  string              `json:"message,omitempty"`
	Hint     string              `json:"hint,omitempty"`  // the next step
	Scope    string              `json:"scope,omitempty"` // Staging
	Start    *time.Time          `json:"rotationStart,omitempty"`
	Services []certs.Service     `json:"services,omitempty"`
	Service  certs.Service       `json:"service,omitempty"` // Restarting, Waiting, Restarted, RollingBack
	Renewals []inventory.Renewal `json:"renewals,omitempty"`
	CSR      *CSR                `json:"csr,omitempty"`
	Evidence *Evidence           `json:"evidence,omitempty"`
	// Unverified means, with RolledBack, that the old files were restored before the components
	// started; with Committed, that the new ones stay because the old ones have expired. A
	// later record of this kind for the order completes it.
	Unverified bool `json:"unverified,omitempty"`
	// WithinSeconds is how long it may take until the next record of this order, where
	// that is known (Restarting, Waiting).
	WithinSeconds float64 `json:"withinSeconds,omitempty"`
	// UnavailableSeconds is for how long the component did not answer its health
	// check (Restarted).
	UnavailableSeconds float64 `json:"unavailableSeconds,omitempty"`
	// StartedAt is when the new instance started, by the node's clock (Restarted).
	StartedAt *time.Time `json:"startedAt,omitempty"`
}

// CSR is a certificate signing request that is pending outside of the node.
type CSR struct {
	TargetID string `json:"targetID"`
	Name     string `json:"name,omitempty"`   // CSRPosted: the object's name
	Signer   string `json:"signer,omitempty"` // of the certificates API; empty: only another node can sign it
	PEM      string `json:"pem,omitempty"`    // CSRNeeded: the PKCS #10 request
	// Usages in the names of the certificates.k8s.io API.
	Usages            []string `json:"usages,omitempty"`
	ExpirationSeconds int32    `json:"expirationSeconds,omitempty"`
	// Authority (CSRNeeded) identifies the CA that signed the old certificate, see
	// certs.AuthorityID. A node that has its key can sign the request.
	Authority string `json:"authority,omitempty"`
	// Chain is the certificate that is to be renewed, as PEM, with those that follow it in its
	// file, and Possession the signature of its key, see certs.SignPossession.
	Chain      string `json:"chain,omitempty"`
	Possession []byte `json:"possession,omitempty"`
}

// Method is the method of a verification.
type Method string

// The methods of verification, from strongest to weakest.
const (
	Handshake         Method = "Handshake"         // the endpoint serves the new certificate
	SelfSubjectReview Method = "SelfSubjectReview" // the API server named user and fingerprint
	Authenticated     Method = "Authenticated"     // the server accepted the new client certificate
	Health            Method = "Health"            // the component is healthy after a restart with the new files
	HotReload         Method = "HotReload"         // known to re-read its files; open connections keep the old one
	FileOnly          Method = "FileOnly"          // on disk, chain verified; not used by a running component
)

// Evidence is the result of a verification.
type Evidence struct {
	TargetID string        `json:"targetID,omitempty"` // a certificate; empty: the component's health
	Service  certs.Service `json:"service"`
	Method   Method        `json:"method"`
	Detail   string        `json:"detail"` // "127.0.0.1:2379 serves 3f9a…", "system:kube-scheduler"
}

// String is the evidence as documents show it, "Method: detail".
func (e Evidence) String() string { return string(e.Method) + ": " + e.Detail }

// Journal holds the records of one rotation on one node.
type Journal struct {
	Node     string   `json:"node"`
	Rotation string   `json:"rotation"`
	Records  []Record `json:"records"` // none: this node had no part in it
}

// CheckOrigin is an error unless a journal is of a node and a rotation, in every record: a
// compromised node must not report for another one.
func (j *Journal) CheckOrigin(node, rotation string) error {
	switch {
	case j.Node != node:
		return fmt.Errorf("its journal is of node %q", j.Node)
	case j.Rotation != rotation:
		return fmt.Errorf("its journal is of rotation %q", j.Rotation)
	}
	for _, r := range j.Records {
		if r.Node != node || r.Rotation != rotation {
			return fmt.Errorf("record %d of its journal is of node %q and rotation %q", r.Seq, r.Node, r.Rotation)
		}
	}
	return nil
}
