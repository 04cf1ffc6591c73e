package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// reader is the common part of the commands that read journals: flags, and the values that
// complete derives from them.
type reader struct {
	*app
	*connectionFlags
	nodeFlags

	output string

	format format
	conn   connection
}

func (o *reader) completeReader(cmd *cobra.Command) error {
	err := o.validateNodes(cmd)
	if err != nil {
		return err
	}
	if o.format, err = parseFormat(o.output); err != nil {
		return err
	}
	o.conn, err = o.newConnection()
	return err
}

// openCluster connects and chooses the nodes.
func (o *reader) openCluster(ctx context.Context, use kube.Use) (*cluster, fleet.Selection, error) {
	c, err := o.dial(o.conn)
	if err != nil {
		return nil, fleet.Selection{}, err
	}
	if err := c.api.Permitted(ctx, use); err != nil {
		return nil, fleet.Selection{}, err
	}
	chosen, err := o.chooseNodes(ctx, c)
	return c, chosen, err
}

func (o *reader) chooseNodes(ctx context.Context, c *cluster) (fleet.Selection, error) {
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return fleet.Selection{}, err
	}
	return o.selectNodes(all, o.now())
}

// recordedRotations scans the nodes and returns the rotations in their journals, newest first.
func (o *reader) recordedRotations(ctx context.Context, c *cluster, chosen fleet.Selection) ([]v1alpha1.PastRotation, []v1alpha1.NotInspected, error) {
	nodes, missing, err := c.Scanner.Scan(ctx, chosen.Names)
	if err != nil {
		return nil, nil, err
	}
	missing = append(chosen.Excluded, missing...)
	if err := fleet.NoneScanned(nodes, missing); err != nil {
		return nil, nil, err
	}
	for _, n := range nodes {
		for _, x := range n.NotInspected {
			if strings.HasPrefix(x.Reason, inventory.UnreadJournals) {
				missing = append(missing, plan.Exclusion{Node: n.Name, NotInspected: x})
			}
		}
	}
	return o.pastRotations(nodes), excludedItems(missing), nil
}

func (o *reader) pastRotations(nodes []inventory.Node) []v1alpha1.PastRotation {
	out := []v1alpha1.PastRotation{}
	for _, p := range plan.RotationsOf(nodes, o.now()) {
		// Another node may have recorded its end.
		p.Continued = p.Continued && len(o.nodes) == 0
		out = append(out, pastRotation(p, o.connectionFlags.commandLine()))
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

func excludedItems(missing []plan.Exclusion) []v1alpha1.NotInspected {
	out := []v1alpha1.NotInspected{}
	for _, x := range missing {
		out = append(out, v1alpha1.NotInspected{Node: x.Node, Service: x.Service, Path: x.Path, Reason: x.Reason, Informational: x.Informational})
	}
	return out
}

// scopeWords names the services and nodes of a rotation.
func scopeWords(p v1alpha1.PastRotation) string {
	words := joinServices(p.Services, ", ")
	switch len(p.Services) {
	case 0:
		words = "unknown services"
	case len(certs.Services()):
		words = "all services"
	}
	if len(p.OnlyNodes) > 0 {
		words += " on " + someNames(p.OnlyNodes)
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

func standingWord(result string) string {
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

// nodesInWords groups the nodes of one state, in the order of the first of each.
func nodesInWords(p v1alpha1.PastRotation) []string {
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
		out = append(out, someNames(of[words])+": "+words)
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

// rotationTook is how long a rotation took; nothing where no record says so.
func rotationTook(p v1alpha1.PastRotation) string {
	if d := p.LastTime.Sub(p.StartTime); !p.LastTime.IsZero() && d >= 0 {
		return elapsedTime(d)
	}
	return nothing
}

// nextSteps says how to continue with a rotation; empty where it is done.
func nextSteps(p v1alpha1.PastRotation, command string, now time.Time) []string {
	history := fmt.Sprintf("%s %s %s", command, historyName, p.ID)
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
			return []string{fmt.Sprintf("next: %s   (continues it, until %s)", p.Continue, utcMinute(p.StartTime.Add(plan.ResumeWithin)))}
		}
	}
	if now.Sub(p.StartTime) > plan.ResumeWithin {
		return []string{"It is more than a day old and cannot be continued: the same command starts a new one."}
	}
	return []string{"why: " + strings.TrimSpace(history)}
}
