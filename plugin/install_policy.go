package plugin

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// respectPolicy keeps a present RotationPolicy, unless a file is given.
func (i *installer) respectPolicy(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if i.policy != nil {
		return objects, nil
	}
	there, err := i.api.rotationPolicy(ctx)
	switch {
	case noSuchKind(err):
		return objects, nil
	case err != nil:
		return nil, err
	case there == nil:
		return objects, nil
	}
	i.warnings = append(i.warnings, fmt.Sprintf("RotationPolicy %s is kept; --policy FILE replaces it.", v1alpha1.RotationPolicyName))
	return withoutKind(objects, rotationpolicy.Kind), nil
}

// notDefined is the result of a dry run for the RotationPolicy where its kind is new.
const notDefined = "not checked, since its kind is not defined yet"

// applyPolicy creates the RotationPolicy, or replaces the spec of a present one. Server-side
// apply would keep the fields that were set with kubectl. Of several API servers, one may not
// serve the kind yet that another has established.
func (i *installer) applyPolicy(ctx context.Context, object *unstructured.Unstructured) (result *unstructured.Unstructured, did string, err error) {
	if i.dry {
		if result, did, err = i.replacePolicy(ctx, object); noSuchKind(err) {
			return object, notDefined, nil
		}
		return result, did, err
	}
	err = i.waitUntil(ctx, "the API server serves RotationPolicies", func(ctx context.Context) (bool, error) {
		var err error
		result, did, err = i.replacePolicy(ctx, object)
		if noSuchKind(err) {
			return false, nil
		}
		return err == nil, err
	})
	return result, did, err
}

func (i *installer) replacePolicy(ctx context.Context, object *unstructured.Unstructured) (result *unstructured.Unstructured, did string, err error) {
	var dryRun []string
	if i.dry {
		dryRun = []string{metav1.DryRunAll}
	}
	policies := i.api.resourceOf(policiesResource, "")
	before, err := policies.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case noSuchKind(err):
		return nil, "", err
	case apierrors.IsNotFound(err):
		if result, err = policies.Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager, DryRun: dryRun}); err != nil {
			return nil, "", fmt.Errorf("create %s: %w", objectName(object), err)
		}
		return result, "created", nil
	case err != nil:
		return nil, "", fmt.Errorf("read %s: %w", objectName(object), err)
	}
	next := before.DeepCopy()
	next.Object["spec"] = object.Object["spec"]
	if result, err = policies.Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager, DryRun: dryRun}); err != nil {
		return nil, "", fmt.Errorf("replace %s: %w", objectName(object), err)
	}
	if sameContent(before, result) {
		return result, "unchanged", nil
	}
	return result, "changed", nil
}

// policyWritten reports whether a RotationPolicy differs from the defaults.
func policyWritten(object *unstructured.Unstructured) bool {
	var policy v1alpha1.RotationPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
		return true
	}
	p, err := rotationpolicy.Compile(&policy.Spec)
	return err != nil || !reflect.DeepEqual(p, renewal.Default())
}
