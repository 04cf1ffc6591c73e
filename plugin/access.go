package plugin

import (
	"context"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// everyAccess is what a cluster administrator has.
var everyAccess = kube.Access{Verb: "*", Group: "*", Resource: "*"}

// checkPermitted checks all permissions. The error names all that are missing.
func (o *objects) checkPermitted(ctx context.Context, use kube.Use, wanted []kube.Access) error {
	// One request instead of a hundred for a cluster administrator.
	if all, err := o.isAllowed(ctx, everyAccess); err != nil || all {
		return err
	}
	return kube.CheckAccess(ctx, o.client, use, wanted)
}

func (o *objects) isAllowed(ctx context.Context, a kube.Access) (bool, error) {
	return kube.IsAllowed(ctx, o.client, a)
}
