package manifests

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/rotate-certs/rotate-certs/pkg/kube"
)

// RotateRole names the roles that let the watcher rotate.
const RotateRole = Watcher + ":rotate"

// rotateRights are the roles that a rotation needs, from the very table that a person's
// permissions are checked against, bound to the watcher. Its node pods run in the
// installation's own namespace. What it needs in namespaces of Kubernetes is part of the
// ClusterRole, and watcher-admission.yaml confines it to these: tools that move an
// installation to another namespace would move roles that lie there as well.
func rotateRights(namespace string) ([]*unstructured.Unstructured, error) {
	var clusterWide, inNamespace []rbacv1.PolicyRule
	for _, role := range kube.Roles(kube.UseRotate, namespace) {
		switch r := role.(type) {
		case *rbacv1.ClusterRole:
			clusterWide = append(clusterWide, r.Rules...)
		case *rbacv1.Role:
			if r.Namespace == namespace {
				inNamespace = append(inNamespace, r.Rules...)
			} else {
				clusterWide = append(clusterWide, r.Rules...)
			}
		}
	}
	typeMeta := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
	}
	roleRef := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: RotateRole}
	}
	everywhere, here := metav1.ObjectMeta{Name: RotateRole}, metav1.ObjectMeta{Name: RotateRole, Namespace: namespace}
	watcher := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: Watcher, Namespace: namespace}}
	var objects []*unstructured.Unstructured
	for _, object := range []runtime.Object{
		&rbacv1.ClusterRole{TypeMeta: typeMeta("ClusterRole"), ObjectMeta: everywhere, Rules: clusterWide},
		&rbacv1.ClusterRoleBinding{TypeMeta: typeMeta("ClusterRoleBinding"), ObjectMeta: everywhere, RoleRef: roleRef("ClusterRole"), Subjects: watcher},
		&rbacv1.Role{TypeMeta: typeMeta("Role"), ObjectMeta: here, Rules: inNamespace},
		&rbacv1.RoleBinding{TypeMeta: typeMeta("RoleBinding"), ObjectMeta: here, RoleRef: roleRef("Role"), Subjects: watcher},
	} {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encode a role: %w", err)
		}
		u := &unstructured.Unstructured{Object: content}
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		objects = append(objects, u)
	}
	return objects, nil
}
