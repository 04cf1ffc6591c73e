package layout

import (
	"maps"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// stoppedUnit is a unit that would start a component which does not run now.
type stoppedUnit struct {
	recognized
	unit *unit
}

// stoppedUnits searches the unit files for those that start one of the services. A stopped
// cluster has no processes to read, and needs this most.
func (d *discovery) stoppedUnits(services []certs.Service) []stoppedUnit {
	if len(services) == 0 {
		return nil
	}
	var out []stoppedUnit
	for _, listed := range d.withInstances(d.unitList().units) {
		// Packages install hundreds of units: only those whose names suggest a component are
		// read.
		if listed.preset && !isSuggestive(listed.name) {
			continue
		}
		u, ok := d.loadedUnit(listed.name)
		if !ok {
			continue
		}
		for _, argv := range u.expandedCommands() {
			r, ok := recognizeArgs(argv)
			if ok && slices.Contains(services, r.service) && (!u.preset || d.enabled()[listed.name]) {
				out = append(out, stoppedUnit{r, u})
			}
		}
	}
	return out
}

// withInstances returns the units with the instances that are started at boot in the place of each
// template, which starts nothing itself.
func (d *discovery) withInstances(units []listedUnit) []listedUnit {
	var out []listedUnit
	for _, u := range units {
		if !strings.HasSuffix(u.name, "@.service") || u.preset && !isSuggestive(u.name) {
			out = append(out, u)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(d.enabled())) {
			known := slices.ContainsFunc(units, func(other listedUnit) bool { return other.name == name })
			if template, instance := splitInstance(name); template == u.name && instance != "" && !known {
				out = append(out, listedUnit{name, u.preset})
			}
		}
	}
	return out
}

func isSuggestive(unit string) bool {
	return slices.ContainsFunc([]string{"kube", "etcd", "k8s", "k0s", "rke"}, func(part string) bool { return strings.Contains(unit, part) })
}
