package nodeapi

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// OrderKind is a verb that a node understands.
type OrderKind string

// The orders. A node carries them out one after the other, in this order.
const (
	OrderStage   OrderKind = "Stage"   // make keys, have them signed, check; change nothing visible
	OrderIssued  OrderKind = "Issued"  // a certificate that was requested for the node, see Order.Issued
	OrderCommit  OrderKind = "Commit"  // replace, restart, verify; roll back on failure
	OrderFinish  OrderKind = "Finish"  // the rotation has succeeded on all nodes: clean up and end
	OrderAbandon OrderKind = "Abandon" // it may be continued later: keep the journal and end
	// OrderKeepAlive means that the rotation is still in progress: the process on the node
	// restarts its wait for the next order. It has no answer.
	OrderKeepAlive OrderKind = "KeepAlive"
)

// Order is an instruction to a node. It holds no secret.
type Order struct {
	Kind OrderKind `json:"kind"`
	// ID is given by the sender, once for each order: the same id is the same order,
	// delivered again; another id is another order, even if all else is equal.
	ID       string `json:"id,omitempty"`
	Rotation string `json:"rotation"` // id
	Token    int64  `json:"token"`    // fencing token; older than the node's: refused
	// Scope is the canonical form of the request, by which an unfinished rotation
	// is recognised.
	Scope           string             `json:"scope,omitempty"`
	StartTime       time.Time          `json:"startTime,omitzero"` // of the rotation
	Step            *plan.Step         `json:"step,omitempty"`     // Stage
	Restart         plan.RestartPolicy `json:"restart,omitempty"`  // Stage
	ValiditySeconds int64              `json:"validitySeconds,omitempty"`
	Issued          *Issued            `json:"issued,omitempty"` // Issued
	// Compromised (Stage) distrusts the old keys: nothing is requested with the node's own
	// identity, and once the new certificates are verified the old private keys are destroyed.
	// No rollback is possible then.
	Compromised bool `json:"compromised,omitempty"`
	// CopyEtcd (Commit) has the data of this node's etcd member copied before anything changes,
	// if that can be done: the member was down, or without quorum, when the order was given.
	CopyEtcd bool `json:"copyEtcd,omitempty"`
	// RequireCopy (Stage, with CopyEtcd) makes the staging fail where the data cannot be copied, as
	// for want of space: before anything has changed on any node.
	RequireCopy bool `json:"requireCopy,omitempty"`
	// TimeoutSeconds limits how long a component may take to become healthy.
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
}

// Issued is the certificate for the CSR of a [CSRNeeded] record.
type Issued struct {
	TargetID string `json:"targetID"`
	PEM      string `json:"pem"`                // certificates only, leaf first
	SignedBy string `json:"signedBy,omitempty"` // the node that signed it; empty: the certificates API
	Error    string `json:"error,omitempty"`    // why there is none
}
