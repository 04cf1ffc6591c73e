package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// fieldManager owns the fields that install applies.
const fieldManager = "kubectl-rotate-certs"

// applyObjects applies all objects, stage by stage, and returns them as the API server has them.
func (i *installer) applyObjects(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var applied []*unstructured.Unstructured
	for len(objects) > 0 {
		kind, known := manifests.KindOf(objects[0])
		if !known {
			return nil, fmt.Errorf("install %s: uninstall does not know its kind", objectName(objects[0]))
		}
		end := slices.IndexFunc(objects, func(u *unstructured.Unstructured) bool {
			other, _ := manifests.KindOf(u)
			return other.Stage != kind.Stage
		})
		if end < 0 {
			end = len(objects)
		}
		done, err := i.applyStage(ctx, kind.Stage, objects[:end])
		if err != nil {
			return nil, err
		}
		applied = append(applied, done...)
		objects = objects[end:]
	}
	return applied, nil
}

func (i *installer) applyStage(ctx context.Context, stage manifests.Stage, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	began := i.now()
	counts := map[string]int{}
	var applied []*unstructured.Unstructured
	for _, object := range objects {
		kind, _ := manifests.KindOf(object)
		if i.dry && i.newNamespace && kind.Namespaced && object.GetNamespace() == i.targetNamespace() {
			counts["not checked, since the namespace does not exist yet"]++
			continue
		}
		put := func() (*unstructured.Unstructured, string, error) { return i.api.applyObject(ctx, kind, object, i.dry) }
		if kind.Kind == rotationpolicy.Kind {
			put = func() (*unstructured.Unstructured, string, error) { return i.applyPolicy(ctx, object) }
		}
		result, did, err := put()
		if err != nil {
			return nil, err
		}
		counts[did]++
		applied = append(applied, result)
	}
	words := []string{}
	for _, did := range []string{"created", "changed", "unchanged", "not checked, since the namespace does not exist yet", notDefined} {
		if n := counts[did]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, did))
		}
	}
	if stage == manifests.StageDefinitions && !i.dry {
		if err := i.crdsEstablished(ctx, objects); err != nil {
			return nil, err
		}
		words = append(words, "established")
	}
	i.printStage(string(stage), strings.Join(words, ", "), began)
	return applied, nil
}

// applyObject applies one object and returns whether it was created or changed. It overrides the
// fields that others have changed, and refuses an object that is not labelled as ours.
func (o *objects) applyObject(ctx context.Context, kind manifests.Kind, object *unstructured.Unstructured, dry bool) (result *unstructured.Unstructured, did string, err error) {
	resource := o.resourceOf(kind.GroupVersionResource, object.GetNamespace())
	before, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		before = nil
	case err != nil:
		return nil, "", fmt.Errorf("read %s: %w", objectName(object), err)
	case !isOurs(before):
		return nil, "", hint.AddTo(fmt.Errorf("%s exists without the label %s=%s", objectName(object), kube.LabelManagedBy, manifests.ManagedBy),
			"remove or rename it, or label it to have it replaced")
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	if object, err = letRecreate(ctx, resource, before, object, dry); err != nil {
		return nil, "", err
	}
	result, err = resource.Apply(ctx, object.GetName(), object, options)
	switch {
	case err != nil && strings.Contains(err.Error(), "attempting to grant RBAC permissions not currently held"):
		return nil, "", hint.AddTo(fmt.Errorf("apply %s: %w", objectName(object), err), "only a cluster administrator can grant these permissions")
	case err != nil:
		return nil, "", fmt.Errorf("apply %s: %w", objectName(object), err)
	case before == nil:
		return result, "created", nil
	case before.GetResourceVersion() == result.GetResourceVersion() && (!dry || sameContent(before, result)):
		return result, "unchanged", nil
	default:
		return result, "changed", nil
	}
}

// sameContent compares objects without their versions: a dry run returns the old one.
func sameContent(a, b *unstructured.Unstructured) bool {
	bare := func(u *unstructured.Unstructured) map[string]any {
		u = u.DeepCopy()
		u.SetManagedFields(nil)
		return u.Object
	}
	return equality.Semantic.DeepEqual(bare(a), bare(b))
}

