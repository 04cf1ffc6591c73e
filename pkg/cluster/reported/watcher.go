package reported

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// PolicyInForce is the state of the RotationPolicy; nil: there is none.
func PolicyInForce(policy *v1alpha1.RotationPolicy) *v1alpha1.PolicyInForce {
	out := &v1alpha1.PolicyInForce{}
	if policy == nil {
		return out
	}
	out.Generation = policy.Generation
	out.Valid = string(metav1.ConditionUnknown)
	out.InForce = string(metav1.ConditionUnknown)
	if policy.Status.ObservedGeneration != policy.Generation {
		return out
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
	return out
}

// OpenRotation is a rotation that has not succeeded, as a status lists it.
func OpenRotation(r *v1alpha1.CertificateRotation) v1alpha1.OpenRotation {
	state := r.State()
	if state == "" {
		state = v1alpha1.StatePending
	}
	open := v1alpha1.OpenRotation{Name: r.Name, Services: r.Spec.Services, Nodes: r.Spec.Nodes, State: state, Message: r.Message()}
	if r.Spec.NodeSelector != nil {
		open.NodeSelector = metav1.FormatLabelSelector(r.Spec.NodeSelector.LabelSelector())
	}
	return open
}
