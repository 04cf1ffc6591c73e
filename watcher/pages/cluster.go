package pages

import (
	"context"
	"errors"
	"fmt"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// userCluster is the cluster as one user may see it.
type userCluster struct {
	*Source
	user dashboard.User
}

// Contexts returns the only cluster.
func (c *userCluster) Contexts() []dashboard.Context {
	return []dashboard.Context{{Name: c.Name, User: c.user.Name, Server: c.Server, Key: "own", Current: true}}
}

// Open returns the cluster.
func (c *userCluster) Open(name string) (dashboard.Cluster, error) {
	if name != c.Name {
		return nil, fmt.Errorf("unknown cluster %q", name)
	}
	return c, nil
}

// errNoPods is the answer to a request for which a pod would have to be created on each node.
var errNoPods = hint.AddTo(errors.New("the dashboard in the cluster starts no pods: it shows the reports of the agents"), "kubectl rotate-certs check scans the nodes, and history reads their journals")

// errDeletesNothing is the answer to a request to delete an object.
var errDeletesNothing = hint.AddTo(errors.New("the dashboard in the cluster deletes nothing"), "kubectl delete compromisedcertificate NAME")

// Scan is not possible here.
func (c *userCluster) Scan(context.Context) (v1alpha1.CertificateList, error) {
	return v1alpha1.CertificateList{}, errNoPods
}

// Rotations is not possible here.
func (c *userCluster) Rotations(context.Context) (v1alpha1.RotationList, error) {
	return v1alpha1.RotationList{}, errNoPods
}

// Records is not possible here.
func (c *userCluster) Records(context.Context, string) (v1alpha1.RotationHistory, error) {
	return v1alpha1.RotationHistory{}, errNoPods
}

// DeleteMark is not possible here.
func (c *userCluster) DeleteMark(context.Context, string) error { return errDeletesNothing }
