package plugin

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// policyInForce reads the RotationPolicy's status.
func (s *survey) policyInForce(ctx context.Context) error {
	policy, err := s.rotationPolicy(ctx)
	if err != nil {
		return err
	}
	s.status.Policy = reported.PolicyInForce(policy)
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
