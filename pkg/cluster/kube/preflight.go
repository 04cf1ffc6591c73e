package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Use is a use of the cluster, with permissions of its own.
type Use string

// The uses.
const (
	UseCheck  Use = "check"
	UseRotate Use = "rotate"
	UseStatus Use = "status" // check, and reading the lock
	// UseRotateOverSSH is a rotation without pods.
	UseRotateOverSSH Use = "rotate --transport ssh"
)

// permission is one kind of access, and the reason for it.
type permission struct {
	group, resource, subresource string
	name                         string // of the one object; empty: any
	namespace                    string // empty: cluster-wide
	verbs                        []string
	optional                     bool // missing, only some output is missing
	why                          string
}

// permissionsOf lists the permissions of a use, for the check before the start and for the
// roles in the documentation.
func permissionsOf(use Use, namespace string) []permission {
	if use == UseRotateOverSSH {
		ofPods := func(p permission) bool { return p.resource == "pods" || p.resource == "events" }
		return append(slices.DeleteFunc(permissionsOf(UseRotate, namespace), ofPods), permission{resource: "configmaps", name: rootCAName,
			namespace: metav1.NamespaceSystem, verbs: []string{"get"}, why: "compare the cluster's CA with that of the hosts"})
	}
	const certificates = "certificates.k8s.io"
	common := []permission{
		{resource: "nodes", verbs: []string{"get", "list"}, why: "find the nodes"},
		{resource: "pods", namespace: namespace, verbs: []string{"get", "list", "watch", "create", "delete"}, why: "run a pod on each node"},
		{resource: "pods", subresource: "log", namespace: namespace, verbs: []string{"get"}, why: "read the output of a node pod"},
		{resource: "events", namespace: namespace, verbs: []string{"list"}, optional: true, why: "say why a node pod does not start"},
	}
	if use == UseCheck {
		return common
	}
	if use == UseStatus {
		return append(common, permission{group: "coordination.k8s.io", resource: "leases", name: LeaseName, namespace: LeaseNamespace,
			verbs: []string{"get"}, why: "read the lock"})
	}
	if namespace != DefaultNamespace {
		// The node pods of a command without --namespace.
		common = append(common, permission{resource: "pods", namespace: DefaultNamespace, verbs: []string{"get", "delete"},
			optional: true, why: "remove the pods of an interrupted rotation"})
	}
	return append(common, []permission{
		{resource: "pods", subresource: "exec", namespace: namespace, verbs: []string{"create"}, why: "deliver orders to a node pod"},
		{resource: "pods", subresource: "exec", namespace: namespace, verbs: []string{"get"}, optional: true, why: "deliver orders through WebSockets"},
		// A role cannot name an object that does not exist yet, hence two entries.
		{group: "coordination.k8s.io", resource: "leases", namespace: LeaseNamespace, verbs: []string{"create"}, why: "take the lock"},
		{group: "coordination.k8s.io", resource: "leases", name: LeaseName, namespace: LeaseNamespace, verbs: []string{"get", "update"}, why: "hold the lock"},
		{group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", verbs: []string{"get"}, why: "verify that a restarted kubelet reports again"},
		{group: certificates, resource: "certificatesigningrequests", verbs: []string{"get", "list", "watch", "create", "delete"}, why: "have kubelet certificates signed"},
		{group: certificates, resource: "certificatesigningrequests", subresource: "approval", verbs: []string{"update"}, why: "approve kubelet certificates"},
		{group: certificates, resource: "signers", name: certificatesv1.KubeAPIServerClientKubeletSignerName, verbs: []string{"approve"}, why: "approve kubelet client certificates"},
		{group: certificates, resource: "signers", name: certificatesv1.KubeletServingSignerName, verbs: []string{"approve"}, why: "approve kubelet serving certificates"},
		{resource: "pods", namespace: metav1.NamespaceSystem, verbs: []string{"list"}, optional: true, why: "report collateral restarts"},
		{resource: "configmaps", name: "kubeadm-config", namespace: metav1.NamespaceSystem, verbs: []string{"get"}, optional: true, why: "read the cluster's certificate validity"},
		{resource: "pods", verbs: []string{"list"}, optional: true, why: "find pods of an interrupted rotation in other namespaces"},
	}...)
}

// MissingPermissionsError names every permission that is missing.
type MissingPermissionsError struct {
	Use     Use
	Missing []string // "create pods/exec in namespace kube-system (deliver orders to a node pod)"
}

func (e *MissingPermissionsError) Error() string {
	return fmt.Sprintf("missing permissions for %s:\n  %s", e.Use, strings.Join(e.Missing, "\n  "))
}

// Hint returns the next step; see package hint.
func (e *MissingPermissionsError) Hint() string { return hintRBAC }

// CheckPermissions checks all permissions that a use needs, with node pods in that namespace.
// A [*MissingPermissionsError] names all that are missing. Optional ones are not checked.
func CheckPermissions(ctx context.Context, client kubernetes.Interface, use Use, namespace string) error {
	var wanted []Access
	for _, p := range permissionsOf(use, namespace) {
		for _, verb := range p.verbs {
			if !p.optional {
				wanted = append(wanted, Access{Verb: verb, Group: p.group, Resource: p.resource, Subresource: p.subresource, Namespace: p.namespace, Name: p.name, Why: p.why})
			}
		}
	}
	return CheckAccess(ctx, client, use, wanted)
}

// CheckAccess checks permissions, all at the same time. A [*MissingPermissionsError] names all that
// are missing.
func CheckAccess(ctx context.Context, client kubernetes.Interface, use Use, wanted []Access) error {
	allowed := make([]bool, len(wanted))
	var all errgroup.Group
	for i, a := range wanted {
		all.Go(func() (err error) {
			allowed[i], err = IsAllowed(ctx, client, a)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	missing := &MissingPermissionsError{Use: use}
	for i, a := range wanted {
		if !allowed[i] {
			missing.Missing = append(missing.Missing, a.String())
		}
	}
	if len(missing.Missing) == 0 {
		return nil
	}
	missing.Missing = slices.Compact(missing.Missing)
	return missing
}
