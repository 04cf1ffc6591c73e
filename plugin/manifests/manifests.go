// Package manifests holds the objects of an installation of the watcher and its agents,
// as templates, and renders them. It asks no cluster.
package manifests

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/deploy/chart"
	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/kube"
)

// The names of what is installed.
const (
	DefaultNamespace = "rotate-certs"
	Watcher          = "rotate-certs-watcher" // Deployment, Service, ServiceAccount, PersistentVolumeClaim, Lease, roles
	Agent            = "rotate-certs-agent"   // DaemonSet, ServiceAccount, roles
	ServicePort      = "http"                 // of the Service: metrics, health, events
	// NodeImageVariable is the watcher's, with the image of the node pods that it creates.
	NodeImageVariable = "NODE_IMAGE"
)

// Name and ManagedBy are the values of the labels that all objects bear.
const (
	Name      = "rotate-certs"
	ManagedBy = "rotate-certs"
)

// Selector selects every labelled object of an installation, and the node pods.
const Selector = kube.LabelName + "=" + Name + "," + kube.LabelManagedBy + "=" + ManagedBy

// NATSFile is a file of the Secret for an external NATS, and the flag that names it.
type NATSFile struct{ Key, Flag string }

// NATSFiles are all that such a Secret may hold.
func NATSFiles() []NATSFile {
	return []NATSFile{
		{"ca.crt", "nats-ca"}, {"tls.crt", "nats-cert"}, {"tls.key", "nats-key"},
		{"reporter.creds", "nats-creds"}, {"rotator.creds", "nats-rotator-creds"},
	}
}

// Options are what the templates fill in.
type Options struct {
	Settings
	Namespace string
	Version   string
	NATSFiles []NATSFile               // those that the Secret for NATS holds
	Policy    *v1alpha1.RotationPolicy // nil: one with the defaults
	// EarlierImages are those of watchers that still run and create node pods.
	EarlierImages []string
}

// VersionLabel is the version as a label's value.
func (o Options) VersionLabel() string { return kube.LabelValue(o.Version) }

//go:embed *.yaml
var files embed.FS

// policyManifest is the RotationPolicy of a cluster for which nobody has written one.
const policyManifest = "rotationpolicy.yaml"

// Render returns all objects in the order in which they have to be created.
func Render(o Options) ([]*unstructured.Unstructured, error) {
	objects, err := definitions()
	if err != nil {
		return nil, err
	}
	defined := len(objects)
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	for _, name := range names {
		if o.WithoutWatcher && strings.HasPrefix(name, "watcher") {
			continue
		}
		found, err := renderFile(name, o)
		if name == policyManifest && o.Policy != nil {
			found, err = policyObject(o.Policy)
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	if !o.WithoutWatcher {
		if !o.NotifyOnly {
			rights, err := rotateRights(o.Namespace)
			if err != nil {
				return nil, err
			}
			objects = append(objects, rights...)
		}
	}
	for _, object := range objects[defined:] {
		label(object, o)
		if err := o.shape(object); err != nil {
			return nil, err
		}
		if object.GetKind() == "DaemonSet" {
			if err := o.keepOn(object); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return Place(a) - Place(b) })
	return objects, nil
}

func renderFile(name string, o Options) ([]*unstructured.Unstructured, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read manifest %q: %w", name, err)
	}
	parsed, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, o); err != nil {
		return nil, fmt.Errorf("fill in manifest: %w", err)
	}
	return decode(name, out.String())
}

func decode(name, documents string) ([]*unstructured.Unstructured, error) {
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

// definitions are the CustomResourceDefinitions of package v1alpha1.
func definitions() ([]*unstructured.Unstructured, error) {
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
		found, err := decode(name, string(text))
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// policyObject is a RotationPolicy as it is applied.
func policyObject(policy *v1alpha1.RotationPolicy) ([]*unstructured.Unstructured, error) {
	text, err := yaml.Marshal(policy)
	if err != nil {
		return nil, fmt.Errorf("encode RotationPolicy %q: %w", policy.Name, err)
	}
	return decode(policyManifest, string(text))
}

// label marks an object as ours, so that uninstalling finds it.
func label(object *unstructured.Unstructured, o Options) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, o.Labels)
	labels[kube.LabelName] = Name
	labels[kube.LabelManagedBy] = ManagedBy
	labels[kube.LabelVersion] = o.VersionLabel()
	if labels[kube.LabelComponent] == "" {
		switch {
		case strings.HasPrefix(object.GetName(), Watcher):
			labels[kube.LabelComponent] = "watcher"
		case strings.HasPrefix(object.GetName(), Agent):
			labels[kube.LabelComponent] = "agent"
		}
	}
	object.SetLabels(labels)
}
