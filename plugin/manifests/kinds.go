package manifests

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// Kind is a kind of object of an installation.
type Kind struct {
	schema.GroupVersionResource
	Kind       string
	Stage      Stage
	Namespaced bool
}

// Stage is a part of an installation; stages are carried out in this order.
type Stage string

// The stages.
const (
	StageDefinitions Stage = "definitions"
	StageNamespace   Stage = "namespace"
	StageRights      Stage = "rights"
	StageAdmission   Stage = "admission"
	StageSettings    Stage = "settings"
	StageWorkloads   Stage = "workloads"
)

// Kinds are all kinds, in the order of creation: an admission policy before the objects that
// it restricts, a role before its users.
func Kinds() []Kind {
	kind := func(stage Stage, group, version, kind, resource string, namespaced bool) Kind {
		return Kind{schema.GroupVersionResource{Group: group, Version: version, Resource: resource}, kind, stage, namespaced}
	}
	const rbac, admission = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	return []Kind{
		kind(StageDefinitions, "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false),
		kind(StageNamespace, "", "v1", "Namespace", "namespaces", false),
		kind(StageAdmission, admission, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false),
		kind(StageAdmission, admission, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false),
		kind(StageRights, "", "v1", "ServiceAccount", "serviceaccounts", true),
		kind(StageRights, rbac, "v1", "ClusterRole", "clusterroles", false),
		kind(StageRights, rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", false),
		kind(StageRights, rbac, "v1", "Role", "roles", true),
		kind(StageRights, rbac, "v1", "RoleBinding", "rolebindings", true),
		kind(StageSettings, v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "RotationPolicy", "rotationpolicies", false),
		kind(StageSettings, "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
		kind(StageWorkloads, "", "v1", "Service", "services", true),
		kind(StageWorkloads, "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
		kind(StageWorkloads, "apps", "v1", "DaemonSet", "daemonsets", true),
		kind(StageWorkloads, "apps", "v1", "Deployment", "deployments", true),
	}
}

// KindOf returns the kind of an object; false: no installation has such objects.
func KindOf(object *unstructured.Unstructured) (Kind, bool) {
	kinds := Kinds()
	i := Place(object)
	if i == len(kinds) {
		return Kind{}, false
	}
	return kinds[i], true
}

// Place is an object's position in the order of creation.
func Place(object *unstructured.Unstructured) int {
	kinds := Kinds()
	gvk := object.GroupVersionKind()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Kind == gvk.Kind && k.Group == gvk.Group })
	if i < 0 {
		return len(kinds)
	}
	return i
}
