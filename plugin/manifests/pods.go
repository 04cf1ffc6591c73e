package manifests

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Pods are settings of the pods of watcher and agents for which the manifests have no
// place of their own.
type Pods struct {
	PriorityClass   string              `json:"priorityClass,omitempty"`
	Tolerations     []corev1.Toleration `json:"tolerations,omitempty"` // of the watcher; agents tolerate everything
	Labels          map[string]string   `json:"labels,omitempty"`      // of all objects but definitions
	WatcherRequests map[string]string   `json:"watcherRequests,omitempty"`
	WatcherLimits   map[string]string   `json:"watcherLimits,omitempty"`
	AgentRequests   map[string]string   `json:"agentRequests,omitempty"`
	AgentLimits     map[string]string   `json:"agentLimits,omitempty"`
}

// shape gives the pods of a workload what was asked for. Other objects have none.
func (p Pods) shape(object *unstructured.Unstructured) error {
	requests, limits, tolerations := p.WatcherRequests, p.WatcherLimits, p.Tolerations
	switch object.GetKind() {
	case "DaemonSet":
		requests, limits, tolerations = p.AgentRequests, p.AgentLimits, nil
	case "Deployment":
	default:
		return nil
	}
	template := object.Object["spec"].(map[string]any)["template"].(map[string]any) // of our own manifests
	spec := template["spec"].(map[string]any)
	container := spec["containers"].([]any)[0].(map[string]any)
	if p.PriorityClass != "" {
		spec["priorityClassName"] = p.PriorityClass
	}
	for i := range tolerations {
		added, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&tolerations[i])
		if err != nil {
			return fmt.Errorf("encode a toleration: %w", err)
		}
		spec["tolerations"] = append(spec["tolerations"].([]any), added)
	}
	resources := container["resources"].(map[string]any)
	for name, changed := range map[string]map[string]string{"requests": requests, "limits": limits} {
		for resource, quantity := range changed {
			resources[name].(map[string]any)[resource] = quantity
		}
	}
	set := template["metadata"].(map[string]any)["labels"].(map[string]any)
	for key, value := range p.Labels {
		set[key] = value
	}
	return nil
}
