package controller

import (
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// CountInterventions counts the rotations after which an operator must repair a node: neither
// its old nor its new certificates could be verified. A rotation is counted until later
// rotations have succeeded on each of its failed nodes, or its object is deleted.
func CountInterventions(all []v1alpha1.CertificateRotation) int {
	count := 0
	for i := range all {
		if all[i].State() == v1alpha1.StateManualInterventionRequired && !repairedLater(&all[i], all) {
			count++
		}
	}
	return count
}

// repairedLater is true if later rotations have succeeded on each node that a rotation failed
// on.
func repairedLater(c *v1alpha1.CertificateRotation, all []v1alpha1.CertificateRotation) bool {
	failed := false
	for _, n := range c.Status.Nodes {
		if !failedOn(n) {
			continue
		}
		failed = true
		if !slices.ContainsFunc(all, func(later v1alpha1.CertificateRotation) bool {
			return endedAfter(&later, c) && verifiedOn(&later, n.Node)
		}) {
			return false
		}
	}
	return failed
}

func endedAfter(later, earlier *v1alpha1.CertificateRotation) bool {
	return later.Status.CompletionTime != nil && earlier.Status.CompletionTime != nil && earlier.Status.CompletionTime.Before(later.Status.CompletionTime)
}

// verifiedOn says that a rotation verified the new certificates of a node.
func verifiedOn(c *v1alpha1.CertificateRotation, node string) bool {
	return slices.ContainsFunc(c.Status.Nodes, func(n v1alpha1.RotationNodeStatus) bool {
		return n.Node == node && n.Phase == phaseName(fleet.PhaseVerified)
	})
}
