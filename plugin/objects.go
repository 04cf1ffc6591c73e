package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// objects is the API server as the commands around the watcher use it.
type objects struct {
	config *rest.Config
	client kubernetes.Interface
	any    dynamic.Interface
}

func openObjects(c connection) (*objects, error) {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig: %w", err)
	}
	anything, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig: %w", err)
	}
	return &objects{config: c.config, client: client, any: anything}, nil
}

// The resources of package v1alpha1.
var (
	reportsResource     = v1alpha1.GroupVersion.WithResource("nodecertificatereports")
	rotationsResource   = v1alpha1.GroupVersion.WithResource("certificaterotations")
	compromisedResource = v1alpha1.GroupVersion.WithResource("compromisedcertificates")
	policiesResource    = v1alpha1.GroupVersion.WithResource("rotationpolicies")
	podsResource        = corev1.SchemeGroupVersion.WithResource("pods")
	leasesResource      = coordinationv1.SchemeGroupVersion.WithResource("leases")
)

// page bounds how much one answer of a list may hold.
const page = 500

// resourceOf is the client for objects of a kind; namespace "" where it has none, or for all.
func (o *objects) resourceOf(r schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return o.any.Resource(r)
	}
	return o.any.Resource(r).Namespace(namespace)
}

// eachObject passes every selected object to fn, page by page.
func (o *objects) eachObject(ctx context.Context, r schema.GroupVersionResource, namespace, selector string, fn func(*unstructured.Unstructured) error) error {
	options := metav1.ListOptions{LabelSelector: selector, Limit: page}
	for {
		list, err := o.resourceOf(r, namespace).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list %s: %w", r.GroupResource(), err)
		}
		for i := range list.Items {
			if err := fn(&list.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// eachOf is each, with objects of their own type.
func eachOf[T any](ctx context.Context, o *objects, r schema.GroupVersionResource, fn func(*T)) error {
	return o.eachObject(ctx, r, "", "", func(u *unstructured.Unstructured) error {
		object := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, object); err != nil {
			return fmt.Errorf("read %s %q: %w", r.Resource, u.GetName(), err)
		}
		fn(object)
		return nil
	})
}

// newObject is an object as it is created: without the fields that the API server sets.
func newObject(typed any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", typed, err)
	}
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "status")
	return &unstructured.Unstructured{Object: content}, nil
}

// noSuchKind reports whether the API server does not know the requested kind: nothing is
// installed.
func noSuchKind(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "")
}

// installation is where the watcher, or only its agents, are.
type installation struct {
	namespace string
	watcher   *appsv1.Deployment // nil: without a watcher
	agents    *appsv1.DaemonSet  // nil: none
}

func (i *installation) notifyOnly() bool {
	return i.watcher != nil && hasArgument(i.watcher, "--notify-only")
}

func hasArgument(d *appsv1.Deployment, argument string) bool {
	return slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return slices.Contains(c.Args, argument) })
}

// findInstallation finds the installation in one namespace, or, where that is "", in any; nil: there is
// none. Without permission for all namespaces, the default one is searched.
func (o *objects) findInstallation(ctx context.Context, namespace string) (*installation, error) {
	found, err := o.findIn(ctx, namespace)
	if namespace == "" && apierrors.IsForbidden(err) {
		return o.findIn(ctx, manifests.DefaultNamespace)
	}
	return found, err
}

func (o *objects) findIn(ctx context.Context, namespace string) (*installation, error) {
	// By its name only: Helm replaces the label managed-by.
	options := metav1.ListOptions{LabelSelector: kube.LabelName + "=" + manifests.Name}
	deployments, err := o.client.AppsV1().Deployments(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("find the watcher: %w", err)
	}
	sets, err := o.client.AppsV1().DaemonSets(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("find the agents: %w", err)
	}
	var found *installation
	for i := range sets.Items {
		if d := &sets.Items[i]; d.Name == manifests.Agent {
			found = &installation{namespace: d.Namespace, agents: d}
		}
	}
	for i := range deployments.Items {
		if d := &deployments.Items[i]; d.Name == manifests.Watcher {
			if found == nil || found.namespace != d.Namespace {
				found = &installation{namespace: d.Namespace}
			}
			found.watcher = d
		}
	}
	return found, nil
}

// proxiedRequest is a request to the watcher through the API server.
func (o *objects) proxiedRequest(namespace, path string) *rest.Request {
	return o.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("services").
		Name(manifests.Watcher + ":" + manifests.ServicePort).SubResource("proxy").Suffix(path)
}

// status is the code of an answer that was no success; 0 where there was no answer.
func statusCode(err error) int {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return int(status.Status().Code)
	}
	return 0
}

// isUnavailable reports whether the watcher, not the API server, does not answer.
func isUnavailable(err error) bool {
	code := statusCode(err)
	return code == http.StatusServiceUnavailable || code == http.StatusBadGateway || code == http.StatusGatewayTimeout
}

// runningRotation names the holder of the cluster's lock, or the rotation in progress; empty: none.
func (o *objects) runningRotation(ctx context.Context, now time.Time) (string, error) {
	held, err := kube.Holder(ctx, o.client)
	if err != nil {
		return "", err
	}
	if held != nil && now.Before(held.Until) {
		return held.Holder, nil
	}
	name := ""
	err = eachOf(ctx, o, rotationsResource, func(r *v1alpha1.CertificateRotation) {
		if s := r.State(); s == v1alpha1.StateRunning || s == v1alpha1.StateInterrupted {
			name = "CertificateRotation " + r.Name
		}
	})
	if err != nil && !noSuchKind(err) {
		return "", err
	}
	return name, nil
}
