package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// noteStopped records the units of RKE2 and K3s that do not run, or have not started a component
// yet. Only a running unit shows which certificates it uses.
func (d *discovery) noteStopped(programs []*program, bundles []bundle) {
	runs := func(p *program) bool { return p.service == certs.Kubelet || p.distribution != nil }
	if slices.ContainsFunc(programs, runs) {
		return
	}
	for i := range distributions {
		dist := &distributions[i]
		if dist.renewal != inventory.UnitCommand {
			continue
		}
		known := slices.ContainsFunc(bundles, func(b bundle) bool { return slices.Contains(dist.programs, b.name) })
		units := d.unitsOf(dist)
		for _, name := range units {
			if !d.holdsBundle(name, bundles) {
				known = true
				d.notInspected("", "", fmt.Sprintf("%s of %s runs no component, and only a running one shows which certificates it uses: start it, which renews those that have expired, and see \"journalctl -u %s\"", name, dist.name, name))
			}
		}
		if !known && d.hasData(dist.dir, "") {
			d.notInspected("", dist.dir, fmt.Sprintf("holds certificates of %s, but no systemd unit that starts %s was found", dist.name, dist.name))
		}
	}
}

// holdsBundle reports whether a unit runs a program that holds all components.
func (d *discovery) holdsBundle(unit string, bundles []bundle) bool {
	proc, err := d.root.LocalPath("/proc")
	return err == nil && slices.ContainsFunc(bundles, func(b bundle) bool {
		return placeProcess(cgroupsOf(proc, b.pid), cgroupsOf(proc, 1)).unit == unit
	})
}

// unitsOf returns the units that start a distribution on this node: those that are enabled or
// were made here, otherwise those whose certificates are in its data directory. Packages install
// the units of servers and agents together.
func (d *discovery) unitsOf(dist *distribution) []string {
	var active, others []string
	for _, listed := range d.unitList().units {
		name := listed.name
		if !slices.ContainsFunc(dist.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		u, ok := d.loadedUnit(name)
		if !ok {
			continue
		}
		found, ok := d.rancherProgram(u, dist)
		switch {
		case !ok:
		case !u.preset || d.enabled()[name]:
			active = append(active, name)
		case d.hasData(found.dir, found.role):
			others = append(others, name)
		}
	}
	if len(active) > 0 {
		return active
	}
	return others
}

// hasData reports whether a data directory holds the certificates of a server or an agent; an
// empty role is either. A server has those of its agent, too.
func (d *discovery) hasData(dir, role string) bool {
	server := d.fileExists(dir + "/server/tls")
	agent := d.fileExists(dir + "/agent/client-kubelet.crt")
	switch role {
	case "server":
		return server
	case "agent":
		return agent && !server
	}
	return server || agent
}
