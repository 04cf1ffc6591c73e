package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// printChanges prints the settings and permissions of a present installation that are about
// to change.
func (i *installer) printChanges(ctx context.Context, objects []*unstructured.Unstructured) error {
	if i.found == nil {
		return nil
	}
	for _, line := range i.changedSettings() {
		i.printStage("change", line, time.Time{})
	}
	before := map[right]bool{}
	after := map[right]bool{}
	for _, kind := range manifests.Kinds() {
		if kind.Kind != "ClusterRole" && kind.Kind != "Role" {
			continue
		}
		if err := i.api.eachObject(ctx, kind.GroupVersionResource, "", manifests.Selector, func(u *unstructured.Unstructured) error {
			return addRights(before, u)
		}); err != nil {
			return err
		}
	}
	for _, object := range objects {
		if err := addRights(after, object); err != nil {
			return err
		}
	}
	for _, line := range rightsOnlyIn(after, before) {
		i.printStage("granted", line, time.Time{})
	}
	for _, line := range rightsOnlyIn(before, after) {
		i.printStage("revoked", line, time.Time{})
	}
	return nil
}

// changedSettings lists the settings that change, by the names of their flags.
func (i *installer) changedSettings() []string {
	var out []string
	change := func(name, old, now string) {
		if old != now {
			out = append(out, fmt.Sprintf("%s: %s -> %s", name, orNone(old), orNone(now)))
		}
	}
	old := i.before
	now := i.settings
	if i.found.agents != nil {
		change("version", i.found.agents.Labels[kube.LabelVersion], kube.LabelValue(version.Version))
	}
	change("--image", old.Image, now.Image)
	if !now.WithoutWatcher {
		change("--watcher-image", old.WatcherImage, now.WatcherImage)
	}
	change("--image-pull-secret", old.ImagePullSecret, now.ImagePullSecret)
	change("--without-watcher", fmt.Sprint(old.WithoutWatcher), fmt.Sprint(now.WithoutWatcher))
	change("--notify-only", fmt.Sprint(old.NotifyOnly), fmt.Sprint(now.NotifyOnly))
	change("--certificate-metrics", fmt.Sprint(!old.NoCertificateMetrics), fmt.Sprint(!now.NoCertificateMetrics))
	change("--nats-url", strings.Join(old.NATSURLs, ","), strings.Join(now.NATSURLs, ","))
	change("--nats-secret", old.NATSSecret, now.NATSSecret)
	change("--nats-replicas", fmt.Sprint(old.NATSReplicas), fmt.Sprint(now.NATSReplicas))
	change("--nats-domain", old.NATSDomain, now.NATSDomain)
	change("--share-summary", fmt.Sprint(old.ShareSummary), fmt.Sprint(now.ShareSummary))
	change("--storage-class", old.StorageClass, now.StorageClass)
	change("--agent-directory", strings.Join(old.AgentDirectories, ","), strings.Join(now.AgentDirectories, ","))
	change("--kubelet-root-dir", old.KubeletRootDir, now.KubeletRootDir)
	change("--cluster-name", old.ClusterName, now.ClusterName)
	change("--dashboard", fmt.Sprint(old.Dashboard), fmt.Sprint(now.Dashboard))
	change("--dashboard-tls-secret", old.DashboardTLSSecret, now.DashboardTLSSecret)
	change("--dashboard-host", strings.Join(old.DashboardHosts, ","), strings.Join(now.DashboardHosts, ","))
	change("--dashboard-proxy", strings.Join(old.DashboardProxies, ","), strings.Join(now.DashboardProxies, ","))
	change("--priority-class", old.PriorityClass, now.PriorityClass)
	change("--toleration", tolerationWords(old.Tolerations), tolerationWords(now.Tolerations))
	change("--label", pairsText(old.Labels), pairsText(now.Labels))
	change("--watcher-requests", pairsText(old.WatcherRequests), pairsText(now.WatcherRequests))
	change("--watcher-limits", pairsText(old.WatcherLimits), pairsText(now.WatcherLimits))
	change("--agent-requests", pairsText(old.AgentRequests), pairsText(now.AgentRequests))
	change("--agent-limits", pairsText(old.AgentLimits), pairsText(now.AgentLimits))
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// right is one verb that a role allows.
type right struct{ role, on, verb string }

// addRights adds the permissions of a role; other objects allow nothing.
func addRights(to map[right]bool, object *unstructured.Unstructured) error {
	if object.GetKind() != "ClusterRole" && object.GetKind() != "Role" {
		return nil
	}
	role := rbacv1.ClusterRole{} // the rules of a Role are the same
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
		return fmt.Errorf("read %s: %w", objectName(object), err)
	}
	where := ""
	if role.Namespace != "" {
		where = " in namespace " + role.Namespace
	}
	for _, rule := range role.Rules {
		for _, on := range ruleObjects(rule) {
			for _, verb := range rule.Verbs {
				to[right{role.Name, on + where, verb}] = true
			}
		}
	}
	return nil
}

// ruleObjects are the resources and URLs of a rule, as printed.
func ruleObjects(rule rbacv1.PolicyRule) []string {
	out := slices.Clone(rule.NonResourceURLs)
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, name := range names {
				on := resource
				if group != "" {
					on += "." + group
				}
				if name != "" {
					on += fmt.Sprintf(" %q", name)
				}
				out = append(out, on)
			}
		}
	}
	return out
}

// rightsOnlyIn are the permissions of one set that another lacks, one line for each role and
// object.
func rightsOnlyIn(set, other map[right]bool) []string {
	verbs := map[right][]string{}
	for r := range set {
		if !other[r] {
			key := right{role: r.role, on: r.on}
			verbs[key] = append(verbs[key], r.verb)
		}
	}
	var out []string
	for key := range maps.Keys(verbs) {
		slices.Sort(verbs[key])
		out = append(out, fmt.Sprintf("%s: %s %s", key.role, strings.Join(verbs[key], ", "), key.on))
	}
	slices.Sort(out)
	return out
}
