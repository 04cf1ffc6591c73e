package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// showRemoval lists the objects that would be removed.
func (r *removal) showRemoval(ctx context.Context) error {
	admitted := ""
	for _, t := range r.removalOrder() {
		if dryRun(r.dryRun) == dryRunServer && len(t.object.GetOwnerReferences()) == 0 {
			admitted = " The API server admits it."
			err := r.api.resourceOf(t.resource, t.object.GetNamespace()).Delete(ctx, t.object.GetName(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete %s: %w", t, err)
			}
		}
		fmt.Fprintln(r.Out, printers.CleanText(t.String()))
	}
	if r.lock {
		fmt.Fprintf(r.Out, "lease.coordination.k8s.io/%s in namespace %s\n", kube.LeaseName, kube.LeaseNamespace)
	}
	for _, line := range r.customWords() {
		fmt.Fprintln(r.Out, line)
	}
	kept := ""
	if len(r.kept) > 0 {
		kept = "To be kept: " + strings.Join(r.kept, "; ")
	}
	printers.PrintNotes(r.ErrOut, kept, "Nothing was changed."+admitted+" To do it, run the same without --dry-run.")
	return nil
}

// customWords counts the objects that go with their definitions.
func (r *removal) customWords() []string {
	counts := map[string]int{}
	for _, t := range r.custom {
		counts[t.resource.GroupResource().String()]++
	}
	var out []string
	for resource, n := range counts {
		out = append(out, fmt.Sprintf("%d %s", n, resource))
	}
	slices.Sort(out)
	return out
}

// removalOrder are the labelled objects in the order of their removal: workloads, node pods,
// roles, admission policies, definitions and the namespace.
func (r *removal) removalOrder() []thing {
	things := slices.Clone(r.things)
	slices.SortStableFunc(things, func(a, b thing) int { return removalTurn(a.object) - removalTurn(b.object) })
	return things
}

// afterAll is the turn after all others.
const afterAll = 7

func removalTurn(u *unstructured.Unstructured) int {
	kind, known := manifests.KindOf(u)
	switch {
	case u.GetKind() == "Namespace":
		return 6
	case u.GetKind() == "Lease": // no watcher is left that would take it again
		return 3
	case !known:
		return 2 // node pods
	}
	return map[manifests.Stage]int{
		manifests.StageWorkloads: 1, manifests.StageSettings: 2, manifests.StageRights: 3,
		manifests.StageAdmission: 4, manifests.StageDefinitions: 5,
	}[kind.Stage]
}

// removeAll removes everything and waits until it is deleted.
func (r *removal) removeAll(ctx context.Context) error {
	turn := 0
	began := r.now()
	var names []string
	printRemoved := func() {
		if len(names) > 0 {
			r.printStage("removed", printers.SomeNames(names), began)
		}
		names = nil
		began = r.now()
	}
	for _, t := range r.removalOrder() {
		if next := removalTurn(t.object); next != turn {
			printRemoved()
			if turn = next; turn >= 3 {
				// Rights stay until no watcher and no node pod is left that needs them.
				if err := r.awaitDeleted(ctx, turn, r.foundKinds()); err != nil {
					return err
				}
			}
			if turn == 5 {
				if err := r.removeCustom(ctx); err != nil {
					return err
				}
			}
		}
		if len(t.object.GetOwnerReferences()) > 0 {
			continue // it goes with its owner
		}
		if err := r.api.removeObject(ctx, t.resource, t.object); err != nil {
			return err
		}
		r.removed++
		names = append(names, objectName(t.object))
	}
	printRemoved()
	if err := r.removeLock(ctx); err != nil {
		return err
	}
	return r.everythingGone(ctx)
}

// removeObject deletes exactly the object that was read (by its UID), and the objects that it owns.
func (o *objects) removeObject(ctx context.Context, resource schema.GroupVersionResource, u *unstructured.Unstructured) error {
	policy := metav1.DeletePropagationBackground
	uid := u.GetUID()
	err := o.resourceOf(resource, u.GetNamespace()).Delete(ctx, u.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", objectName(u), err)
	}
	return nil
}

// removeCustom removes the watcher's finalizers, since the watcher has been removed: a
// definition is deleted only after all of its objects.
func (r *removal) removeCustom(ctx context.Context) error {
	began := r.now()
	var err error
	if r.custom, err = r.listCustom(ctx); err != nil {
		return err
	}
	for _, t := range r.custom {
		left := slices.DeleteFunc(slices.Clone(t.object.GetFinalizers()), func(f string) bool {
			return strings.HasPrefix(f, v1alpha1.GroupVersion.Group+"/")
		})
		if len(left) == len(t.object.GetFinalizers()) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": left, "uid": t.object.GetUID()}})
		if err != nil {
			return fmt.Errorf("encode a patch: %w", err)
		}
		_, err = r.api.resourceOf(t.resource, "").Patch(ctx, t.object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("remove the finalizer of %s: %w", t, err)
		}
	}
	r.removed += len(r.custom)
	if words := r.customWords(); len(words) > 0 {
		r.printStage("removing", strings.Join(words, ", "), began)
	}
	return nil
}

// removeLock deletes the cluster's lock, unless another rotation has taken it meanwhile.
func (r *removal) removeLock(ctx context.Context) error {
	leases := r.api.client.CoordinationV1().Leases(kube.LeaseNamespace)
	lease, err := leases.Get(ctx, kube.LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the lock: %w", err)
	}
	if held, err := kube.Holder(ctx, r.api.client); err == nil && held != nil && r.now().Before(held.Until) && !r.force {
		r.kept = append(r.kept, fmt.Sprintf("the lock, which %s has taken meanwhile", held.Holder))
		return nil
	}
	version := lease.ResourceVersion
	err = leases.Delete(ctx, kube.LeaseName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}})
	switch {
	case apierrors.IsConflict(err):
		r.kept = append(r.kept, "the lock, which another rotation has taken meanwhile")
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("delete the lock: %w", err)
	}
	r.removed++
	r.printStage("removed", "lease.coordination.k8s.io/"+kube.LeaseName, time.Time{})
	return nil
}

