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
	OrderIssued  OrderKind = "Issued"  // here is a certificate that an administrator had signed, see Order.Issued
	OrderCommit  OrderKind = "Commit"  // replace, restart, verify; roll back on failure
	OrderFinish  OrderKind = "Finish"  // the rotation has succeeded everywhere: tidy up and end
	OrderAbandon OrderKind = "Abandon" // it will go on later: leave the journal as it is and end
	// OrderKeepAlive says that the sender still works on the rotation: the process on the
	// node waits for its next order anew. It has no answer.
	OrderKeepAlive OrderKind = "KeepAlive"
)

// Order is what is delivered to a node. It holds nothing secret.
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
	// Compromised (Stage) distrusts the old keys: nothing is asked for in the name of the
	// node's own identity, and once the new certificates are verified the old private keys
	// are destroyed. There is no way back then.
	Compromised bool `json:"compromised,omitempty"`
	// TimeoutSeconds bounds how long a component may take to become healthy.
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
}

// Issued is a certificate for a CSR that the node asked for with a
// [CSRNeeded] record.
type Issued struct {
	TargetID string `json:"targetID"`
	PEM      string `json:"pem"`             // certificates only, leaf first
	Error    string `json:"error,omitempty"` // why there is none
}
