package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// mergedSettings are the settings of an installation, changed by the flags that were given.
func (o *installOptions) mergedSettings(s manifests.Settings) (manifests.Settings, error) {
	for flag, set := range map[string]func(){
		"image":               func() { s.Image = o.image },
		"watcher-image":       func() { s.WatcherImage = o.watcherImage },
		"image-pull-secret":   func() { s.ImagePullSecret = o.pullSecret },
		"notify-only":         func() { s.NotifyOnly = o.notifyOnly },
		"certificate-metrics": func() { s.NoCertificateMetrics = !o.certMetrics },
		"without-watcher":     func() { s.WithoutWatcher = o.withoutWatcher },
		"nats-url":            func() { s.NATSURLs = o.natsURLs },
		"nats-secret":         func() { s.NATSSecret = o.natsSecret },
		"nats-replicas":       func() { s.NATSReplicas = o.natsReplicas },
		"nats-domain":         func() { s.NATSDomain = o.natsDomain },
		"share-summary":       func() { s.ShareSummary = o.shareSummary },
		"storage-class":       func() { s.StorageClass = o.storageClass },
		"agent-directory":     func() { s.AgentDirectories = o.directories },
		"kubelet-root-dir":    func() { s.KubeletRootDir = o.kubeletRoot },
		"cluster-name":        func() { s.ClusterName = o.clusterName },
		"priority-class":      func() { s.PriorityClass = o.pods.PriorityClass },
		"toleration":          func() { s.Tolerations = o.pods.Tolerations },
		"label":               func() { s.Labels = o.pods.Labels },
		"watcher-requests":    func() { s.WatcherRequests = o.pods.WatcherRequests },
		"watcher-limits":      func() { s.WatcherLimits = o.pods.WatcherLimits },
		"agent-requests":      func() { s.AgentRequests = o.pods.AgentRequests },
		"agent-limits":        func() { s.AgentLimits = o.pods.AgentLimits },

		"dashboard":            func() { s.Dashboard = o.dashboard.on },
		"dashboard-tls-secret": func() { s.DashboardTLSSecret = o.dashboard.tlsSecret },
		"dashboard-host":       func() { s.DashboardHosts = trimmedList(o.dashboard.hosts) },
		"dashboard-proxy":      func() { s.DashboardProxies = o.dashboard.proxies },
	} {
		if o.set.Changed(flag) {
			set()
		}
	}
	s.Image = cmp.Or(s.Image, version.NodeImage())
	if s.WatcherImage == "" || (o.set.Changed("image") && !o.set.Changed("watcher-image")) {
		beside, known := manifests.WatcherImageBeside(s.Image)
		switch {
		case known:
			s.WatcherImage = beside
		case s.WatcherImage == "" && !s.WithoutWatcher:
			return s, hint.AddTo(fmt.Errorf("no image of the watcher follows from --image %q", s.Image), "give --watcher-image, too")
		}
	}
	if err := o.fitSettings(&s); err != nil {
		return s, err
	}
	if err := o.dashboard.fitSettings(&s); err != nil {
		return s, err
	}
	return s, validPlaces(s)
}

