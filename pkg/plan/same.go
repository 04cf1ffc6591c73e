package plan

import (
	"slices"
	"strings"
)

// RenewsSame reports whether a plan renews the same certificates as another one and restarts the
// same components, on the same nodes.
func (p Plan) RenewsSame(other Plan) bool {
	return slices.EqualFunc(busySteps(p), busySteps(other), sameStep)
}

// busySteps are the steps that change something, by node.
func busySteps(p Plan) []Step {
	steps := slices.DeleteFunc(p.AllSteps(), Step.IsIdle)
	slices.SortFunc(steps, func(a, b Step) int { return strings.Compare(a.Node, b.Node) })
	return steps
}

func sameStep(a, b Step) bool {
	sameTarget := func(a, b Target) bool { return a.ID == b.ID && a.OldFingerprint == b.OldFingerprint }
	return a.Node == b.Node && a.RestartUnit == b.RestartUnit && slices.EqualFunc(a.Targets, b.Targets, sameTarget) &&
		slices.Equal(a.Restarts, b.Restarts) && slices.Equal(a.OtherRestarts, b.OtherRestarts)
}
