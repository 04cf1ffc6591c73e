package nodeapi

import "time"

// SignRequest has a node sign the successor of another node's certificate. It holds no secret.
// Everything but CSR is of the plugin or the watcher, never of the node that asks.
type SignRequest struct {
	Node string `json:"node"` // that asks
	// ControlPlane means that it has the label of a control-plane node.
	ControlPlane bool `json:"controlPlane,omitempty"`
	CSR          CSR  `json:"csr"`
	// CACert and CAKey are the paths on the signing node of the CA's certificate and key.
	CACert string `json:"caCert"`
	CAKey  string `json:"caKey"`
	// ValiditySeconds is for how long the successor is valid; 0: as long as the old one was made
	// to be. It never exceeds the CA.
	ValiditySeconds int64 `json:"validitySeconds,omitempty"`
	// KeepKey means that the request is for the old key, which has another use.
	KeepKey bool `json:"keepKey,omitempty"`
}

// SignAnswer is the chain of the successor.
type SignAnswer struct {
	PEM string `json:"pem"` // certificates only, leaf first
}

// Signature is the audit record of a certificate that a node has signed for another. It is
// written before the certificate is handed out.
type Signature struct {
	Time         time.Time `json:"time"`
	Node         string    `json:"node"` // that asked
	TargetID     string    `json:"targetID"`
	Authority    string    `json:"authority"`
	Subject      string    `json:"subject"`
	Old          string    `json:"oldFingerprintSHA256"`
	New          string    `json:"newFingerprintSHA256"`
	SerialNumber string    `json:"serialNumber"`
	NotAfter     time.Time `json:"notAfter"`
}
