package kubeadm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

// document is one YAML document as plain maps, lists and scalars.
type document = map[string]any

// kinds are the documents that may be given, with the API version each has to
// have; kubeadm itself would ignore a wrong one with a mere warning.
var kinds = map[string]string{
	"InitConfiguration":      "kubeadm.k8s.io/v1beta4",
	"JoinConfiguration":      "kubeadm.k8s.io/v1beta4",
	"ClusterConfiguration":   "kubeadm.k8s.io/v1beta4",
	"KubeletConfiguration":   "kubelet.config.k8s.io/v1beta1",
	"KubeProxyConfiguration": "kubeproxy.config.k8s.io/v1alpha1",
}

// Overrides are documents to be merged over those of the lab, by kind.
type Overrides map[string]document

// ParseOverrides reads a stream of YAML documents.
func ParseOverrides(data []byte) (Overrides, error) {
	overrides := Overrides{}
	for i, text := range splitDocuments(string(data)) {
		doc := document{}
		if err := yaml.UnmarshalStrict([]byte(text), &doc); err != nil {
			return nil, fmt.Errorf("parse kubeadm configuration, document %d: %w", i+1, err)
		}
		if len(doc) == 0 {
			continue
		}
		kind, _ := doc["kind"].(string)
		want, known := kinds[kind]
		if !known {
			return nil, fmt.Errorf("parse kubeadm configuration, document %d: kind %q is not one of %s",
				i+1, kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		}
		if version := doc["apiVersion"]; version != want {
			return nil, hint.AddTo(fmt.Errorf("parse kubeadm configuration, document %d: apiVersion of a %s is %v",
				i+1, kind, version), "use %s", want)
		}
		if _, twice := overrides[kind]; twice {
			return nil, fmt.Errorf("parse kubeadm configuration, document %d: there is already a %s", i+1, kind)
		}
		overrides[kind] = doc
	}
	return overrides, nil
}

// WithoutKubeadm refuses documents that only kubeadm reads.
func (o Overrides) WithoutKubeadm() error {
	for kind := range o {
		if strings.HasPrefix(kinds[kind], "kubeadm.") {
			return fmt.Errorf("configuration: nothing reads a %s in a cluster without kubeadm", kind)
		}
	}
	return nil
}

func splitDocuments(text string) []string {
	var documents []string
	var current strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, " \t\r\n") == "---" {
			documents = append(documents, current.String())
			current.Reset()
			continue
		}
		current.WriteString(line)
	}
	return append(documents, current.String())
}

// merge returns base with over laid over it: maps are merged key by key, lists
// of named things (kubeadm's extraArgs, extraVolumes) by name, and whatever
// else is given replaces what was there. A null removes.
func merge(base, over any) any {
	switch over := over.(type) {
	case map[string]any:
		baseMap, ok := base.(map[string]any)
		if !ok {
			baseMap = map[string]any{}
		}
		merged := maps.Clone(baseMap)
		for key, value := range over {
			if value == nil {
				delete(merged, key)
				continue
			}
			merged[key] = merge(baseMap[key], value)
		}
		return merged
	case []any:
		baseList, ok := base.([]any)
		if !ok || !allNamed(baseList) || !allNamed(over) {
			return over
		}
		return mergeNamed(baseList, over)
	default:
		return over
	}
}

func allNamed(list []any) bool {
	return !slices.ContainsFunc(list, func(item any) bool { return nameOf(item) == "" })
}

func nameOf(item any) string {
	fields, _ := item.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}

// mergeNamed replaces items of base by those of over that have their name; a
// name may stand more than once in over, as a flag may be given twice.
func mergeNamed(base, over []any) []any {
	merged := slices.DeleteFunc(slices.Clone(base), func(item any) bool {
		return slices.ContainsFunc(over, func(o any) bool { return nameOf(o) == nameOf(item) })
	})
	return append(merged, over...)
}

// encode writes documents as one YAML stream.
func encode(documents ...document) (string, error) {
	var out strings.Builder
	for _, doc := range documents {
		data, err := yaml.Marshal(doc)
		if err != nil {
			return "", fmt.Errorf("encode kubeadm configuration: %w", err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.String(), nil
}
