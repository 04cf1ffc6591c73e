package printers

import (
	"fmt"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// PastRotations lists the rotations in the journals of nodes, newest first. command is how the
// program is called. partial means that other nodes were not read: one of them may have recorded
// the end of a rotation, so that none is said to be continued.
func PastRotations(nodes []inventory.Node, command string, partial bool, now time.Time) []v1alpha1.PastRotation {
	out := []v1alpha1.PastRotation{}
	for _, p := range plan.RotationsOf(nodes, partial, now) {
		p.Continued = p.Continued && !partial
		out = append(out, pastRotation(p, command))
	}
	return out
}

func pastRotation(p plan.Past, command string) v1alpha1.PastRotation {
	out := v1alpha1.PastRotation{
		ID: p.ID, RollbackOf: p.RollbackOf, Services: append([]certs.Service{}, p.Services...), OnlyNodes: p.Only,
		StartTime: p.Start.UTC(), LastTime: p.Last.UTC(), Result: string(p.Standing), Nodes: []v1alpha1.PastRotationNode{},
	}
	if p.Continued {
		out.Continue = command + " " + p.CommandArgs()
	}
	for _, n := range p.Nodes {
		out.Nodes = append(out.Nodes, v1alpha1.PastRotationNode{Node: n.Node, State: string(n.State), Renewed: len(n.Renewed), Unverified: n.Unverified})
	}
	return out
}

// ScopeWords names the services and nodes of a rotation.
func ScopeWords(p v1alpha1.PastRotation) string {
	words := JoinServices(p.Services, ", ")
	switch len(p.Services) {
	case 0:
		words = "unknown services"
	case len(certs.Services()):
		words = "all services"
	}
	if len(p.OnlyNodes) > 0 {
		words += " on " + SomeNames(p.OnlyNodes)
	}
	if p.RollbackOf != "" {
		words += ", rollback of " + p.RollbackOf
	}
	return words
}

// standings are the printed results.
var standings = map[plan.Standing]string{
	plan.Done: "succeeded", plan.Halfway: "UNFINISHED", plan.Undone: "ROLLED BACK",
	plan.Unstaged: "FAILED, nothing changed", plan.ManualInterventionRequired: "MANUAL INTERVENTION REQUIRED", plan.Renewed: "renewed, its end is not recorded",
}

// StandingWord is the printed result of a rotation.
func StandingWord(result string) string {
	if words, known := standings[plan.Standing(result)]; known {
		return words
	}
	return result
}

// states are the printed states of nodes.
var states = map[inventory.RotationState]string{
	inventory.Staging: "staging was interrupted, nothing changed", inventory.Staged: "staged, nothing changed",
	inventory.Failed:     "staging failed, nothing changed",
	inventory.Committing: "BETWEEN OLD AND NEW: the next boot, the next rotation or \"/var/lib/rotate-certs/bin/rotate-certs-node recover\" on the node rolls it back",
	inventory.Committed:  "new certificates, verified", inventory.RolledBack: "rolled back, verified",
	inventory.Unknown: "STATE UNKNOWN: neither old nor new certificates could be verified", inventory.Finished: "new certificates, verified",
}

// NodesInWords groups the nodes of one state, in the order of the first of each.
func NodesInWords(p v1alpha1.PastRotation) []string {
	var order []string
	of := map[string][]string{}
	for _, n := range p.Nodes {
		words, known := states[inventory.RotationState(n.State)]
		if !known {
			words = n.State
		}
		if n.Unverified {
			words = unverifiedWord(n.State) + "; the next rotation on this node verifies it first"
		}
		if p.RollbackOf != "" {
			words = strings.Replace(words, "new certificates", "earlier certificates", 1)
		}
		if of[words] == nil {
			order = append(order, words)
		}
		of[words] = append(of[words], n.Node)
	}
	out := make([]string, 0, len(order))
	for _, words := range order {
		out = append(out, SomeNames(of[words])+": "+words)
	}
	return out
}

// unverifiedWord says which certificates are in place on a node that could not verify them.
func unverifiedWord(state string) string {
	if state == string(inventory.Committed) {
		return "new certificates, NOT VERIFIED YET"
	}
	return "rolled back, NOT VERIFIED YET"
}

// RotationTook is how long a rotation took; nothing where no record says so.
func RotationTook(p v1alpha1.PastRotation) string {
	if d := p.LastTime.Sub(p.StartTime); !p.LastTime.IsZero() && d >= 0 {
		return ElapsedTime(d)
	}
	return Nothing
}

// NextSteps says how to continue with a rotation; empty where it is done.
func NextSteps(p v1alpha1.PastRotation, command string, now time.Time) []string {
	history := fmt.Sprintf("%s %s %s", command, "history", p.ID)
	switch plan.Standing(p.Result) {
	case plan.Done, plan.Renewed:
		return nil
	case plan.ManualInterventionRequired:
		return []string{"next: " + history}
	case plan.Undone, plan.Unstaged:
		if p.Continue != "" {
			return []string{"why: " + history, "next: fix the cause, then: " + p.Continue}
		}
	case plan.Halfway:
		if p.Continue != "" {
			return []string{fmt.Sprintf("next: %s   (continues it, until %s)", p.Continue, UTCMinute(p.StartTime.Add(plan.ResumeWithin)))}
		}
	}
	if now.Sub(p.StartTime) > plan.ResumeWithin {
		return []string{"It is more than a day old and cannot be continued: the same command starts a new one."}
	}
	return []string{"why: " + strings.TrimSpace(history)}
}