// everythingGone waits until everything is deleted, and then checks every kind of the API
// server once.
func (r *removal) everythingGone(ctx context.Context) error {
	if err := r.awaitDeleted(ctx, afterAll, r.foundKinds()); err != nil {
		return err
	}
	things, err := r.labelledObjects(ctx, r.kinds)
	if err != nil {
		return err
	}
	r.things = slices.DeleteFunc(things, r.isKept)
	return r.awaitDeleted(ctx, afterAll, r.foundKinds())
}

// foundKinds are the kinds of the objects that were found, and pods: a rotation may have begun
// meanwhile. Listing all kinds every second would load a large cluster.
func (r *removal) foundKinds() []resourceKind {
	return slices.DeleteFunc(slices.Clone(r.kinds), func(k resourceKind) bool {
		return k.GroupVersionResource != podsResource &&
			!slices.ContainsFunc(r.things, func(t thing) bool { return t.resource == k.GroupVersionResource })
	})
}

// awaitDeleted waits until all objects of earlier turns are deleted, of some kinds.
func (r *removal) awaitDeleted(ctx context.Context, before int, kinds []resourceKind) error {
	var left []string
	printed := ""
	err := r.awaitCondition(ctx, time.Duration(r.timeout), "everything is deleted", func(ctx context.Context) (bool, error) {
		things, err := r.labelledObjects(ctx, kinds)
		if err != nil {
			return false, err
		}
		left = nil
		for _, t := range things {
			if removalTurn(t.object) < before && !r.isKept(t) {
				left = append(left, t.String())
			}
		}
		if now := printers.SomeNames(left); now != printed && len(left) > 0 {
			printed = now
			r.printStage("waiting", "for "+now, time.Time{})
		}
		return len(left) == 0, nil
	})
	if err != nil && len(left) > 0 {
		return fmt.Errorf("%w; not deleted yet: %s", err, printers.SomeNames(left))
	}
	return err
}

// isKept reports whether an object is left on purpose.
func (r *removal) isKept(t thing) bool {
	return slices.ContainsFunc(r.kept, func(words string) bool {
		return words == t.String() || (t.object.GetKind() == "Namespace" && strings.HasPrefix(words, "namespace "+t.object.GetName()+","))
	})
}
