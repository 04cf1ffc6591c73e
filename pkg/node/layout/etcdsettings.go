package layout

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// etcdSettings reads etcd's settings by the names of its flags.
type etcdSettings func(flag string) string

// isEnabled reads a switch as etcd does: "--flag" alone is true.
func (get etcdSettings) isEnabled(flag string) bool {
	on, err := strconv.ParseBool(get(flag))
	return err == nil && on
}

// allValues adapts the settings to the table.
func (get etcdSettings) allValues(flag string) []string {
	if v := get(flag); v != "" {
		return []string{v}
	}
	return nil
}

// etcdSettingsOf evaluates etcd's configuration: a file, with which etcd ignores everything
// else, or flags before ETCD_ variables. complete is false if a part could not be read, so that
// a missing setting may be set.
func (d *discovery) etcdSettingsOf(p *program) (get etcdSettings, complete bool) {
	direct := func(flag string) string {
		if on, set := p.args.booleanFlag(flag); set && etcdSwitches[flag] {
			return strconv.FormatBool(on)
		}
		if v, set := p.args.lookupFlag(flag); set {
			return v
		}
		return p.env[settings.EtcdVariable(flag)]
	}
	name := direct("config-file")
	if name == "" {
		return direct, !p.envHidden
	}
	file, ok := d.hostPath(p, name)
	if !ok {
		return func(string) string { return "" }, false
	}
	data, err := d.root.ReadFile(file)
	var c map[string]any
	if err == nil {
		err = yaml.Unmarshal(data, &c)
	}
	if err != nil {
		d.notInspected(certs.Etcd, file, "read etcd's configuration: "+err.Error())
		return func(string) string { return "" }, false
	}
	return func(flag string) string { return configValue(c, etcdFields[flag], flag) }, true
}

// etcdSwitches are etcd's boolean flags that are read here: their value is never the next
// word.
var etcdSwitches = map[string]bool{"auto-tls": true, "peer-auto-tls": true}

// etcdFields maps flags to the paths of the same settings in the configuration file; other
// settings have the flag's name.
var etcdFields = func() map[string]string {
	out := map[string]string{}
	for _, row := range settings.RowsOf(certs.Etcd) {
		if row.Flag != "" && row.Field != "" {
			out[row.Flag] = row.Field
		}
	}
	return out
}()

// configValue is the scalar at a path of a configuration file; "" where there is none.
func configValue(c map[string]any, field, flag string) string {
	field = cmp.Or(field, flag)
	for {
		name, rest, nested := strings.Cut(field, ".")
		if !nested {
			switch v := c[name].(type) {
			case nil, map[string]any, []any:
				return ""
			case float64: // every number of YAML, here
				return strconv.FormatFloat(v, 'f', -1, 64)
			default:
				return fmt.Sprint(v)
			}
		}
		inner, ok := c[name].(map[string]any)
		if !ok {
			return ""
		}
		c = inner
		field = rest
	}
}
