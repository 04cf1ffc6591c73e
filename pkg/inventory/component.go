package inventory

import (
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// RuntimeKind is the kind of supervisor that starts and restarts a component.
type RuntimeKind string

// The kinds of runtimes that this version can restart.
const (
	StaticPod RuntimeKind = "StaticPod" // the kubelet, from a manifest
	Systemd   RuntimeKind = "Systemd"   // a unit
	DaemonSet RuntimeKind = "DaemonSet" // an ordinary pod: kubeadm's kube-proxy
	Docker    RuntimeKind = "Docker"    // dockerd, a container of no pod: RKE1
	// Supervised: a child process of a unit that runs several components (k0s, RKE2), or a part of
	// the unit's one process (K3s). Its Unit is that one. It is never stopped alone, since the
	// others would stop with it. The whole unit is restarted if that renews the certificates, see
	// UnitStart and UnitCommand.
	Supervised RuntimeKind = "Supervised"
	None       RuntimeKind = "None" // found, with an unknown supervisor
)

// Component is a running, or at least configured, service on the node.
type Component struct {
	Service       certs.Service `json:"service"`
	Runtime       RuntimeKind   `json:"runtime"`
	Manifest      string        `json:"manifest,omitempty"`      // StaticPod: path of the manifest
	ContainerName string        `json:"containerName,omitempty"` // StaticPod, DaemonSet, Docker
	ContainerID   string        `json:"containerID,omitempty"`   // Docker; it stays the same when the container is restarted
	PodName       string        `json:"podName,omitempty"`       // StaticPod: name in the manifest, without the node's suffix
	PodNamespace  string        `json:"podNamespace,omitempty"`
	// Unit is the systemd unit: with Systemd its own ("kubelet.service"), with Supervised the one
	// that runs it, with StaticPod the one of the distribution that writes its manifest and
	// starts its kubelet (RKE2), and with Docker that of dockerd, if there is one; empty otherwise.
	Unit      string     `json:"unit,omitempty"`
	PID       int        `json:"pid,omitempty"` // 0: not running
	StartedAt *time.Time `json:"startedAt,omitempty"`
	// Args is the component's command line without its first word, environment
	// expanded; values of flags that could be secrets are not kept.
	Args []string `json:"args,omitempty"`
	// Health is a URL on this node that answers 200 when the component is healthy,
	// e.g. "https://127.0.0.1:6443/readyz"; empty where there is none.
	Health string `json:"health,omitempty"`
	// ClientURLs are etcd's client endpoints on this node, or, for the API server,
	// the etcd endpoints that it uses.
	ClientURLs []string `json:"clientURLs,omitempty"`
	// APIServer is where the API server of this node listens ("10.0.0.11:6443").
	APIServer string `json:"apiServer,omitempty"`
	// DBQuotaBytes is etcd's --quota-backend-bytes from flag, variable or configuration
	// file; 0: not set, so etcd's default applies; negative: no quota.
	DBQuotaBytes int64 `json:"dbQuotaBytes,omitempty"`
	// DataDirectories are those of an etcd member: its data and, if that is elsewhere, its
	// write-ahead log. Empty: not known, or not on the host.
	DataDirectories []string `json:"dataDirectories,omitempty"`
	// Note is a remark for the operator, e.g. that kubeadm's kube-proxy authenticates with a
	// ServiceAccount token and has no certificate.
	Note string `json:"note,omitempty"`
	// GraceSeconds is how long it may take to exit before it is killed; 0: as its service
	// has it.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
}

// IsRunByUnit reports whether a start of a unit starts the component together with others.
func (c *Component) IsRunByUnit(unit string) bool {
	return unit != "" && c.Unit == unit && (c.Runtime == Supervised || c.Runtime == StaticPod)
}

// IsRestartable reports whether a rotation can restart the component: its supervisor is known,
// and restarts no other component with it.
func (c *Component) IsRestartable() bool {
	return c.Runtime == StaticPod || c.Runtime == Systemd || c.Runtime == DaemonSet || c.Runtime == Docker
}

// ShutdownDelay is how long an API server continues to serve when it is stopped: its
// --shutdown-delay-duration. 0 for every other component, and by default.
func (c *Component) ShutdownDelay() time.Duration {
	if c.Service != certs.KubeAPIServer {
		return 0
	}
	delay := ""
	for i, arg := range c.Args {
		flag, value, joined := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || strings.ReplaceAll(flag, "_", "-") != "shutdown-delay-duration" {
			continue
		}
		if !joined && i+1 < len(c.Args) {
			value = c.Args[i+1]
		}
		delay = value
	}
	d, err := time.ParseDuration(delay)
	if err != nil {
		return 0
	}
	return max(d, 0)
}
