package layout

import (
	"bytes"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// unitList is the content of systemd's directories of units.
type unitList struct {
	units []listedUnit // each once, where it takes precedence
	wants []string     // directories of links to units that others start
}

type listedUnit struct {
	name   string
	preset bool // see unit
}

// listUnits lists the directories of units, each once: /lib often leads to /usr/lib.
func listUnits(root hostfs.Root) unitList {
	var out unitList
	places := map[string]bool{}
	seen := map[string]bool{}
	for i, dir := range unitDirs {
		place, err := root.LocalPath(dir)
		if err != nil || places[place] {
			continue
		}
		places[place] = true
		actual := root.HostPath(place)
		entries, err := root.ReadDir(actual)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := e.Name()
			switch {
			case strings.HasSuffix(name, ".wants"), strings.HasSuffix(name, ".requires"):
				out.wants = append(out.wants, path.Join(actual, name))
			case strings.HasSuffix(name, ".service") && !seen[name]:
				seen[name] = true
				out.units = append(out.units, listedUnit{name, i >= 2})
			}
		}
	}
	return out
}

// enabledUnits returns the units that are started at boot. It reads dozens of directories.
func (l unitList) enabledUnits(root hostfs.Root) map[string]bool {
	out := map[string]bool{}
	for _, dir := range l.wants {
		links, err := root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, link := range links {
			out[link.Name()] = true
		}
	}
	return out
}

// matchingFiles returns files in the place of the patterns of EnvironmentFile, in which systemd
// takes wildcards; here only in the last part of a path.
func matchingFiles(root hostfs.Root, patterns []string) []string {
	var out []string
	for _, pattern := range patterns {
		if !strings.ContainsAny(pattern, "*?[") {
			out = append(out, pattern)
			continue
		}
		entries, err := root.ReadDir(path.Dir(pattern))
		if err != nil {
			continue
		}
		for _, e := range entries {
			hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(path.Base(pattern), ".")
			if fits, err := path.Match(path.Base(pattern), e.Name()); err == nil && fits && !hidden {
				out = append(out, path.Join(path.Dir(pattern), e.Name()))
			}
		}
	}
	return out
}

// loadedUnit is loadUnit, once for each unit.
func (d *discovery) loadedUnit(name string) (*unit, bool) {
	u, known := d.units[name]
	if !known {
		u, _ = loadUnit(d.root, name)
		d.units[name] = u
	}
	return u, u != nil
}

// runningUnits are the units that have a process.
func runningUnits(root hostfs.Root) map[string]bool {
	out := map[string]bool{}
	proc, err := root.LocalPath("/proc")
	if err != nil {
		return out
	}
	init := cgroupsOf(proc, 1)
	buf := make([]byte, cmdlineHead)
	for _, pid := range processIDs(proc) {
		groups := readInto(processFile(proc, pid, "cgroup"), buf)
		if !bytes.Contains(groups, []byte(".service")) {
			continue // in no unit
		}
		if place := placeProcess(cgroupPaths(groups), init); place.unit != "" && !place.nested {
			out[place.unit] = true
		}
	}
	return out
}