// letRecreate takes from a Deployment the parameters of rolling updates where it is to be
// recreated instead. The API server had set them, no applied configuration owns them, and
// beside "Recreate" it refuses them. A dry run leaves the strategy out.
func letRecreate(ctx context.Context, resource dynamic.ResourceInterface, before, object *unstructured.Unstructured, dry bool) (*unstructured.Unstructured, error) {
	if before == nil || object.GetKind() != "Deployment" {
		return object, nil
	}
	_, rolling, _ := unstructured.NestedMap(before.Object, "spec", "strategy", "rollingUpdate") // another shape: none
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "strategy", "type")
	switch {
	case !rolling || kind != string(appsv1.RecreateDeploymentStrategyType):
		return object, nil
	case dry:
		object = object.DeepCopy()
		unstructured.RemoveNestedField(object.Object, "spec", "strategy")
		return object, nil
	}
	patch := []byte(`{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`)
	if _, err := resource.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return nil, fmt.Errorf("change the strategy of %s: %w", objectName(object), err)
	}
	return object, nil
}

func isOurs(object *unstructured.Unstructured) bool {
	return object.GetLabels()[kube.LabelManagedBy] == manifests.ManagedBy
}

// crdsEstablished waits until the API server serves the kinds that were defined.
func (i *installer) crdsEstablished(ctx context.Context, definitions []*unstructured.Unstructured) error {
	return i.waitUntil(ctx, "the API server serves the new kinds", func(ctx context.Context) (bool, error) {
		for _, d := range definitions {
			kind, _ := manifests.KindOf(d)
			now, err := i.api.resourceOf(kind.GroupVersionResource, "").Get(ctx, d.GetName(), metav1.GetOptions{})
			if err != nil {
				return false, fmt.Errorf("read %s: %w", objectName(d), err)
			}
			if conditionStatus(now, "NamesAccepted") == string(metav1.ConditionFalse) {
				return false, hint.AddTo(fmt.Errorf("%s: another definition has the same names", objectName(d)), "kubectl describe %s", objectName(d))
			}
			if conditionStatus(now, "Established") != string(metav1.ConditionTrue) {
				return false, nil
			}
		}
		return true, nil
	})
}

func conditionStatus(object *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions") // another shape: none
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			status, _ := m["status"].(string)
			return status
		}
	}
	return ""
}

// admitOnlyThis no longer admits node pods of earlier images: the watchers that created them
// have ended.
func (i *installer) admitOnlyThis(ctx context.Context) error {
	if len(i.made.EarlierImages) == 0 {
		return nil
	}
	options := i.made
	options.EarlierImages = nil
	objects, err := i.render(options)
	if err != nil {
		return err
	}
	for _, object := range objects {
		kind, _ := manifests.KindOf(object)
		if kind.Kind != "ValidatingAdmissionPolicy" {
			continue
		}
		if _, _, err := i.api.applyObject(ctx, kind, object, false); err != nil {
			return err
		}
	}
	i.printStage("admission", "node pods of "+i.settings.Image+" only", time.Time{})
	return nil
}

// keptByPrune are kinds with objects that hold data of users or of the watcher.
var keptByPrune = []string{"CustomResourceDefinition", "Namespace", rotationpolicy.Kind, "PersistentVolumeClaim"}

// pruneObjects removes objects that an earlier installation had and this one has not, roles above all.
func (i *installer) pruneObjects(ctx context.Context, objects []*unstructured.Unstructured) error {
	wanted := map[string]bool{}
	for _, object := range objects {
		wanted[objectName(object)+" "+object.GetNamespace()] = true
	}
	var removed []string
	for _, kind := range slices.Backward(manifests.Kinds()) {
		if slices.Contains(keptByPrune, kind.Kind) {
			continue
		}
		err := i.api.eachObject(ctx, kind.GroupVersionResource, "", manifests.Selector, func(u *unstructured.Unstructured) error {
			if wanted[objectName(u)+" "+u.GetNamespace()] || len(u.GetOwnerReferences()) > 0 {
				return nil
			}
			removed = append(removed, objectName(u))
			return i.api.removeObject(ctx, kind.GroupVersionResource, u)
		})
		if err != nil {
			return fmt.Errorf("remove objects that are no longer needed: %w", err)
		}
	}
	if len(removed) > 0 {
		i.printStage("removed", "no longer needed: "+printers.SomeNames(removed), i.now())
	}
	return nil
}
