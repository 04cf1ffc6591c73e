package manifests

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SettingsAnnotation has the settings of an installation, as JSON. It is on the DaemonSet of
// the agents, which every installation has.
const SettingsAnnotation = "rotate-certs.io/settings"

// Settings are the settings of an installation. They are stored in the cluster, so that a new
// install changes only the given ones.
type Settings struct {
	// Image of node pods and agents, and that of the watcher. They are stored in the pods
	// only: mirrors and GitOps tools change images there.
	Image           string   `json:"-"`
	WatcherImage    string   `json:"-"`
	ImagePullSecret string   `json:"imagePullSecret,omitempty"`
	NotifyOnly      bool     `json:"notifyOnly,omitempty"`     // no right to create pods or requests for certificates
	WithoutWatcher  bool     `json:"withoutWatcher,omitempty"` // agents, definitions and roles only
	NATSURLs        []string `json:"natsURLs,omitempty"`       // external NATS; none: embedded
	NATSSecret      string   `json:"natsSecret,omitempty"`
	NATSReplicas    int      `json:"natsReplicas,omitempty"` // 0: one
	NATSDomain      string   `json:"natsDomain,omitempty"`
	ShareSummary    bool     `json:"shareSummary,omitempty"` // with the other clusters of the external NATS
	StorageClass    string   `json:"storageClass,omitempty"` // of the embedded NATS; empty: the store ends with its pod

	AgentDirectories []string `json:"agentDirectories,omitempty"` // that agents are shown beside those that each node has
	KubeletRootDir   string   `json:"kubeletRootDir,omitempty"`   // empty: /var/lib/kubelet
	// NoCertificateMetrics omits the metrics of each certificate and node.
	NoCertificateMetrics bool   `json:"noCertificateMetrics,omitempty"`
	ClusterName          string `json:"clusterName,omitempty"` // in events; empty: the UID of the namespace kube-system

	Dashboard          bool     `json:"dashboard,omitempty"`          // that the watcher serves
	DashboardTLSSecret string   `json:"dashboardTLSSecret,omitempty"` // empty: without TLS
	DashboardHosts     []string `json:"dashboardHosts,omitempty"`     // names at which it answers; none: any
	DashboardProxies   []string `json:"dashboardProxies,omitempty"`   // common names of proxies that name the user
	Pods
}

// ReadSettings returns the settings that an object stores, without images; false: it has none.
func ReadSettings(object metav1.Object) (s Settings, found bool, err error) {
	text, found := object.GetAnnotations()[SettingsAnnotation]
	if !found {
		return s, false, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, true, fmt.Errorf("read annotation %q: %w", SettingsAnnotation, err)
	}
	return s, true, nil
}

// WatcherImageBeside is the image of the watcher in the registry of a node image; false: that
// has a custom name, from which the other does not follow.
func WatcherImageBeside(nodeImage string) (string, bool) {
	const node, watcher = "rotate-certs-node", "rotate-certs-watcher"
	at := strings.LastIndex(nodeImage, node)
	rest := strings.TrimPrefix(nodeImage[max(at, 0):], node)
	if at < 0 || (rest != "" && rest[0] != ':') || strings.Contains(rest, "@") {
		return "", false
	}
	return nodeImage[:at] + watcher + rest, true
}
