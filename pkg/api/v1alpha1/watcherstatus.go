package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// WatcherStatus is what `status` tells of an installation.
type WatcherStatus struct {
	Namespace string `json:"namespace"`
	// Watcher is absent where only agents are installed.
	Watcher *WatcherHealth `json:"watcher,omitempty"`
	Agents  *ReadyCount    `json:"agents,omitempty"`
	// Policy is absent where it could not be read.
	Policy *PolicyInForce `json:"policy,omitempty"`
	// WithoutReport are nodes of which nothing is known, or nothing new.
	WithoutReport []NodeWithoutReport `json:"withoutReport"`
	// Due is what is due, or compromised, on which node, and what it waits for.
	Due []DueOnNode `json:"due"`
	// Marks are those whose certificates have not been replaced yet.
	Marks []OpenMark `json:"marks"`
	// Rotations are those at work, those that wait, and those that failed.
	Rotations []OpenRotation `json:"rotations"`
	// NotSeen says what of this could not be asked for.
	NotSeen []string `json:"notSeen,omitempty"`
	// Skew says that the installation and the plugin are of different versions, and how to
	// update the older one.
	Skew string `json:"skew,omitempty"`
}

// WatcherHealth is how the watcher is.
type WatcherHealth struct {
	ReadyCount
	NotifyOnly bool   `json:"notifyOnly,omitempty"`
	NATS       string `json:"nats"`             // embedded or external
	Leader     string `json:"leader,omitempty"` // the pod that acts, of several
	Version    string `json:"version,omitempty"`
	Problem    string `json:"problem,omitempty"`
}

// PolicyInForce is what the RotationPolicy's status says.
type PolicyInForce struct {
	// Generation of the RotationPolicy; 0: there is none, and the defaults hold.
	Generation int64 `json:"generation"`
	// Valid and InForce are the statuses of its conditions: True, False, or Unknown where the
	// watcher has not read this generation yet.
	Valid   string `json:"valid,omitempty"`
	InForce string `json:"inForce,omitempty"`
	// Message says what is in force, and Problem what is wrong.
	Message string     `json:"message,omitempty"`
	Problem string     `json:"problem,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// ReadyCount is how many of how many are ready.
type ReadyCount struct {
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`
}

// NodeWithoutReport is a node, and why nothing is known of it.
type NodeWithoutReport struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// DueOnNode is what is due on a node.
type DueOnNode struct {
	Node    string `json:"node"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// OpenMark is a CompromisedCertificate whose certificates are still in use.
type OpenMark struct {
	Name     string        `json:"name"`
	Service  certs.Service `json:"service"`
	Nodes    []string      `json:"nodes,omitempty"`
	Reason   string        `json:"reason"`
	Rotation string        `json:"rotation,omitempty"`
	Message  string        `json:"message,omitempty"` // what it waits for
}

// OpenRotation is a CertificateRotation that is not done, or failed.
type OpenRotation struct {
	Name     string          `json:"name"`
	Services []certs.Service `json:"services"`
	Nodes    []string        `json:"nodes,omitempty"`
	// NodeSelector selects the nodes by their labels, as in "kubectl get nodes --selector".
	NodeSelector string        `json:"nodeSelector,omitempty"`
	State        RotationState `json:"state"`
	Message      string        `json:"message,omitempty"`
}
