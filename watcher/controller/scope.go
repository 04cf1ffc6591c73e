package controller

import (
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// nothingToDo returns why there is nothing to do for a rotation; empty: there is. It keeps a
// rotation from being carried out again if its end could not be written into its status.
func nothingToDo(c *v1alpha1.CertificateRotation, ready fleet.Rotation) string {
	for _, past := range plan.RotationsOf(ready.Scanned, ready.Partial, time.Time{}) {
		if past.ID == c.Status.RotationID && past.Standing == plan.Done {
			return "done and verified, according to the journals of the nodes"
		}
	}
	if c.Spec.Trigger == nil || len(c.Spec.Trigger.Fingerprints) == 0 {
		return ""
	}
	if ready.Unfinished != nil && ready.Unfinished.ID == c.Status.RotationID {
		return "" // it must be finished: its nodes have no record of its end
	}
	for _, n := range ready.Scanned {
		for _, certificate := range n.Certificates {
			if slices.Contains(c.Spec.Trigger.Fingerprints, certificate.FingerprintSHA256) {
				return ""
			}
		}
	}
	return "nothing to do: none of its certificates is on a node anymore"
}

// residualNotes lists what the replaced certificates of compromised keys still give access to.
func residualNotes(c *v1alpha1.CertificateRotation, nodes []inventory.Node, report *v1alpha1.RotationReport) []string {
	if !c.Spec.Compromised {
		return nil
	}
	replaced := map[string]bool{}
	for _, item := range report.Items {
		for _, renewed := range item.Certificates {
			if renewed.New != nil {
				replaced[renewed.Old.FingerprintSHA256] = true
			}
		}
	}
	var old []renewal.Compromised
	for _, n := range nodes {
		for _, found := range n.Certificates {
			if replaced[found.FingerprintSHA256] {
				old = append(old, renewal.Compromised{Node: n.Name, Certificate: renewal.CertificateOf(found)})
			}
		}
	}
	return renewal.ResidualAccess(old)
}

// engineRequest converts a spec for the engine.
func engineRequest(spec v1alpha1.CertificateRotationSpec) (plan.Request, error) {
	req := plan.Request{
		Services: certs.SortServices(spec.Services), Nodes: spec.Nodes, Restart: plan.RestartAlways,
		MaxUnavailable: plan.DefaultMaxUnavailable, Compromised: spec.Compromised,
		RequireAll: spec.RequireAll, AllowShortValidity: spec.AllowShortValidity,
	}
	if restart, err := plan.ParseRestartPolicy(spec.Restart); err == nil { // the API server accepts no other
		req.Restart = restart
	}
	if spec.MaxUnavailable != nil {
		req.MaxUnavailable = spec.MaxUnavailable.String()
	}
	if spec.Validity != nil {
		req.Validity = spec.Validity.Duration
	}
	if spec.NodeSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(spec.NodeSelector.LabelSelector())
		if err != nil {
			return req, fmt.Errorf("%w by spec.nodeSelector: %w", fleet.ErrSelector, err)
		}
		req.NodeSelector = selector.String()
	}
	return req, nil
}

// pluginArguments are the arguments of the plugin for the same rotation.
func pluginArguments(spec v1alpha1.CertificateRotationSpec) string {
	words := plan.Past{Services: certs.SortServices(spec.Services), Only: spec.Nodes, Compromised: spec.Compromised}.CommandArgs()
	if spec.NodeSelector != nil {
		words += fmt.Sprintf(" --selector %q", metav1.FormatLabelSelector(spec.NodeSelector.LabelSelector()))
	}
	return words
}

// recordRefusal returns whether a plan was refused, and records the nodes of its problems as
// failed. Certificates on other nodes are not counted as failed.
func recordRefusal(c *v1alpha1.CertificateRotation, err error, now time.Time) bool {
	var refusal *plan.RefusedError
	if !errors.As(err, &refusal) {
		return false
	}
	for _, p := range refusal.Problems {
		recordPhase(&c.Status, fleet.Progress{Node: p.Node, Phase: fleet.PhaseFailed, Text: p.Text}, now)
	}
	return true
}

// skipped is the phase of a node that could not be rotated.
const skipped fleet.Phase = "skipped"

// recordSkipped records the nodes of a rotation that could not be scanned, and returns their
// names.
func recordSkipped(c *v1alpha1.CertificateRotation, ready fleet.Rotation, now time.Time) []string {
	var names []string
	for _, x := range ready.Plan.NotInspected {
		if x.Service != "" || x.Path != "" || len(ready.Request.Nodes) > 0 && !slices.Contains(ready.Request.Nodes, x.Node) {
			continue
		}
		recordPhase(&c.Status, fleet.Progress{Node: x.Node, Phase: skipped, Text: x.Reason}, now)
		names = append(names, x.Node)
	}
	return names
}