// fitSettings drops settings that have no effect with others, and refuses such flags.
func (o *installOptions) fitSettings(s *manifests.Settings) error {
	switch {
	case s.WithoutWatcher:
		if o.clusterName != "" || len(o.pods.Tolerations)+len(o.pods.WatcherRequests)+len(o.pods.WatcherLimits) > 0 || o.notifyOnly || !o.certMetrics || len(o.natsURLs) > 0 || o.natsSecret != "" || o.natsReplicas > 0 || o.natsDomain != "" || o.shareSummary || o.policyFile != "" || o.storageClass != "" {
			return hint.AddTo(errors.New("--without-watcher installs no watcher"), "give the watcher's flags to rotate-certs-watcher")
		}
		// NotifyOnly stays: a watcher that is installed again has the same permissions as before.
		s.NoCertificateMetrics = false
		s.NATSURLs = nil
		s.NATSSecret = ""
		s.NATSReplicas = 0
		s.NATSDomain = ""
		s.ShareSummary = false
		s.StorageClass = ""
		s.ClusterName = ""
		s.Tolerations = nil
		s.WatcherRequests = nil
		s.WatcherLimits = nil
	case len(s.NATSURLs) > 0:
		if o.storageClass != "" {
			return errors.New("--storage-class and --nats-url exclude each other: only the embedded NATS has a volume")
		}
		s.StorageClass = ""
	default:
		if o.natsSecret != "" || o.natsReplicas > 0 || o.natsDomain != "" || o.shareSummary {
			return errors.New("--nats-secret, --nats-replicas, --nats-domain and --share-summary need --nats-url")
		}
		s.NATSURLs = nil
		s.NATSSecret = ""
		s.NATSReplicas = 0
		s.NATSDomain = ""
		s.ShareSummary = false
	}
	return nil
}

// storedSettings are those that an installation has stored. Where it has stored none they are read
// from its pods.
func (o *objects) storedSettings(ctx context.Context, found *installation) (manifests.Settings, error) {
	if found == nil {
		return manifests.Settings{}, nil
	}
	if found.agents != nil {
		s, kept, err := manifests.ReadSettings(found.agents)
		if err != nil {
			return s, hint.AddTo(fmt.Errorf("read the settings of the installation: %w", err),
				"kubectl -n %s annotate daemonset %s %s-", found.namespace, manifests.Agent, manifests.SettingsAnnotation)
		}
		if kept {
			s.NotifyOnly = s.NotifyOnly || found.notifyOnly()
			s.Image, _ = podImages(found.agents.Spec.Template.Spec)
			if found.watcher != nil {
				s.WatcherImage, _ = podImages(found.watcher.Spec.Template.Spec)
			}
			return s, nil
		}
	}
	return o.evidentSettings(ctx, found)
}

func podImages(pod corev1.PodSpec) (image, pullSecret string) {
	if len(pod.Containers) > 0 {
		image = pod.Containers[0].Image
	}
	if len(pod.ImagePullSecrets) > 0 {
		pullSecret = pod.ImagePullSecrets[0].Name
	}
	return image, pullSecret
}

// nodeImages are the images of the node pods that a pod of the watcher creates.
func nodeImages(pod corev1.PodSpec) []string {
	var out []string
	for _, c := range pod.Containers {
		for _, e := range c.Env {
			if e.Name == manifests.NodeImageVariable {
				out = append(out, e.Value)
			}
		}
	}
	return out
}

// upgradedImage replaces the tag of the installed version by that of this version, in the same
// registry. Another tag, or a digest, stays.
func upgradedImage(image string, agents *appsv1.DaemonSet) string {
	at := strings.LastIndex(image, ":")
	if agents == nil || at < 0 || strings.Contains(image, "@") || kube.LabelValue(image[at+1:]) != agents.Labels[kube.LabelVersion] {
		return image
	}
	return image[:at+1] + version.Version
}

// earlierImages are the images of the node pods that running watchers create.
func (i *installer) earlierImages(ctx context.Context) ([]string, error) {
	if i.found == nil || i.found.watcher == nil || i.settings.NotifyOnly || i.settings.WithoutWatcher {
		return nil, nil
	}
	pods, err := i.api.client.CoreV1().Pods(i.targetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.Selector + "," + kube.LabelComponent + "=watcher",
	})
	if err != nil {
		return nil, fmt.Errorf("list pods of the watcher: %w", err)
	}
	found := nodeImages(i.found.watcher.Spec.Template.Spec)
	for n := range pods.Items {
		found = append(found, nodeImages(pods.Items[n].Spec)...)
	}
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(image string) bool {
		return image == i.settings.Image || !imageReference.MatchString(image)
	}), nil
}
