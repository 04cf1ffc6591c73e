package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// ResumeWithin is how old an unfinished rotation may be for the same command to
// continue it instead of starting a new one.
const ResumeWithin = 24 * time.Hour

// ScopeText is the canonical form of the request. Two requests with the same scope are the same
// rotation: the second continues the first if it is unfinished.
func (r Request) ScopeText() string {
	if r.RollbackOf != "" {
		return rollbackScope + r.RollbackOf + nodesScope(r.Nodes)
	}
	services := make([]string, 0, len(r.Services))
	for _, s := range r.Services {
		services = append(services, string(s))
	}
	slices.Sort(services)
	scope := "services=" + strings.Join(slices.Compact(services), ",")
	if r.Compromised {
		// Not to be continued by, or to continue, a rotation that trusts the old keys.
		scope += distrusts
	}
	if r.Recover {
		scope += recovers
	}
	return scope + nodesScope(r.Nodes)
}

func nodesScope(nodes []string) string {
	if len(nodes) == 0 {
		return ""
	}
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	return ";nodes=" + strings.Join(slices.Compact(nodes), ",")
}

const (
	// distrusts is the part of the scope that marks a rotation of compromised keys.
	distrusts = ";compromised"
	// recovers is the part of the scope that marks the recovery of expired certificates.
	recovers = ";recover"
	// rollbackScope is what the scope of a rollback begins with; the other rotation's id follows.
	rollbackScope = "rollback="
)

// Unfinished is a rotation that is not finished.
type Unfinished struct {
	ID        string
	StartTime time.Time
	// Renewed maps a node to the certificates (by Certificate.ID) that this rotation
	// has already renewed and verified there.
	Renewed map[string]map[string]inventory.Renewal
	// Committed are the nodes whose part is done.
	Committed map[string]bool
}

// FindUnfinished returns the newest rotation of the scope that began within [ResumeWithin] and
// that is finished in no journal; nil: there is none. With an ID it is that rotation, with any
// scope and age.
//
// Every node gets the order to finish, but only after all of them are verified: the journal of
// one node is enough.
func FindUnfinished(nodes []inventory.Node, scope string, now time.Time, id string) *Unfinished {
	var found *Unfinished
	finished := map[string]bool{}
	for _, n := range nodes {
		for _, r := range n.Rotations {
			if r.State == inventory.Finished {
				finished[r.ID] = true
			}
		}
	}
	for _, n := range nodes {
		for _, r := range n.Rotations {
			meant := r.ID == id || id == "" && r.Scope == scope && now.Sub(r.StartTime) <= ResumeWithin
			if !meant || finished[r.ID] {
				continue
			}
			if found == nil || r.StartTime.After(found.StartTime) {
				found = &Unfinished{ID: r.ID, StartTime: r.StartTime}
			}
		}
	}
	if found == nil {
		return nil
	}
	found.Renewed = map[string]map[string]inventory.Renewal{}
	found.Committed = map[string]bool{}
	for _, n := range nodes {
		for _, r := range n.Rotations {
			// A node with unverified certificates is not done: they are renewed again and
			// verified.
			if r.ID != found.ID || r.State != inventory.Committed || r.Unverified {
				continue
			}
			found.Committed[n.Name] = true
			found.Renewed[n.Name] = map[string]inventory.Renewal{}
			for _, renewal := range r.Renewed {
				found.Renewed[n.Name][renewal.ID] = renewal
			}
		}
	}
	return found
}

// HighestToken is the highest fencing token in the inventories of the nodes.
func HighestToken(nodes []inventory.Node) int64 {
	var highest int64
	for _, n := range nodes {
		highest = max(highest, n.Token)
	}
	return highest
}

// IsDone reports whether a node's part is already committed. Nil-safe.
func (u *Unfinished) IsDone(node string) bool { return u != nil && u.Committed[node] }

// RenewedOn returns the certificates that this rotation has already renewed on a node.
// Nil-safe.
func (u *Unfinished) RenewedOn(node string) map[string]inventory.Renewal {
	if u == nil {
		return nil
	}
	return u.Renewed[node]
}

func (u *Unfinished) isRenewed(node string, c inventory.Certificate) bool {
	if u == nil {
		return false
	}
	r, ok := u.Renewed[node][c.ID()]
	return ok && r.New.FingerprintSHA256 == c.FingerprintSHA256
}
