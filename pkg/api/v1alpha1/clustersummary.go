package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// ClusterSummaryKind is the kind of a [ClusterSummary].
const ClusterSummaryKind = "ClusterSummary"

// ClusterSummary is the state of a cluster, as its watcher shares it with others by NATS. It is
// JSON in a key-value bucket, and has no more than status prints. Readers do not trust it.
type ClusterSummary struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Cluster    string       `json:"cluster"` // its name in events
	State      ClusterState `json:"state"`
	// EarliestExpiry is when the first certificate of each service expires. A service without
	// certificates is absent.
	EarliestExpiry map[certs.Service]time.Time `json:"earliestExpiry,omitempty"`
	Rotation       *SummaryRotation            `json:"rotation,omitempty"` // absent: none is known
	// Answers are those to requests of other clusters of the last day, those that were permitted
	// first. An earlier release of the watcher writes none.
	Answers        []SummaryAnswer `json:"answers,omitempty"`
	WatcherVersion string          `json:"watcherVersion"`
	WrittenAt      time.Time       `json:"writtenAt"` // by the clock of the watcher
}

// SummaryAnswer is the answer to a rotation that another cluster has asked for.
type SummaryAnswer struct {
	// Request follows from the asking cluster and the id of its request, and is the name of the
	// CertificateRotation.
	Request string        `json:"request"`
	Refused string        `json:"refused,omitempty"` // why there is no rotation; absent: there is one
	State   RotationState `json:"state,omitempty"`   // of the rotation; absent: refused, or not seen yet
	At      time.Time     `json:"at"`                // by the clock of the watcher
}

// SummaryRotation is the rotation in progress.
type SummaryRotation struct {
	Name string `json:"name,omitempty"` // of the CertificateRotation; absent: it was started by hand, and holds the lock
	ID   string `json:"id,omitempty"`   // in history; absent: not known yet
}

// ClusterState is the worst that is true of a cluster.
type ClusterState string

// The states, the worst first.
const (
	ClusterManualInterventionRequired ClusterState = "ManualInterventionRequired" // after a rotation
	ClusterExpired                    ClusterState = "Expired"                    // a certificate has expired
	ClusterProblems                   ClusterState = "Problems"                   // certificates are invalid or not presented, or could not be scanned
	ClusterDue                        ClusterState = "Due"                        // certificates are due by the policy, or compromised
	ClusterUnknown                    ClusterState = "Unknown"                    // a node that should have an agent has no recent report, or there is no report
	ClusterOK                         ClusterState = "OK"
)

// ClusterStates returns all states, the worst first.
func ClusterStates() []ClusterState {
	return []ClusterState{ClusterManualInterventionRequired, ClusterExpired, ClusterProblems, ClusterDue, ClusterUnknown, ClusterOK}
}

const (
	// SummaryHeartbeat is how often a watcher writes its summary if nothing has changed. Without
	// it, a stopped watcher would look like a cluster without changes.
	SummaryHeartbeat = 5 * time.Minute
	// AnswersKept is for how long a summary has the answer to a request.
	AnswersKept = 24 * time.Hour
	// AnswersWithin is how soon a request is answered: a watcher gives it up after ten minutes in
	// NATS, and writes its summary within another.
	AnswersWithin = 12 * time.Minute
)
