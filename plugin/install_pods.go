package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// podFlags are flags for the pods of watcher and agents, and what complete makes of them.
type podFlags struct {
	manifests.Pods
	tolerations []string
}

func (f *podFlags) addTo(set *pflag.FlagSet) {
	set.StringVar(&f.PriorityClass, "priority-class", "", "PriorityClass of watcher and agents")
	set.StringSliceVar(&f.tolerations, "toleration", nil, "Taint that the watcher tolerates, beside that of control planes: KEY, KEY:EFFECT or KEY=VALUE:EFFECT; agents tolerate all")
	set.StringToStringVar(&f.Labels, "label", nil, "Label of all objects and of the pods of watcher and agents: KEY=VALUE")
	set.StringToStringVar(&f.WatcherRequests, "watcher-requests", nil, "Resources that the watcher requests, such as memory=128Mi")
	set.StringToStringVar(&f.WatcherLimits, "watcher-limits", nil, "Limits of the watcher, such as memory=1Gi")
	set.StringToStringVar(&f.AgentRequests, "agent-requests", nil, "Resources that each agent requests")
	set.StringToStringVar(&f.AgentLimits, "agent-limits", nil, "Limits of each agent")
}

// complete reads tolerations, and refuses what an API server would not take: by then rights
// would have been given.
func (f *podFlags) complete() error {
	if f.PriorityClass != "" && !validName(f.PriorityClass) {
		return fmt.Errorf("--priority-class %q is no name of an object", f.PriorityClass)
	}
	for _, text := range trimmed(f.tolerations) {
		t, err := parseToleration(text)
		if err != nil {
			return err
		}
		f.Tolerations = append(f.Tolerations, t)
	}
	for key, value := range f.Labels {
		problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...)
		if len(problems) > 0 {
			return fmt.Errorf("--label %s=%s: %s", key, value, problems[0])
		}
		if strings.HasPrefix(key, "app.kubernetes.io/") {
			return fmt.Errorf("--label %s: this label is the installation's own", key)
		}
	}
	for flag, quantities := range map[string]map[string]string{
		"watcher-requests": f.WatcherRequests, "watcher-limits": f.WatcherLimits, "agent-requests": f.AgentRequests, "agent-limits": f.AgentLimits,
	} {
		for name, quantity := range quantities {
			if _, err := resource.ParseQuantity(quantity); err != nil || !oneOf([]string{"cpu", "memory", "ephemeral-storage"}, name) {
				return fmt.Errorf("--%s %s=%s: want cpu, memory or ephemeral-storage and a quantity, such as memory=128Mi", flag, name, quantity)
			}
		}
	}
	return nil
}

// parseToleration reads a taint as kubectl writes it.
func parseToleration(text string) (corev1.Toleration, error) {
	taint, effect, _ := strings.Cut(text, ":")
	key, value, equal := strings.Cut(taint, "=")
	t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffect(effect)}
	if equal {
		t.Operator, t.Value = corev1.TolerationOpEqual, value
	}
	effects := []string{"", string(corev1.TaintEffectNoSchedule), string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute)}
	if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0 || !oneOf(effects, effect) {
		return t, fmt.Errorf("--toleration %q: want KEY, KEY:EFFECT or KEY=VALUE:EFFECT, with NoSchedule, PreferNoSchedule or NoExecute", text)
	}
	return t, nil
}

// tolerationWords are tolerations as the flag takes them.
func tolerationWords(tolerations []corev1.Toleration) string {
	var out []string
	for _, t := range tolerations {
		words := t.Key
		if t.Operator == corev1.TolerationOpEqual {
			words += "=" + t.Value
		}
		if t.Effect != "" {
			words += ":" + string(t.Effect)
		}
		out = append(out, words)
	}
	return strings.Join(out, ",")
}

// pairs are the values of a flag as it takes them.
func pairs(values map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = append(out, key+"="+values[key])
	}
	return strings.Join(out, ",")
}
