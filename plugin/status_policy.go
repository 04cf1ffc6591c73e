package plugin

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// policyInForce reads the RotationPolicy's status.
func (s *survey) policyInForce(ctx context.Context) error {
	policy, err := s.rotationPolicy(ctx)
	if err != nil {
		return err
	}
	s.status.Policy = &v1alpha1.PolicyInForce{}
	if policy == nil {
		return nil
	}
	out := s.status.Policy
	out.Generation = policy.Generation
	out.Valid = string(metav1.ConditionUnknown)
	out.InForce = string(metav1.ConditionUnknown)
	if policy.Status.ObservedGeneration != policy.Generation {
		return nil
	}
	if c := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionValid); c != nil {
		out.Valid = string(c.Status)
		out.Problem = c.Message
	}
	if c := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionInForce); c != nil {
		out.InForce = string(c.Status)
		out.Message = c.Message
	}
	if since := policy.Status.InForceSince; since != nil {
		at := since.UTC()
		out.Since = &at
	}
	return nil
}

func policyLines(p *v1alpha1.PolicyInForce) []string {
	since := ""
	if p.Since != nil {
		since = " since " + printers.UTCMinute(*p.Since)
	}
	switch {
	case p.Generation == 0:
		return []string{"Policy: there is no RotationPolicy, the defaults are in force."}
	case p.Valid == string(metav1.ConditionFalse):
		lines := []string{"Policy: RotationPolicy " + v1alpha1.RotationPolicyName + " is INVALID: " + p.Message}
		for line := range strings.SplitSeq(p.Problem, "\n") {
			lines = append(lines, "  "+line)
		}
		return lines
	case p.InForce == string(metav1.ConditionTrue):
		return []string{fmt.Sprintf("Policy: in force%s: %s", since, p.Message)}
	}
	return []string{"Policy: RotationPolicy " + v1alpha1.RotationPolicyName + " has not been read by the watcher yet."}
}
