package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// RotationList is the output of `kubectl rotate-certs history`: the rotations in the journals
// of the nodes, newest first.
type RotationList struct {
	APIVersion   string         `json:"apiVersion"`
	Kind         string         `json:"kind"`
	Items        []PastRotation `json:"items"`
	NotInspected []NotInspected `json:"notInspected"`
}

// RotationHistory is the output of `kubectl rotate-certs history ID`: one rotation, with all
// its records in the order of the clocks of its nodes.
type RotationHistory struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	PastRotation
	Records      []RotationRecord `json:"records"`
	NotInspected []NotInspected   `json:"notInspected"`
}

// RotationStatus is the output of `kubectl rotate-certs status`.
type RotationStatus struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Running is the holder of the cluster's lock; absent: no rotation is in progress.
	Running *RunningRotation `json:"running,omitempty"`
	// Last is the newest rotation in the journals; absent: there is none.
	Last *PastRotation `json:"last,omitempty"`
	// Unfinished are the rotations that the same command would continue.
	Unfinished   []PastRotation `json:"unfinished"`
	NotInspected []NotInspected `json:"notInspected"`
	// JournalsNotRead is why the journals of the nodes were not read, so that Last and
	// Unfinished are unknown; absent: they were.
	JournalsNotRead string `json:"journalsNotRead,omitempty"`
	// LockNotRead is why Running is unknown; absent: it is not.
	LockNotRead string `json:"lockNotRead,omitempty"`
	// Installed is the state of the watcher; absent: it is not installed.
	Installed *WatcherStatus `json:"installed,omitempty"`
}

// RunningRotation is a held lock.
type RunningRotation struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	// RunsOut is until when the lock is held unless it is renewed. In the past: the holder has
	// ended or cannot reach the API.
	RunsOut time.Time `json:"runsOut"`
}

// PastRotation is a rotation according to the journals of the nodes.
type PastRotation struct {
	ID string `json:"id"`
	// RollbackOf is the id of the rotation whose old certificates it puts back; absent: it is no
	// rollback.
	RollbackOf string          `json:"rollbackOf,omitempty"`
	Services   []certs.Service `json:"services"`
	OnlyNodes  []string        `json:"onlyNodes,omitempty"` // absent: it was for every node
	StartTime  time.Time       `json:"startTime"`
	LastTime   time.Time       `json:"lastTime"` // of its newest record
	// Result is Succeeded, RolledBack, Failed, ManualInterventionRequired, Unfinished where it neither
	// ended nor failed, or Renewed where every node that remembers it was renewed and
	// verified, and none remembers its end.
	Result string `json:"result"`
	// Continue is the command that continues it; absent: a new rotation would start.
	Continue string             `json:"continue,omitempty"`
	Nodes    []PastRotationNode `json:"nodes"`
}

// PastRotationNode is the state of one node.
type PastRotationNode struct {
	Node string `json:"node"`
	// State is Staging, Staged, Failed, Committing, Committed, RolledBack, Unknown or Finished.
	State   string `json:"state"`
	Renewed int    `json:"renewed"` // certificates, verified
	// Unverified says of RolledBack that the old certificates were put back at boot, of
	// Committed that the new ones stay since the old ones have expired, and
	// that nothing has shown since that the node runs on them.
	Unverified bool `json:"unverified,omitempty"`
}

// RotationRecord is one record of the journal of a node.
type RotationRecord struct {
	Node               string               `json:"node"`
	Time               time.Time            `json:"time"` // by the node's clock
	Kind               string               `json:"kind"`
	Service            certs.Service        `json:"service,omitempty"`
	Services           []certs.Service      `json:"services,omitempty"`
	Message            string               `json:"message,omitempty"`
	Hint               string               `json:"hint,omitempty"`
	Unverified         bool                 `json:"unverified,omitempty"` // RolledBack, Committed: not verified yet
	Evidence           string               `json:"evidence,omitempty"`   // "Method: detail"
	UnavailableSeconds float64              `json:"unavailableSeconds,omitempty"`
	Certificates       []RotatedCertificate `json:"certificates,omitempty"`
}
