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
// installation's own namespace.
func rotateRights(namespace string) ([]*unstructured.Unstructured, error) {
	var typed []runtime.Object
	for _, role := range kube.Roles(kube.UseRotate, namespace) {
		switch r := role.(type) {
		case *rbacv1.ClusterRole:
			r.Name = RotateRole
			typed = append(typed, r, &rbacv1.ClusterRoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
				ObjectMeta: metav1.ObjectMeta{Name: RotateRole},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: RotateRole},
				Subjects:   watcherSubject(namespace),
			})
		case *rbacv1.Role:
			r.Name = RotateRole
			typed = append(typed, r, &rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
				ObjectMeta: metav1.ObjectMeta{Name: RotateRole, Namespace: r.Namespace},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: RotateRole},
				Subjects:   watcherSubject(namespace),
			})
		}
	}
	objects := make([]*unstructured.Unstructured, 0, len(typed))
	for _, object := range typed {
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

func watcherSubject(namespace string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: Watcher, Namespace: namespace}}
}
