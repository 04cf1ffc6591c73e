package layout

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// bundle is a process that runs many components at once.
type bundle struct {
	name string // of its program, see bundled
	pid  int
}

// addBundles returns the components of K3s or MicroK8s, and records other bundles, whose
// components are not inspected.
func (d *discovery) addBundles(bundles []bundle) []*program {
	var out []*program
	var others []string
	found := ""
	for _, b := range bundles {
		switch programs := d.programsOf(b); {
		case programs == nil:
			others = append(others, b.name)
		case out == nil:
			out = programs
			found = b.name
		}
	}
	// Others of the same program are its clients: k3s kubectl.
	others = slices.DeleteFunc(others, func(name string) bool { return name == found })
	slices.Sort(others)
	for _, name := range slices.Compact(others) {
		d.notInspectedByDesign("", "", bundled[name])
	}
	return out
}

// programsOf returns the components that a bundle runs; nil: it is not known how it is started.
func (d *discovery) programsOf(b bundle) []*program {
	if k := d.k3sOf(b); k != nil {
		return k.programs()
	}
	if m := d.microk8sOf(b); m != nil {
		return m.programs()
	}
	return nil
}

// componentOfBundle returns the part that the components of a bundle have in common, and the unit
// that started it; nil: none is known.
func (d *discovery) componentOfBundle(b bundle) (inventory.Component, *unit) {
	proc, err := d.root.LocalPath("/proc")
	if err != nil {
		return inventory.Component{}, nil
	}
	place := placeProcess(cgroupsOf(proc, b.pid), cgroupsOf(proc, 1))
	if place.unit == "" || place.container {
		return inventory.Component{}, nil
	}
	loaded, ok := d.loadedUnit(place.unit)
	if !ok {
		return inventory.Component{}, nil
	}
	stat := readInto(processFile(proc, b.pid, "stat"), make([]byte, cmdlineHead))
	return inventory.Component{
		Runtime: inventory.Supervised, Unit: place.unit, PID: b.pid, StartedAt: startTime(stat, bootTime(proc)), GraceSeconds: loaded.grace,
	}, loaded
}
