package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Use is what somebody wants to do.
type Use string

// The uses, each with permissions of its own.
const (
	UseCheck  Use = "check"
	UseRotate Use = "rotate"
	UseStatus Use = "status" // check, and a look at the lock
)

// permission is one kind of access, and why it is needed.
type permission struct {
	group, resource, subresource string
	name                         string // of the one object; empty: any
	namespace                    string // empty: cluster-wide
	verbs                        []string
	optional                     bool // works without, less well
	why                          string
}

// permissions lists what a use needs. It is the one source of the check before a
// start and of the roles in the documentation.
func permissions(use Use, namespace string) []permission {
	const certificates = "certificates.k8s.io"
	common := []permission{
		{resource: "nodes", verbs: []string{"get", "list"}, why: "find the nodes"},
		{resource: "pods", namespace: namespace, verbs: []string{"get", "list", "watch", "create", "delete"}, why: "run a pod on each node"},
		{resource: "pods", subresource: "log", namespace: namespace, verbs: []string{"get"}, why: "read what a node pod found"},
		{resource: "events", namespace: namespace, verbs: []string{"list"}, optional: true, why: "say why a node pod does not start"},
	}
	if use == UseCheck {
		return common
	}
	if use == UseStatus {
		return append(common, permission{group: "coordination.k8s.io", resource: "leases", name: LeaseName, namespace: LeaseNamespace,
			verbs: []string{"get"}, why: "see who holds the lock"})
	}
	if namespace != DefaultNamespace {
		// Where those run their pods who name no namespace.
		common = append(common, permission{resource: "pods", namespace: DefaultNamespace, verbs: []string{"get", "delete"},
			optional: true, why: "remove what an interrupted run left there"})
	}
	return append(common, []permission{
		{resource: "pods", subresource: "exec", namespace: namespace, verbs: []string{"create"}, why: "deliver orders to a node pod"},
		{resource: "pods", subresource: "exec", namespace: namespace, verbs: []string{"get"}, optional: true, why: "the same, through WebSockets"},
		// A role cannot name an object that is yet to be created, hence two entries.
		{group: "coordination.k8s.io", resource: "leases", namespace: LeaseNamespace, verbs: []string{"create"}, why: "take the lock"},
		{group: "coordination.k8s.io", resource: "leases", name: LeaseName, namespace: LeaseNamespace, verbs: []string{"get", "update"}, why: "hold the lock"},
		{group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", verbs: []string{"get"}, why: "see that a restarted kubelet reports again"},
		{group: certificates, resource: "certificatesigningrequests", verbs: []string{"get", "list", "watch", "create", "delete"}, why: "have kubelet certificates signed"},
		{group: certificates, resource: "certificatesigningrequests", subresource: "approval", verbs: []string{"update"}, why: "approve kubelet certificates"},
		{group: certificates, resource: "signers", name: certificatesv1.KubeAPIServerClientKubeletSignerName, verbs: []string{"approve"}, why: "approve kubelet client certificates"},
		{group: certificates, resource: "signers", name: certificatesv1.KubeletServingSignerName, verbs: []string{"approve"}, why: "approve kubelet serving certificates"},
		{resource: "pods", namespace: metav1.NamespaceSystem, verbs: []string{"list"}, optional: true, why: "report collateral restarts"},
		{resource: "configmaps", name: "kubeadm-config", namespace: metav1.NamespaceSystem, verbs: []string{"get"}, optional: true, why: "read the cluster's certificate lifetime"},
		{resource: "pods", verbs: []string{"list"}, optional: true, why: "find what an interrupted run left in other namespaces"},
	}...)
}

// MissingPermissionsError names every permission that is missing.
type MissingPermissionsError struct {
	Use     Use
	Missing []string // "create pods/exec in namespace kube-system (deliver orders to a node pod)"
}

func (e *MissingPermissionsError) Error() string {
	return fmt.Sprintf("missing permissions for %s:\n  %s\n%s", e.Use, strings.Join(e.Missing, "\n  "), hintRBAC)
}

// CheckPermissions asks the API server whether we may do all that a use needs, with
// node pods in that namespace. What is missing is a [*MissingPermissionsError] that
// names all of it at once; what is merely useful is not asked for.
func CheckPermissions(ctx context.Context, client kubernetes.Interface, use Use, namespace string) error {
	type question struct {
		permission
		verb string
		no   bool
		err  error
	}
	var questions []*question
	for _, p := range permissions(use, namespace) {
		if p.optional {
			continue
		}
		for _, verb := range p.verbs {
			questions = append(questions, &question{permission: p, verb: verb})
		}
	}
	var all sync.WaitGroup
	for _, q := range questions {
		all.Go(func() {
			review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: q.namespace, Verb: q.verb, Group: q.group, Resource: q.resource, Subresource: q.subresource, Name: q.name,
				}},
			}, metav1.CreateOptions{})
			q.err = err
			q.no = err == nil && !review.Status.Allowed
		})
	}
	all.Wait()
	missing := &MissingPermissionsError{Use: use}
	for _, q := range questions {
		if q.err != nil {
			return fmt.Errorf("check permissions: %w", q.err)
		}
		if q.no {
			missing.Missing = append(missing.Missing, q.describe(q.verb))
		}
	}
	if len(missing.Missing) > 0 {
		return missing
	}
	return nil
}

// describe is a permission as a person reads it.
func (p permission) describe(verb string) string {
	what := p.resource
	if p.subresource != "" {
		what += "/" + p.subresource
	}
	if p.name != "" {
		what += fmt.Sprintf(" %q", p.name)
	}
	if p.namespace != "" {
		what += " in namespace " + p.namespace
	}
	return fmt.Sprintf("%s %s (%s)", verb, what, p.why)
}
