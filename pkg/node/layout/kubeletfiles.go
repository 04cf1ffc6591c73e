package layout

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// kubeletFiles returns a kubelet's values of the settings in the table: of a flag, also an
// empty one, or otherwise of a field of its configuration.
func kubeletFiles(p *program, configuration []byte) values {
	var tree map[string]any
	_ = json.Unmarshal(configuration, &tree) // it was parsed before
	return func(flag string) []string {
		if v, set := p.args.lookupFlag(flag); set {
			return []string{v}
		}
		for _, row := range settings.RowsOf(certs.Kubelet) {
			if v, _ := leafOf(tree, row.Field); row.Flag == flag && v != nil {
				name, _ := (*v).(string)
				return []string{name}
			}
		}
		return nil
	}
}

// absolutePaths makes the paths of the file of --config absolute: the kubelet takes them relative
// to it, and those of drop-ins relative to its working directory
// (pkg/kubelet/kubeletconfig/configfiles).
func absolutePaths(data []byte, file string) ([]byte, error) {
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, errors.New("parse kubelet configuration: it is no object")
	}
	if tree == nil { // an empty file
		tree = map[string]any{}
	}
	fields := []string{"staticPodPath"}
	for _, row := range settings.RowsOf(certs.Kubelet) {
		fields = append(fields, row.Field)
	}
	for _, field := range fields {
		if v, set := leafOf(tree, field); v != nil {
			if name, ok := (*v).(string); ok {
				set(pathWithin(file, name))
			}
		}
	}
	return json.Marshal(tree)
}

// leafOf returns the value of a field by its path, "authentication.x509.clientCAFile", and a
// function that replaces it; nil: it is not set.
func leafOf(tree map[string]any, field string) (*any, func(string)) {
	if field == "" {
		return nil, nil
	}
	names := strings.Split(field, ".")
	for _, name := range names[:len(names)-1] {
		tree, _ = tree[name].(map[string]any)
	}
	last := names[len(names)-1]
	v, set := tree[last]
	if !set || v == nil {
		return nil, nil
	}
	return &v, func(to string) { tree[last] = to }
}

// addKubeletFiles records the files that the kubelet's settings name. A serving certificate
// without a key is ignored, and a key without a certificate: the kubelet makes its own then.
func (d *discovery) addKubeletFiles(k *kubeletSettings, serving verificationPlace) {
	pair := k.namesServing()
	get := func(flag string) []string {
		apart := []string{"kubeconfig"} // see addKubeletClient
		if !pair {
			apart = append(apart, "tls-cert-file", "tls-private-key-file")
		}
		if slices.Contains(apart, flag) {
			return nil
		}
		return k.files(flag)
	}
	d.addSettings(k.program, get, map[settings.Verification]verificationPlace{settings.Served: serving})
}

// namesServing reports whether the kubelet is configured with a serving certificate and its
// key.
func (k *kubeletSettings) namesServing() bool {
	return k.files.lastValue("tls-cert-file") != "" && k.files.lastValue("tls-private-key-file") != ""
}
