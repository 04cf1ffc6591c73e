package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// thing is an object and its resource.
type thing struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
}

func (t thing) String() string {
	name := objectName(t.object)
	if ns := t.object.GetNamespace(); ns != "" {
		name += " in namespace " + ns
	}
	return name
}

// removal is one run of `uninstall` against a cluster.
type removal struct {
	*uninstallOptions
	api *objects

	kinds   []resourceKind // all that the API server has
	things  []thing        // our objects, by label
	custom  []thing        // the objects of our definitions
	written bool           // the RotationPolicy among them is not the default
	lock    bool
	kept    []string // objects that are left on purpose, as printed
	removed int
}

// resourceKind is a kind of resource that can be listed.
type resourceKind struct {
	schema.GroupVersionResource
	namespaced bool
}

func (r *removal) isEmpty() bool { return len(r.things) == 0 && len(r.custom) == 0 && !r.lock }

// findObjects finds all of our objects, in every kind of the API server.
func (r *removal) findObjects(ctx context.Context) error {
	var err error
	if r.kinds, err = r.api.discoverKinds(); err != nil {
		return err
	}
	if r.things, err = r.labelledObjects(ctx, r.kinds); err != nil {
		return err
	}
	if r.custom, err = r.listCustom(ctx); err != nil {
		return err
	}
	if err := r.findElection(ctx); err != nil {
		return err
	}
	_, err = r.api.client.CoordinationV1().Leases(kube.LeaseNamespace).Get(ctx, kube.LeaseName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read the lock: %w", err)
	}
	r.lock = err == nil
	if r.keepPolicy {
		r.keepPolicies()
	}
	return r.spareNamespaces(ctx)
}

// findElection finds the Lease by which watchers elect their leader. They create it
// themselves, without labels, and a namespace that is kept would keep it.
func (r *removal) findElection(ctx context.Context) error {
	lease, err := r.api.resourceOf(leasesResource, r.targetNamespace()).Get(ctx, manifests.Watcher, metav1.GetOptions{})
	switch {
	case err == nil:
		r.things = append(r.things, thing{leasesResource, lease})
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read the lease of the watcher: %w", err)
	}
	return nil
}

// listCustom lists the objects of our definitions, without their content: there may be
// a report for each of thousands of nodes.
func (r *removal) listCustom(ctx context.Context) ([]thing, error) {
	var custom []thing
	for _, resource := range []schema.GroupVersionResource{reportsResource, rotationsResource, compromisedResource, policiesResource} {
		err := r.api.eachObject(ctx, resource, "", "", func(u *unstructured.Unstructured) error {
			if resource == policiesResource {
				if r.keepPolicy {
					return nil
				}
				r.written = policyWritten(u)
			}
			for _, field := range []string{"spec", "status", "certificates", "authorities"} {
				delete(u.Object, field)
			}
			custom = append(custom, thing{resource, u})
			return nil
		})
		if err != nil && !noSuchKind(err) {
			return nil, err
		}
	}
	return custom, nil
}

// discoverKinds lists the kinds of resources that can be listed and deleted. An aggregated API
// that is unavailable has none of our objects.
func (o *objects) discoverKinds() ([]resourceKind, error) {
	lists, err := o.client.Discovery().ServerPreferredResources()
	var partly *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partly) {
		return nil, fmt.Errorf("discover the kinds of the API server: %w", err)
	}
	var kinds []resourceKind
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("read the group %q: %w", list.GroupVersion, err)
		}
		for _, r := range list.APIResources {
			if gv.Group == "events.k8s.io" || r.Name == "events" || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") {
				continue
			}
			kinds = append(kinds, resourceKind{gv.WithResource(r.Name), r.Namespaced})
		}
	}
	return kinds, nil
}

// labelledObjects are all objects of some kinds with our labels. Those with an owner are deleted with
// it.
func (r *removal) labelledObjects(ctx context.Context, kinds []resourceKind) ([]thing, error) {
	var things []thing
	for _, kind := range kinds {
		if kind.Group == v1alpha1.GroupVersion.Group {
			continue
		}
		err := r.api.eachObject(ctx, kind.GroupVersionResource, "", manifests.Selector, func(u *unstructured.Unstructured) error {
			things = append(things, thing{kind.GroupVersionResource, u})
			return nil
		})
		// Kinds that may not be listed are left out; the permissions for the kinds of an
		// installation were checked before.
		if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
			return nil, err
		}
	}
	return things, nil
}

// keepPolicies keeps the definition of RotationPolicies, and so the RotationPolicy.
func (r *removal) keepPolicies() {
	r.things = slices.DeleteFunc(r.things, func(t thing) bool {
		if t.object.GetKind() == "CustomResourceDefinition" && t.object.GetName() == policiesResource.GroupResource().String() {
			r.kept = append(r.kept, t.String())
			return true
		}
		return false
	})
}

// spareNamespaces keeps a namespace that holds objects of others.
func (r *removal) spareNamespaces(ctx context.Context) error {
	var err error
	r.things = slices.DeleteFunc(r.things, func(t thing) bool {
		if t.object.GetKind() != "Namespace" || err != nil {
			return false
		}
		var foreign []string
		if foreign, err = r.foreignObjects(ctx, t.object.GetName()); err != nil || len(foreign) == 0 {
			return false
		}
		r.kept = append(r.kept, fmt.Sprintf("namespace %s, since it holds other objects: %s. If they are not needed: kubectl delete namespace %s",
			t.object.GetName(), printers.SomeNames(foreign), t.object.GetName()))
		return true
	})
	return err
}

// foreignObjects are the objects in a namespace that neither rotate-certs nor Kubernetes created.
func (r *removal) foreignObjects(ctx context.Context, namespace string) ([]string, error) {
	var found []string
	for _, kind := range r.kinds {
		if !kind.namespaced || kind.Group == "metrics.k8s.io" {
			continue
		}
		err := r.api.eachObject(ctx, kind.GroupVersionResource, namespace, "", func(u *unstructured.Unstructured) error {
			if !isOurs(u) && len(u.GetOwnerReferences()) == 0 && !madeByKubernetes(u) {
				found = append(found, objectName(u))
			}
			return nil
		})
		if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
			return nil, err
		}
	}
	return found, nil
}

// madeByKubernetes reports whether an object is one that every namespace has, that follows
// from our own objects, or that the watcher leaves.
func madeByKubernetes(u *unstructured.Unstructured) bool {
	switch u.GetKind() {
	case "ConfigMap":
		return u.GetName() == "kube-root-ca.crt"
	case "ServiceAccount":
		return u.GetName() == "default"
	case "Lease", "Endpoints":
		return strings.HasPrefix(u.GetName(), manifests.Name)
	case "Secret":
		kind, _, _ := unstructured.NestedString(u.Object, "type") // absent: none of Kubernetes'
		return kind == string(corev1.SecretTypeServiceAccountToken)
	}
	return false
}
