package kube

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

// authorizing answers access reviews.
func authorizing(t *testing.T, allowed func(authorizationv1.ResourceAttributes) (bool, error)) *fake.Clientset {
	t.Helper()
	c := newCluster(t)
	c.PrependReactor("create", "selfsubjectaccessreviews", func(a ktesting.Action) (bool, runtime.Object, error) {
		review := a.(ktesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		var err error
		review.Status.Allowed, err = allowed(*review.Spec.ResourceAttributes)
		return true, review, err
	})
	return c
}

func TestCheckPermissions(t *testing.T) {
	everything := func(authorizationv1.ResourceAttributes) (bool, error) { return true, nil }
	for _, use := range []Use{UseCheck, UseStatus, UseRotate} {
		require.NoError(t, CheckPermissions(t.Context(), authorizing(t, everything), use, "maintenance"))
	}

	t.Run("all that is missing is named at once", func(t *testing.T) {
		c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) {
			return a.Subresource != "exec" && a.Resource != "signers" && a.Verb != "delete", nil
		})
		err := CheckPermissions(t.Context(), c, UseRotate, "maintenance")
		var missing *MissingPermissionsError
		require.ErrorAs(t, err, &missing)
		assert.Equal(t, []string{
			"delete pods in namespace maintenance (run a pod on each node)",
			"create pods/exec in namespace maintenance (deliver orders to a node pod)",
			"delete certificatesigningrequests.certificates.k8s.io (have kubelet certificates signed)",
			`approve signers.certificates.k8s.io "kubernetes.io/kube-apiserver-client-kubelet" (approve kubelet client certificates)`,
			`approve signers.certificates.k8s.io "kubernetes.io/kubelet-serving" (approve kubelet serving certificates)`,
		}, missing.Missing)
	})
	t.Run("check needs fewer permissions", func(t *testing.T) {
		c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) {
			return a.Subresource != "exec" && a.Resource != "leases" && a.Group != "certificates.k8s.io", nil
		})
		require.NoError(t, CheckPermissions(t.Context(), c, UseCheck, "maintenance"))
	})
	t.Run("over ssh a rotation needs no permission for pods", func(t *testing.T) {
		c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) { return a.Resource != "pods", nil })
		require.NoError(t, CheckPermissions(t.Context(), c, UseRotateOverSSH, "maintenance"))
		c = authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) { return a.Resource != "leases", nil })
		require.ErrorContains(t, CheckPermissions(t.Context(), c, UseRotateOverSSH, "maintenance"), "(hold the lock)")
	})
	t.Run("what is merely useful may be missing", func(t *testing.T) {
		c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) {
			return a.Resource != "events" && a.Resource != "configmaps", nil
		})
		require.NoError(t, CheckPermissions(t.Context(), c, UseRotate, "maintenance"))
	})
	t.Run("an API that does not answer is no lack of permissions", func(t *testing.T) {
		c := authorizing(t, func(authorizationv1.ResourceAttributes) (bool, error) { return false, errors.New("connection refused") })
		err := CheckPermissions(t.Context(), c, UseCheck, "maintenance")
		require.ErrorContains(t, err, "connection refused")
		var missing *MissingPermissionsError
		assert.NotErrorAs(t, err, &missing)
	})
}

// A user who has the roles passes the check: both are made from one list.
func TestRolesGrantWhatIsChecked(t *testing.T) {
	for _, use := range []Use{UseCheck, UseStatus, UseRotate, UseRotateOverSSH} {
		roles := Roles(use, "maintenance")
		c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) { return granted(roles, a), nil })
		require.NoError(t, CheckPermissions(t.Context(), c, use, "maintenance"))
	}
	c := authorizing(t, func(a authorizationv1.ResourceAttributes) (bool, error) {
		return granted(Roles(UseCheck, "maintenance"), a), nil
	})
	require.Error(t, CheckPermissions(t.Context(), c, UseRotate, "maintenance"), "the permissions for a check do not suffice for a rotation")

	assert.True(t, granted(Roles(UseRotateOverSSH, "maintenance"), authorizationv1.ResourceAttributes{Verb: "get", Resource: "configmaps", Name: rootCAName, Namespace: metav1.NamespaceSystem}),
		"RootCA reads it")
	out, err := yaml.Marshal(Roles(UseCheck, "maintenance")[0])
	require.NoError(t, err)
	assert.Contains(t, string(out), "kind: ClusterRole")
}

func granted(roles []runtime.Object, a authorizationv1.ResourceAttributes) bool {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	has := func(rules []rbacv1.PolicyRule) bool {
		for _, r := range rules {
			if contains(r.APIGroups, a.Group) && contains(r.Resources, resource) && contains(r.Verbs, a.Verb) &&
				(len(r.ResourceNames) == 0 || contains(r.ResourceNames, a.Name)) {
				return true
			}
		}
		return false
	}
	for _, role := range roles {
		switch role := role.(type) {
		case *rbacv1.ClusterRole:
			if has(role.Rules) {
				return true
			}
		case *rbacv1.Role:
			if role.Namespace == a.Namespace && has(role.Rules) {
				return true
			}
		}
	}
	return false
}

func contains(in []string, s string) bool {
	for _, x := range in {
		if x == s {
			return true
		}
	}
	return false
}
