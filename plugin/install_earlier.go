package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// agentPlaces are the kubelets' root directory and the additional directories that agents can
// read, by their mounts. Earlier versions mounted /opt and /srv everywhere.
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

// warnEarlierStreams warns of the streams of an earlier version, which kept no settings, in an
// external NATS. The streams of this version have other names and the same subjects, and only
// one stream may have a subject. The watcher removes them from its embedded NATS.
func (i *installer) warnEarlierStreams(ctx context.Context) error {
	if i.found == nil || i.found.watcher == nil || i.found.agents == nil || len(i.before.NATSURLs) == 0 || len(i.settings.NATSURLs) == 0 {
		return nil
	}
	if _, kept, err := manifests.ReadSettings(i.found.agents); err != nil || kept {
		return err
	}
	cluster := i.settings.ClusterName
	if cluster == "" {
		system, err := i.api.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read namespace %q: %w", metav1.NamespaceSystem, err)
		}
		cluster = string(system.UID)
	}
	i.warnings = append(i.warnings, fmt.Sprintf("The events of the earlier version in your NATS are not migrated, and the watcher is not ready until its streams are deleted. "+
		"Before you install: kubectl -n %s scale deployment %s --replicas=0; then, as a user without limits: nats stream rm -f rotate-certs-events-%s; nats stream rm -f rotate-certs-dead-%[3]s",
		i.targetNamespace(), manifests.Watcher, cluster))
	return nil
}

// earlierPolicy is the ConfigMap in which earlier versions had the policy, as a file.
const earlierPolicy = "rotate-certs-policy"

// warnEarlierPolicy warns that the policy of an earlier version is not migrated, unless there
// is a RotationPolicy.
func (i *installer) warnEarlierPolicy(ctx context.Context) error {
	if i.found == nil || i.policy != nil {
		return nil
	}
	if there, err := i.api.rotationPolicy(ctx); there != nil || (err != nil && !noSuchKind(err)) {
		return err
	}
	_, err := i.api.client.CoreV1().ConfigMaps(i.targetNamespace()).Get(ctx, earlierPolicy, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("read ConfigMap %q: %w", earlierPolicy, err)
	}
	i.warnings = append(i.warnings, fmt.Sprintf("The policy of the earlier version is not migrated, and without --policy the defaults are in force. "+
		"Its content belongs below \"spec:\" of a RotationPolicy: kubectl -n %s get configmap %s -o yaml", i.targetNamespace(), earlierPolicy))
	return nil
}
