package plugin

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// renderedObjects are those that renderOnce has made, by their options.
var renderedObjects sync.Map

// renderOnce is manifests.Render for an API server in memory. Many tests install the same, and no test
// needs the schemas of the definitions, which are most of what an installation sends.
func renderOnce(o manifests.Options) ([]*unstructured.Unstructured, error) {
	key := fmt.Sprintf("%#v %s", o.Settings, flat(o))
	known, ok := renderedObjects.Load(key)
	if !ok {
		objects, err := manifests.Render(o)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			dropSchemas(object)
		}
		renderedObjects.Store(key, objects)
		known = objects
	}
	var out []*unstructured.Unstructured
	for _, object := range known.([]*unstructured.Unstructured) {
		out = append(out, object.DeepCopy())
	}
	return out, nil
}

// dropSchemas removes the schemas of a definition.
func dropSchemas(object *unstructured.Unstructured) {
	versions, _, _ := unstructured.NestedSlice(object.Object, "spec", "versions") // of definitions only
	for _, version := range versions {
		delete(version.(map[string]any), "schema")
	}
	if versions != nil {
		_ = unstructured.SetNestedSlice(object.Object, versions, "spec", "versions") // it has been one
	}
}
