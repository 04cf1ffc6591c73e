package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// put stores an object; a path ends with its name.
func (s *apiServerFake) put(path string, object map[string]any) {
	s.revision++
	metadata := object["metadata"].(map[string]any)
	metadata["resourceVersion"], metadata["uid"] = fmt.Sprint(s.revision), fmt.Sprintf("uid-%d", s.revision)
	if metadata["generation"] == nil && strings.HasPrefix(path, "/apis/rotate-certs.io/") {
		metadata["generation"] = 1 // of workloads, the fake is its own controller
	}
	s.objects[path] = object
}

// remove deletes, and what is within with it.
func (s *apiServerFake) remove(path string) {
	delete(s.objects, path)
	if name, is := strings.CutPrefix(path, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"); is {
		plural, group, _ := strings.Cut(name, ".")
		for p := range s.objects {
			if strings.HasPrefix(p, "/apis/"+group+"/v1alpha1/"+plural+"/") {
				delete(s.objects, p)
			}
		}
	}
	if ns, is := strings.CutPrefix(path, "/api/v1/namespaces/"); is && !strings.Contains(ns, "/") {
		for p := range s.objects {
			if strings.Contains(p, "/namespaces/"+ns+"/") {
				delete(s.objects, p)
			}
		}
	}
	if s.onDelete != nil {
		s.onDelete(path)
	}
}

// paths are those of all objects that contain a part.
func (s *apiServerFake) paths(part string) []string {
	s.Lock()
	defer s.Unlock()
	var out []string
	for p := range s.objects {
		if strings.Contains(p, part) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// add stores an object that is written as JSON.
func (s *apiServerFake) add(t *testing.T, path, text string) {
	t.Helper()
	object := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	s.Lock()
	defer s.Unlock()
	kind, namespace, name, _, ok := s.place(path)
	require.True(t, ok, path)
	object["kind"], object["apiVersion"] = kind.kind, strings.TrimPrefix(kind.group+"/"+kind.version, "/")
	if object["metadata"] == nil {
		object["metadata"] = map[string]any{}
	}
	metadata := object["metadata"].(map[string]any)
	metadata["name"] = name
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	s.put(path, object)
}

// strategy is that of a Deployment, with the API server's defaults.
func strategy(object map[string]any) map[string]any {
	spec, _ := object["spec"].(map[string]any)
	strategy, _ := spec["strategy"].(map[string]any)
	return strategy
}

// compromisedOf are an object's labels and annotations.
func compromisedOf(object map[string]any) string {
	metadata := object["metadata"].(map[string]any)
	return flat(metadata["labels"]) + flat(metadata["annotations"])
}

// become does what controllers do.
func (s *apiServerFake) become(kind resourceFake, object map[string]any) {
	switch kind.kind {
	case "CustomResourceDefinition":
		object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}
	case "DaemonSet":
		object["status"] = map[string]any{"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2}
		s.report()
	case "Deployment":
		n := object["spec"].(map[string]any)["replicas"]
		object["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "readyReplicas": n}
		if s := strategy(object); s["type"] == "RollingUpdate" {
			s["rollingUpdate"] = map[string]any{"maxSurge": "25%", "maxUnavailable": "25%"}
		}
	}
	if s.unready && (kind.kind == "DaemonSet" || kind.kind == "Deployment") {
		object["status"] = map[string]any{"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 1}
	}
}

// report does what agents do when they start.
func (s *apiServerFake) report() {
	for path := range s.objects {
		name, is := strings.CutPrefix(path, "/api/v1/nodes/")
		if !is || slices.Contains(s.silent, name) {
			continue
		}
		at := "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/" + name
		if s.objects[at] == nil {
			s.put(at, map[string]any{"apiVersion": "rotate-certs.io/v1alpha1", "kind": "NodeCertificateReport", "metadata": map[string]any{"name": name}})
		}
		s.objects[at]["summary"] = map[string]any{"observedAt": noon.UTC().Format(time.RFC3339)}
	}
}

// dueCells are the columns that an API server makes of a report's condition.
func dueCells(report map[string]any) (due, waits any) {
	status, _ := report["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == "CertificatesDue" {
			return condition["reason"], condition["message"]
		}
	}
	return nil, nil
}
