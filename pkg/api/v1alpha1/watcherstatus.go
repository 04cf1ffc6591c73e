package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// WatcherStatus is the state of an installation, as `status` prints it.
type WatcherStatus struct {
	Namespace string `json:"namespace"`
	// Watcher is absent if only agents are installed.
	Watcher *WatcherHealth `json:"watcher,omitempty"`
	Agents  *ReadyCount    `json:"agents,omitempty"`
	// Policy is absent if it could not be read.
	Policy *PolicyInForce `json:"policy,omitempty"`
	// WithoutReport are nodes without a report, or without a recent one.
	WithoutReport []NodeWithoutReport `json:"withoutReport"`
	// Due are the nodes with certificates that are due or compromised, and the reasons why they wait.
	Due []DueOnNode `json:"due"`
	// CompromisedCertificates are those whose certificates are not all replaced.
	CompromisedCertificates []OpenCompromisedCertificate `json:"compromisedCertificates"`
	// Rotations are those in progress, those that wait, and those that failed.
	Rotations []OpenRotation `json:"rotations"`
	// NotSeen lists the parts of this status that could not be read.
	NotSeen []string `json:"notSeen,omitempty"`
	// Skew reports that the installation and the plugin are of different versions, and how to
	// update the older one.
	Skew string `json:"skew,omitempty"`
}

// WatcherHealth is the state of the watcher.
type WatcherHealth struct {
	ReadyCount
	NotifyOnly bool   `json:"notifyOnly,omitempty"`
	NATS       string `json:"nats"`             // embedded or external
	Leader     string `json:"leader,omitempty"` // the pod that acts, of several
	Version    string `json:"version,omitempty"`
	Problem    string `json:"problem,omitempty"`
}

// PolicyInForce is the status of the RotationPolicy.
type PolicyInForce struct {
	// Generation of the RotationPolicy; 0: there is none, and the defaults hold.
	Generation int64 `json:"generation"`
	// Valid and InForce are the statuses of its conditions: True, False, or Unknown if the
	// watcher has not read this generation yet.
	Valid   string `json:"valid,omitempty"`
	InForce string `json:"inForce,omitempty"`
	// Message describes the policy in force, and Problem the error in the object.
	Message string     `json:"message,omitempty"`
	Problem string     `json:"problem,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// ReadyCount is the number of ready pods, and of those wanted.
type ReadyCount struct {
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`
}

// NodeWithoutReport is a node without a recent report, and the reason.
type NodeWithoutReport struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// DueOnNode is a node with due certificates, and the reasons why they wait.
type DueOnNode struct {
	Node    string `json:"node"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// OpenCompromisedCertificate is a CompromisedCertificate whose certificates are still in use.
type OpenCompromisedCertificate struct {
	Name     string        `json:"name"`
	Service  certs.Service `json:"service"`
	Nodes    []string      `json:"nodes,omitempty"`
	Reason   string        `json:"reason"`
	Rotation string        `json:"rotation,omitempty"`
	Message  string        `json:"message,omitempty"` // why it waits
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
