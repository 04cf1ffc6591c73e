// Package manifests renders the objects of an installation of the watcher and its agents from
// the templates of the Helm chart. It sends no requests to a cluster.
package manifests

import (
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/deploy/chart"
	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// The names of the installed objects.
const (
	DefaultNamespace = "rotate-certs"
	Watcher          = "rotate-certs-watcher"   // Deployment, Service, ServiceAccount, PersistentVolumeClaim, Lease, roles
	Agent            = "rotate-certs-agent"     // DaemonSet, ServiceAccount, roles
	Dashboard        = "rotate-certs-dashboard" // Service
	ServicePort      = "http"                   // of the watcher's Service: metrics, health, events
	// NodeImageVariable is the watcher's, with the image of the node pods that it creates.
	NodeImageVariable = "NODE_IMAGE"
)

// Name and ManagedBy are the values of the labels of all objects.
const (
	Name      = "rotate-certs"
	ManagedBy = "rotate-certs"
)

// Selector selects every labelled object of an installation, and the node pods.
const Selector = kube.LabelName + "=" + Name + "," + kube.LabelManagedBy + "=" + ManagedBy

// NATSSecretKeys are all keys that the Secret for an external NATS may have.
func NATSSecretKeys(s Settings) []string {
	keys := []string{"ca.crt", "tls.crt", "tls.key", "reporter.creds", "rotator.creds"}
	if s.ShareSummary && s.Dashboard {
		keys = append(keys, FleetKey)
	}
	return keys
}

// FleetKey is the key with the credentials by which the dashboard sees other clusters.
const FleetKey = "fleet.creds"

// Options are the input of the templates.
type Options struct {
	Settings
	Namespace      string
	Version        string
	NATSSecretKeys []string                 // of the Secret for NATS
	Policy         *v1alpha1.RotationPolicy // nil: the defaults
	// EarlierImages are those of watchers that still run and create node pods.
	EarlierImages []string
}

// defaultPolicy is the RotationPolicy of a new installation.
//
//go:embed rotationpolicy.yaml
var defaultPolicy []byte

// Render returns all objects in the order in which they have to be created.
func Render(o Options) ([]*unstructured.Unstructured, error) {
	parsed, err := parsedDefinitions()
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, object := range parsed {
		objects = append(objects, object.DeepCopy())
	}
	rendered, err := renderChart(o)
	if err != nil {
		return nil, err
	}
	objects = append(objects, rendered...)
	if o.Policy != nil {
		o.keepLabels(rendered)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return Place(a) - Place(b) })
	return objects, nil
}

// keepLabels gives the RotationPolicy the labels and annotations of the given one.
func (o Options) keepLabels(objects []*unstructured.Unstructured) {
	for _, object := range objects {
		if object.GetKind() != rotationpolicy.Kind {
			continue
		}
		labels := maps.Clone(o.Policy.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, object.GetLabels())
		object.SetLabels(labels)
		object.SetAnnotations(o.Policy.Annotations)
	}
}

func decodeManifests(name, documents string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+documents, "\n---") {
		object := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			return nil, fmt.Errorf("parse manifest %q: %w", name, err)
		}
		if len(object) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: object})
		}
	}
	return objects, nil
}

// parsedDefinitions are those of loadDefinitions, parsed once. Callers change copies only.
var parsedDefinitions = sync.OnceValues(loadDefinitions)

// loadDefinitions are the CustomResourceDefinitions of package v1alpha1.
func loadDefinitions() ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(chart.FS, "crds/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		text, err := chart.FS.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read definition %q: %w", name, err)
		}
		found, err := decodeManifests(name, string(text))
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}
