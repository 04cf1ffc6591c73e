package plugin

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
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

// installedObjects are those of an API server after an installation, by what was there before and the flags.
var installedObjects sync.Map

// newInstalled is an API server with an installation. Tests that begin with the same one share it:
// the first carries it out, and the others get a copy of its objects.
func newInstalled(t *testing.T, flags string) *apiServerFake {
	t.Helper()
	return newInstalledOn(t, func(*apiServerFake) {}, flags)
}

// newInstalledOn is newInstalled where prepare has added objects before.
func newInstalledOn(t *testing.T, prepare func(*apiServerFake), flags string) *apiServerFake {
	t.Helper()
	s := newAPIServer(t)
	prepare(s)
	key := flags + " " + s.storedObjects()
	if text, ok := installedObjects.Load(key); ok {
		s.Lock()
		defer s.Unlock()
		s.revision = math.MaxInt32 // above all that it had
		require.NoError(t, json.Unmarshal([]byte(text.(string)), &s.objects))
		return s
	}
	s.install(t, flags)
	installedObjects.Store(key, s.storedObjects())
	s.log = nil
	return s
}

func (s *apiServerFake) storedObjects() string {
	s.Lock()
	defer s.Unlock()
	return flat(s.objects)
}
