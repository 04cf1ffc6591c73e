package manifests

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// findings are what kube-linter's default checks find in a pod, of those that pods which scan
// a node can fail: docs/generated/checks.md in github.com/stackrox/kube-linter.
func findings(pod corev1.PodSpec) []string {
	var found []string
	if pod.HostNetwork {
		found = append(found, "host-network")
	}
	if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot {
		found = append(found, "run-as-non-root")
	}
	sensitive := []string{"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"}
	if slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.HostPath != nil && slices.Contains(sensitive, v.HostPath.Path)
	}) {
		found = append(found, "sensitive-host-mounts")
	}
	return found
}

// TestInherentFindingsHaveReasons: what kube-linter would find is said to be meant, and
// nothing else is.
func TestInherentFindingsHaveReasons(t *testing.T) {
	for name, options := range variants() {
		objects := render(t, options)
		agents := find[*appsv1.DaemonSet](t, objects, Agent, options.Namespace)
		var meant []string
		for key, reason := range agents.Annotations {
			if check, is := strings.CutPrefix(key, "ignore-check.kube-linter.io/"); is {
				meant = append(meant, check)
				assert.NotEmpty(t, reason, "%s: %s", name, check)
			}
		}
		assert.ElementsMatch(t, findings(agents.Spec.Template.Spec), meant, name)
		if options.WithoutWatcher {
			continue
		}
		watcher := find[*appsv1.Deployment](t, objects, Watcher, options.Namespace)
		assert.Empty(t, findings(watcher.Spec.Template.Spec), name)
		for key := range watcher.Annotations {
			assert.NotContains(t, key, "kube-linter", name)
		}
	}
	budget := find[*policyv1.PodDisruptionBudget](t, render(t, variants()["external"]), Watcher, "rotate-certs")
	assert.Equal(t, new(policyv1.AlwaysAllow), budget.Spec.UnhealthyPodEvictionPolicy)
}
