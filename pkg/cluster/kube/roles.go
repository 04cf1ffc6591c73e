package kube

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Roles returns the ClusterRole and the Roles that allow a use, with node pods in
// that namespace, ready to be printed as YAML. The permission to create pods in a namespace
// that admits node pods makes a user root on every node: bind the roles narrowly.
func Roles(use Use, namespace string) []runtime.Object {
	name := "rotate-certs:" + strings.ReplaceAll(string(use), " --transport ", "-over-")
	var clusterWide []rbacv1.PolicyRule
	inNamespace := map[string][]rbacv1.PolicyRule{}
	var namespaces []string
	for _, p := range permissionsOf(use, namespace) {
		if p.namespace == "" {
			clusterWide = append(clusterWide, p.policyRule())
			continue
		}
		if !slices.Contains(namespaces, p.namespace) {
			namespaces = append(namespaces, p.namespace)
		}
		inNamespace[p.namespace] = append(inNamespace[p.namespace], p.policyRule())
	}
	out := []runtime.Object{&rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      clusterWide,
	}}
	slices.SortFunc(namespaces, strings.Compare)
	for _, ns := range namespaces {
		out = append(out, &rbacv1.Role{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Rules:      inNamespace[ns],
		})
	}
	return out
}

func (p permission) policyRule() rbacv1.PolicyRule {
	what := p.resource
	if p.subresource != "" {
		what += "/" + p.subresource
	}
	rule := rbacv1.PolicyRule{APIGroups: []string{p.group}, Resources: []string{what}, Verbs: p.verbs}
	if p.name != "" {
		rule.ResourceNames = []string{p.name}
	}
	return rule
}
