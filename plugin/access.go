package plugin

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"

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
	questions := make([]kube.Access, 0, len(wanted))
	for _, a := range wanted {
		questions = append(questions, kube.Access{ResourceAttributes: a.attributes(), Text: a.String()})
	}
	return kube.CheckAccess(ctx, o.client, use, questions)
}

func (o *objects) isAllowed(ctx context.Context, a access) (bool, error) {
	return kube.IsAllowed(ctx, o.client, a.attributes())
}

func (a access) attributes() authorizationv1.ResourceAttributes {
	return authorizationv1.ResourceAttributes{Namespace: a.namespace, Verb: a.verb, Group: a.group, Resource: a.resource}
}
