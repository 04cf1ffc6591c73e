package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// access is one permission that a command needs.
type access struct {
	verb, group, resource, namespace string
	why                              string
}

func (a access) String() string {
	what := a.verb + " " + a.resource
	if a.group != "" {
		what += "." + a.group
	}
	if a.namespace != "" {
		what += " in namespace " + a.namespace
	}
	return fmt.Sprintf("%s (%s)", what, a.why)
}

// checkPermitted checks all permissions. The error names all that are missing.
func (o *objects) checkPermitted(ctx context.Context, use kube.Use, wanted []access) error {
	// One request instead of a hundred for a cluster administrator.
	if all, err := o.isAllowed(ctx, access{verb: "*", group: "*", resource: "*"}); err != nil || all {
		return err
	}
	answers := make([]bool, len(wanted))
	failures := make([]error, len(wanted))
	var questions sync.WaitGroup
	for n, a := range wanted {
		questions.Go(func() { answers[n], failures[n] = o.isAllowed(ctx, a) })
	}
	questions.Wait()
	missing := &kube.MissingPermissionsError{Use: use}
	for n, a := range wanted {
		if failures[n] != nil {
			return failures[n]
		}
		if !answers[n] {
			missing.Missing = append(missing.Missing, a.String())
		}
	}
	if len(missing.Missing) == 0 {
		return nil
	}
	missing.Missing = slices.Compact(missing.Missing)
	return missing
}

func (o *objects) isAllowed(ctx context.Context, a access) (bool, error) {
	review, err := o.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: a.namespace, Verb: a.verb, Group: a.group, Resource: a.resource,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("check permissions: %w", err)
	}
	return review.Status.Allowed, nil
}
