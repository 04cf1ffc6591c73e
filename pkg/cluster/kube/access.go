package kube

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Access is a permission that something needs: one verb on a kind of resource.
type Access struct {
	Verb, Group, Resource, Subresource string
	Namespace                          string // empty: cluster-wide
	Name                               string // of the one object; empty: any
	Why                                string // for the operator; may be empty
}

// String is a permission as it is printed where it is missing:
// "create deployments.apps in namespace rotate-certs (install Deployments)".
func (a Access) String() string {
	text := a.Verb + " " + a.Resource
	if a.Group != "" {
		text += "." + a.Group
	}
	if a.Subresource != "" {
		text += "/" + a.Subresource
	}
	if a.Name != "" {
		text += fmt.Sprintf(" %q", a.Name)
	}
	if a.Namespace != "" {
		text += " in namespace " + a.Namespace
	}
	if a.Why != "" {
		text += " (" + a.Why + ")"
	}
	return text
}

// Attributes are those of a review of this permission.
func (a Access) Attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{
		Verb: a.Verb, Group: a.Group, Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name,
	}
}

// IsAllowed reports whether the user has a permission.
func IsAllowed(ctx context.Context, client kubernetes.Interface, a Access) (bool, error) {
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: a.Attributes()},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("check permissions: %w", err)
	}
	return review.Status.Allowed, nil
}
