package plugin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// evidentSettings are the settings as far as the pods of an installation show them.
func (o *objects) evidentSettings(ctx context.Context, found *installation) (manifests.Settings, error) {
	s := manifests.Settings{WithoutWatcher: found.watcher == nil}
	if found.agents != nil {
		s.Image, s.ImagePullSecret = podImages(found.agents.Spec.Template.Spec)
		s.KubeletRootDir, s.AgentDirectories = agentPlaces(found.agents)
	}
	if found.watcher == nil {
		return s, nil
	}
	pod := found.watcher.Spec.Template.Spec
	s.WatcherImage, s.ImagePullSecret = podImages(pod)
	for _, image := range nodeImages(pod) {
		s.Image = image
	}
	s.NotifyOnly = found.notifyOnly()
	s.NoCertificateMetrics = hasArgument(found.watcher, "--certificate-metrics=false")
	s.NATSURLs = argumentsWith(pod, "--nats-url=")
	for _, n := range argumentsWith(pod, "--nats-replicas=") {
		s.NATSReplicas, _ = strconv.Atoi(n) // the watcher refuses anything but a number
	}
	for _, name := range argumentsWith(pod, "--nats-domain=") {
		s.NATSDomain = name
	}
	s.ShareSummary = hasArgument(found.watcher, "--share-summary")
	s.Dashboard = len(argumentsWith(pod, "--dashboard-address=")) > 0
	s.DashboardHosts = argumentsWith(pod, "--dashboard-host=")
	s.DashboardProxies = argumentsWith(pod, "--dashboard-proxy=")
	claim := ""
	for _, v := range pod.Volumes {
		switch {
		case v.Secret != nil && v.Name == dashboardVolume:
			s.DashboardTLSSecret = v.Secret.SecretName
		case v.Secret != nil:
			s.NATSSecret = v.Secret.SecretName
		}
		if v.PersistentVolumeClaim != nil {
			claim = v.PersistentVolumeClaim.ClaimName
		}
	}
	var err error
	if claim != "" {
		s.StorageClass, _, err = o.classOf(ctx, found.namespace, claim)
	}
	return s, err
}

// agentPlaces are the kubelets' root directory and the additional directories that agents can
// read, by their mounts.
func agentPlaces(agents *appsv1.DaemonSet) (kubeletRoot string, directories []string) {
	const host, pods = "/host", "/pods"
	usual := manifests.Settings{}.HiddenDirectories()
	var shown []string
	for _, c := range agents.Spec.Template.Spec.Containers {
		for _, m := range c.VolumeMounts {
			path, ofHost := strings.CutPrefix(m.MountPath, host)
			root, hidden := strings.CutSuffix(path, pods)
			switch {
			case !ofHost:
			case m.Name != "nothing":
				shown = append(shown, path)
			case hidden && !slices.Contains(usual, path):
				kubeletRoot = root
			}
		}
	}
	return kubeletRoot, slices.DeleteFunc(shown, func(dir string) bool {
		return dir == kubeletRoot || slices.Contains(manifests.AgentDirectories, dir)
	})
}

// argumentsWith are the values of a pod's arguments that begin with a prefix.
func argumentsWith(pod corev1.PodSpec, prefix string) []string {
	var out []string
	for _, c := range pod.Containers {
		for _, a := range c.Args {
			if value, has := strings.CutPrefix(a, prefix); has {
				out = append(out, value)
			}
		}
	}
	return out
}

// classOf is the StorageClass of a claim; false: there is no such claim.
func (o *objects) classOf(ctx context.Context, namespace, name string) (class string, found bool, err error) {
	claim, err := o.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("read PersistentVolumeClaim %q: %w", name, err)
	case claim.Spec.StorageClassName != nil:
		class = *claim.Spec.StorageClassName
	}
	return class, true, nil
}
