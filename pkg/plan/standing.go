package plan

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Standing is the state of a whole rotation, from the journals of its nodes.
type Standing string

// The standings.
const (
	Done                       Standing = "Succeeded"                  // the journal of a node has its end
	Halfway                    Standing = "Unfinished"                 // in progress, or interrupted
	Undone                     Standing = "RolledBack"                 // a node failed and uses its old certificates again
	Unstaged                   Standing = "Failed"                     // a node's certificates could not be made; nothing visible changed there
	ManualInterventionRequired Standing = "ManualInterventionRequired" // on a node neither the old nor the new certificates could be verified
	// Renewed: every node that remembers it was renewed and verified, and it is not known that the
	// same command continues it. Only nodes of its last wave have its end in their journal, and none of
	// the scanned nodes has.
	Renewed Standing = "Renewed"
)

// Past is a rotation, put together from the journals of all scanned nodes.
type Past struct {
	ID       string
	Services []certs.Service
	Only     []string // the nodes that it was restricted to; empty: all
	// Compromised means that it distrusts the old keys.
	Compromised bool
	// Recover means that it renews what has expired, see Request.Recover.
	Recover bool
	// RollbackOf is the rotation whose old certificates it puts back, if it is a rollback.
	RollbackOf string
	Start      time.Time
	Last       time.Time // of the newest record
	Standing   Standing
	Nodes      []PastNode // by name
	// Continued means that the same command continues it, see CommandArgs.
	Continued bool
}

// PastNode is one node's part.
type PastNode struct {
	Node    string
	State   inventory.RotationState
	Renewed []inventory.Renewal
	// Unverified: see inventory.NodeRotation.
	Unverified bool
}

// RotationsOf puts the rotations together from the nodes' journals, newest first. partial means
// that the cluster has nodes which were not scanned: one of them may have recorded the end of a
// rotation, so that one whose every part here is done is not said to be unfinished.
func RotationsOf(nodes []inventory.Node, partial bool, now time.Time) []Past {
	var out []Past
	scopes := map[string]string{}
	for _, n := range nodes {
		for _, r := range n.Rotations {
			i := slices.IndexFunc(out, func(p Past) bool { return p.ID == r.ID })
			if i < 0 {
				i = len(out)
				out = append(out, Past{ID: r.ID, Start: r.StartTime})
				scopes[r.ID] = r.Scope
			}
			p := &out[i]
			if r.StartTime.Before(p.Start) {
				p.Start = r.StartTime
			}
			if r.LastTime.After(p.Last) {
				p.Last = r.LastTime
			}
			p.Nodes = append(p.Nodes, PastNode{Node: n.Name, State: r.State, Renewed: r.Renewed, Unverified: r.Unverified})
		}
	}
	for i := range out {
		p := &out[i]
		slices.SortFunc(p.Nodes, func(a, b PastNode) int { return strings.Compare(a.Node, b.Node) })
		scope := scopes[p.ID]
		scope, p.Recover = withoutRecovery(scope)
		p.Services, p.Only, p.Compromised = parseScope(scope)
		p.addRollback(scopes[p.ID], nodes)
		p.Standing = standingOf(p.Nodes)
		unfinished := FindUnfinished(nodes, scopes[p.ID], now, "")
		renewed := !slices.ContainsFunc(p.Nodes, func(n PastNode) bool { return n.State != inventory.Committed })
		p.Continued = len(p.Services) > 0 && unfinished != nil && unfinished.ID == p.ID && !(partial && renewed)
		if p.Standing == Halfway && !p.Continued && renewed {
			p.Standing = Renewed
		}
	}
	slices.SortStableFunc(out, func(a, b Past) int { return b.Start.Compare(a.Start) })
	return out
}

// standingOf returns the gravest of the nodes' states. The end of a rotation is recorded only
// after every node was verified, so the journal of one node is enough.
func standingOf(nodes []PastNode) Standing {
	for _, s := range []struct {
		state inventory.RotationState
		means Standing
	}{
		{inventory.Unknown, ManualInterventionRequired},
		{inventory.Finished, Done},
		{inventory.RolledBack, Undone},
		{inventory.Failed, Unstaged},
	} {
		if slices.ContainsFunc(nodes, func(n PastNode) bool { return n.State == s.state }) {
			return s.means
		}
	}
	return Halfway
}

// nodeName matches valid names of nodes. A scope comes from a node's journal and becomes part
// of a command that an operator may paste.
var nodeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
})

// withoutRecovery returns a scope without the mark of a recovery, and whether it had it.
func withoutRecovery(scope string) (rest string, recovery bool) {
	list, nodes, restricted := strings.Cut(scope, ";nodes=")
	if list, recovery = strings.CutSuffix(list, recovers); restricted {
		list += ";nodes=" + nodes
	}
	return list, recovery
}

// parseScope is the inverse of Request.ScopeText; ok is false for another form.
func parseScope(scope string) (services []certs.Service, nodes []string, compromised bool) {
	list, only, restricted := strings.Cut(scope, ";nodes=")
	list, compromised = strings.CutSuffix(list, distrusts)
	names, ours := strings.CutPrefix(list, "services=")
	services, err := certs.ParseServices(strings.Split(names, ","))
	if !ours || err != nil {
		return nil, nil, false
	}
	if restricted {
		nodes = strings.Split(only, ",")
	}
	if slices.ContainsFunc(nodes, func(n string) bool { return !nodeName().MatchString(n) }) {
		return nil, nil, false
	}
	return services, nodes, compromised
}

// CommandArgs returns the arguments of a command for the same scope.
func (p Past) CommandArgs() string {
	if len(p.Services) == 0 {
		return ""
	}
	words := "--all"
	switch {
	case p.Recover:
		return "recover"
	case p.RollbackOf != "":
		words = "rollback " + p.RollbackOf
	case len(p.Services) < len(certs.Services()):
		names := make([]string, 0, len(p.Services))
		for _, s := range p.Services {
			names = append(names, string(s))
		}
		words = "--service " + strings.Join(names, ",")
	}
	if len(p.Only) > 0 {
		words += " --node " + strings.Join(p.Only, ",")
	}
	if p.Compromised {
		words += " --compromised"
	}
	return words
}
