package manifests

import corev1 "k8s.io/api/core/v1"

// Pods are settings of the pods of watcher and agents.
type Pods struct {
	PriorityClass   string              `json:"priorityClass,omitempty"`
	Tolerations     []corev1.Toleration `json:"tolerations,omitempty"` // of the watcher; agents tolerate everything
	Labels          map[string]string   `json:"labels,omitempty"`      // of all objects but definitions
	WatcherRequests map[string]string   `json:"watcherRequests,omitempty"`
	WatcherLimits   map[string]string   `json:"watcherLimits,omitempty"`
	AgentRequests   map[string]string   `json:"agentRequests,omitempty"`
	AgentLimits     map[string]string   `json:"agentLimits,omitempty"`
}
