package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/deploy/chart"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// renderChart renders the templates of the Helm chart.
func renderChart(o Options) ([]*unstructured.Unstructured, error) {
	templates, err := template.New("chart").Option("missingkey=error").Funcs(helmFunctions()).
		ParseFS(chart.FS, "templates/*.tpl", "templates/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	values, err := o.chartValues()
	if err != nil {
		return nil, err
	}
	data := map[string]any{
		"Values":  values,
		"Release": map[string]any{"Namespace": o.Namespace},
		"Chart":   map[string]any{"AppVersion": kube.LabelValue(o.Version)},
	}
	names, err := fs.Glob(chart.FS, "templates/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the templates of the chart: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		var out bytes.Buffer
		if err := templates.ExecuteTemplate(&out, path.Base(name), data); err != nil {
			return nil, fmt.Errorf("fill in the chart: %w", err)
		}
		found, err := decodeManifests(name, out.String())
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// chartValues are the default values of the chart, overridden by the options.
func (o Options) chartValues() (map[string]any, error) {
	values := map[string]any{}
	if err := yaml.Unmarshal(chart.Values, &values); err != nil {
		return nil, fmt.Errorf("read the values of the chart: %w", err)
	}
	policy := map[string]any{}
	if err := yaml.Unmarshal(defaultPolicy, &policy); err != nil {
		return nil, fmt.Errorf("read the default policy: %w", err)
	}
	spec := policy["spec"]
	if o.Policy != nil {
		spec = o.Policy.Spec
	}
	for _, source := range []any{o.Settings, map[string]any{
		"policy": spec, "createPolicy": true,
		"createNamespace": true, "image": o.Image, "watcherImage": o.WatcherImage,
		"natsSecretKeys": o.NATSSecretKeys, "earlierImages": o.EarlierImages,
	}} {
		text, err := json.Marshal(source)
		if err != nil {
			return nil, fmt.Errorf("encode settings: %w", err)
		}
		given := map[string]any{}
		if err := json.Unmarshal(text, &given); err != nil {
			return nil, fmt.Errorf("encode settings: %w", err)
		}
		maps.Copy(values, given)
	}
	return values, nil
}

// helmFunctions are the functions of Helm that the chart uses, in addition to those of Go's
// templates.
func helmFunctions() template.FuncMap {
	return template.FuncMap{
		"append": func(list []any, item any) []any { return append(list[:len(list):len(list)], item) },
		"default": func(otherwise, value any) any {
			if value == nil || reflect.ValueOf(value).IsZero() {
				return otherwise
			}
			return value
		},
		"dict": func(pairs ...any) map[string]any {
			out := map[string]any{}
			for i := 0; i < len(pairs); i += 2 {
				out[pairs[i].(string)] = pairs[i+1] // of our own templates
			}
			return out
		},
		"fail":      func(text string) (string, error) { return "", errors.New(text) },
		"hasPrefix": func(prefix, text string) bool { return strings.HasPrefix(text, prefix) },
		"list":      func(items ...any) []any { return items },
		"omit": func(from map[string]any, names ...string) map[string]any {
			out := maps.Clone(from)
			for _, name := range names {
				delete(out, name)
			}
			return out
		},
		"regexMatch": func(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) },
		"regexReplaceAll": func(pattern, text, with string) string {
			return regexp.MustCompile(pattern).ReplaceAllString(text, with)
		},
		"set": func(m map[string]any, name string, value any) map[string]any {
			m[name] = value
			return m
		},
		"toJson": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err //nolint:wrapcheck // the template adds the context
		},
	}
}
