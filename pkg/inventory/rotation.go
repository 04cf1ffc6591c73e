package inventory

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// NodeRotation is the state of one rotation in a node's journal.
type NodeRotation struct {
	ID        string          `json:"id"`
	Token     int64           `json:"token"`
	Scope     string          `json:"scope"` // canonical form of the request, see plan.Request.ScopeText
	StartTime time.Time       `json:"startTime"`
	LastTime  time.Time       `json:"lastTime,omitzero"` // of the newest record, by this node's clock
	State     RotationState   `json:"state"`
	Services  []certs.Service `json:"services,omitempty"` // this node's part
	Renewed   []Renewal       `json:"renewed,omitempty"`  // the certificates that were renewed and verified here
	// Unverified means that the old certificates were restored at boot (RolledBack), or that
	// the new ones stay since the old ones have expired (Committed), and that the node was not
	// verified since.
	Unverified bool `json:"unverified,omitempty"`
	// Backup means that the node still keeps the files that the rotation has replaced.
	Backup bool `json:"backup,omitempty"`
}

// Renewal is a certificate before and after.
type Renewal struct {
	ID  string      `json:"id"` // Certificate.ID
	Old certs.Facts `json:"old"`
	New certs.Facts `json:"new"`
	// KeptKey is why the key was kept, if the new certificate is for the old key; empty:
	// its key is new.
	KeptKey string `json:"keptKey,omitempty"`
	// SignedBy is the node that signed the new certificate, if that was another one.
	SignedBy string `json:"signedBy,omitempty"`
}

// RotationState is the state of a node's part of a rotation.
type RotationState string

// The states of a rotation on a node.
const (
	Staging    RotationState = "Staging"    // begun, nothing visible changed
	Failed     RotationState = "Failed"     // could not be staged, nothing visible changed
	Staged     RotationState = "Staged"     // signed, nothing visible changed
	Committing RotationState = "Committing" // files are being replaced and components restarted
	Committed  RotationState = "Committed"  // new and verified
	RolledBack RotationState = "RolledBack" // old again, and verified
	Unknown    RotationState = "Unknown"    // neither could be verified: manual intervention required
	Finished   RotationState = "Finished"   // the whole rotation, on all nodes, is finished
)
