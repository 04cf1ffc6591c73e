package layout

import (
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// rancher is a program of RKE2 or K3s as its unit starts it.
type rancher struct {
	path     string
	role     string    // server or agent: as its data directory is divided
	dir      string    // the data directory
	settings arguments // of its configuration files, then of its command line
}

// rancherProgram finds the program of RKE2 or K3s in the unit that starts it; false if the unit
// starts another one.
func (d *discovery) rancherProgram(u *unit, dist *distribution) (rancher, bool) {
	for _, argv := range u.expandedCommands() {
		if distributionOf(argv) != dist || len(argv) < 2 || argv[1] != "server" && argv[1] != "agent" {
			continue
		}
		flags := arguments(argv[2:])
		program := dist.programs[0]
		settings := append(d.rancherConfig(u, program, flags), flags...)
		r := rancher{path: argv[0], role: argv[1], dir: dist.dir, settings: settings}
		for _, dir := range []string{u.env[strings.ToUpper(program)+"_DATA_DIR"], settings.lastValue("d"), settings.lastValue("data-dir")} {
			if dir != "" {
				r.dir = path.Clean(dir)
			}
		}
		return r, true
	}
	return rancher{}, false
}

// rancherConfig reads the configuration files of RKE2 or K3s as flags. One that cannot be read
// is recorded.
func (d *discovery) rancherConfig(u *unit, program string, flags arguments) arguments {
	file := "/etc/rancher/" + program + "/config.yaml"
	for _, other := range []string{u.env[strings.ToUpper(program)+"_CONFIG_FILE"], flags.lastValue("c"), flags.lastValue("config")} {
		if other != "" {
			file = other
		}
	}
	files := []string{file}
	if entries, err := d.root.ReadDir(file + ".d"); err == nil {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".yaml") || strings.HasSuffix(e.Name(), ".yml") {
				files = append(files, path.Join(file+".d", e.Name()))
			}
		}
	}
	var out arguments
	for _, f := range files {
		if !d.fileExists(f) {
			continue
		}
		more, err := d.readFlags(f)
		if err != nil {
			d.notInspected("", f, "read the configuration of "+program+": "+err.Error())
		}
		out = append(out, more...)
	}
	return out
}

// readFlags reads a file of settings as the flags that they stand for: a list is a flag that is
// repeated, and a "+" behind a name adds to what earlier files have.
func (d *discovery) readFlags(file string) (arguments, error) {
	data, err := d.root.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c map[string]any
	if err := yaml.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	var out arguments
	for name, value := range c {
		values, ok := value.([]any)
		if !ok {
			values = []any{value}
		}
		for _, v := range values {
			out = append(out, fmt.Sprintf("--%s=%v", strings.TrimSuffix(name, "+"), v))
		}
	}
	return out, nil
}
