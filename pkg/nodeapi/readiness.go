package nodeapi

import "time"

// Readiness is what the API server says of a node, asked by the node itself.
type Readiness struct {
	Node  string `json:"node"`
	Ready bool   `json:"ready"`
	// Reason is why it is not Ready, or why the API server could not be asked.
	Reason string `json:"reason,omitempty"`
	// RenewTime is when its kubelet last renewed the node's Lease, by the node's clock.
	RenewTime time.Time `json:"renewTime,omitzero"`
}
