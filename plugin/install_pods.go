package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// podFlags are flags for the pods of watcher and agents, and the values that complete derives
// from them.
type podFlags struct {
	manifests.Pods
	tolerations []string
}

func (f *podFlags) addTo(set *pflag.FlagSet) {
	set.StringVar(&f.PriorityClass, "priority-class", "", "PriorityClass of watcher and agents")
	set.StringSliceVar(&f.tolerations, "toleration", nil, "Taint that the watcher tolerates, besides that of control planes: KEY, KEY:EFFECT or KEY=VALUE:EFFECT; agents tolerate every taint")
	for _, flag := range []struct {
		to          *map[string]string
		name, usage string
	}{
		{&f.Labels, "label", "Label of all objects except definitions, and of the pods of watcher and agents: KEY=VALUE"},
		{&f.WatcherRequests, "watcher-requests", "Resources that the watcher requests, such as memory=128Mi"},
		{&f.WatcherLimits, "watcher-limits", "Limits of the watcher, such as memory=1Gi"},
		{&f.AgentRequests, "agent-requests", "Resources that each agent requests"},
		{&f.AgentLimits, "agent-limits", "Limits of each agent"},
	} {
		set.Var(&pairsFlag{to: flag.to}, flag.name, flag.usage)
	}
}

// pairsFlag takes KEY=VALUE,… and may be repeated; an empty value removes all pairs of an
// installation.
type pairsFlag struct{ to *map[string]string }

// Set adds pairs.
func (f *pairsFlag) Set(text string) error {
	if *f.to == nil {
		*f.to = map[string]string{}
	}
	for _, pair := range trimmedList(strings.Split(text, ",")) {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q: want KEY=VALUE", pair)
		}
		(*f.to)[key] = value
	}
	return nil
}

// String returns the value as it would be given.
func (f *pairsFlag) String() string {
	if f.to == nil {
		return ""
	}
	return pairsText(*f.to)
}

// Type names the value in the usage text.
func (*pairsFlag) Type() string { return "KEY=VALUE,…" }

// checkResources refuses requests above limits. The API server would do so only after the
// permissions are granted.
func checkResources(objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if kind := object.GetKind(); kind != "Deployment" && kind != "DaemonSet" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			container, _ := c.(map[string]any)
			requests, _, _ := unstructured.NestedMap(container, "resources", "requests")
			limits, _, _ := unstructured.NestedMap(container, "resources", "limits")
			for name, limit := range limits {
				request, has := requests[name]
				if !has {
					continue
				}
				asked, err := resource.ParseQuantity(fmt.Sprint(request))
				atMost, err2 := resource.ParseQuantity(fmt.Sprint(limit))
				if err == nil && err2 == nil && asked.Cmp(atMost) > 0 {
					return hint.AddTo(fmt.Errorf("%s requests %s=%v and is limited to %v", objectName(object), name, request, limit),
						"--%[1]s-requests and --%[1]s-limits set both", container["name"])
				}
			}
		}
	}
	return nil
}

// completeFlags parses tolerations, and refuses values that an API server would refuse only after the
// permissions are granted.
func (f *podFlags) completeFlags() error {
	if f.PriorityClass != "" && !validName(f.PriorityClass) {
		return fmt.Errorf("--priority-class %q is not a valid name of an object", f.PriorityClass)
	}
	for _, text := range trimmedList(f.tolerations) {
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
			return fmt.Errorf("--label %s: the installation sets this label itself", key)
		}
	}
	for flag, quantities := range map[string]map[string]string{
		"watcher-requests": f.WatcherRequests, "watcher-limits": f.WatcherLimits, "agent-requests": f.AgentRequests, "agent-limits": f.AgentLimits,
	} {
		for name, quantity := range quantities {
			if q, err := resource.ParseQuantity(quantity); err != nil || q.Sign() < 0 || !slices.Contains([]string{"cpu", "memory", "ephemeral-storage"}, name) {
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
		t.Operator = corev1.TolerationOpEqual
		t.Value = value
	}
	effects := []string{"", string(corev1.TaintEffectNoSchedule), string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute)}
	if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0 || !slices.Contains(effects, effect) {
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

// pairsText are the values of a flag as it takes them.
func pairsText(values map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = append(out, key+"="+values[key])
	}
	return strings.Join(out, ",")
}
