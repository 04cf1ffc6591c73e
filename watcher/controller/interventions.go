package controller

import (
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// Interventions counts the rotations after which an operator must repair a node: those that
// left a node with neither its old nor its new certificates verified. One is counted until
// later rotations have succeeded on each node that it failed on, or its object is deleted.
func Interventions(all []v1alpha1.CertificateRotation) int {
	count := 0
	for i := range all {
		if all[i].State() == v1alpha1.StateManualInterventionRequired && !repaired(&all[i], all) {
			count++
		}
	}
	return count
}

// repaired says that later rotations have succeeded on each node that one failed on.
func repaired(c *v1alpha1.CertificateRotation, all []v1alpha1.CertificateRotation) bool {
	failed := false
	for _, n := range c.Status.Nodes {
		if !wentWrong(n) {
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
