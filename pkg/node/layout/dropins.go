package layout

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// dropIns lists a unit's drop-in files in the order in which they apply: by file name,
// independently of their directory; of equal names the directory of precedence wins.
func dropIns(root hostfs.Root, name, template string) []string {
	byName := map[string]string{}
	for _, directory := range dropInDirectories(name, template) {
		entries, err := root.ReadDir(directory)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if _, taken := byName[e.Name()]; !taken && strings.HasSuffix(e.Name(), ".conf") {
				byName[e.Name()] = path.Join(directory, e.Name())
			}
		}
	}
	var out []string
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[n])
	}
	return out
}

// dropInDirectories lists where a unit's drop-ins may be, the first takes precedence: in each of
// systemd's directories those of the unit, those for every name with the same beginning, such as
// "kube-.service.d" for "kube-apiserver.service", and those of its template; last those of every
// service.
func dropInDirectories(name, template string) []string {
	names := append([]string{name}, prefixNames(name)...)
	if template != "" {
		names = append(names, template)
	}
	var out []string
	for _, dir := range unitDirs {
		for _, n := range names {
			out = append(out, path.Join(dir, n+".d"))
		}
	}
	for _, dir := range unitDirs {
		out = append(out, path.Join(dir, "service.d"))
	}
	return out
}

// prefixNames returns "a-b-.service" and "a-.service" for "a-b-c.service".
func prefixNames(name string) []string {
	stem, isService := strings.CutSuffix(name, ".service")
	if !isService {
		return nil
	}
	stem, _, _ = strings.Cut(stem, "@")
	var out []string
	for {
		i := strings.LastIndexByte(strings.TrimSuffix(stem, "-"), '-')
		if i < 0 {
			return out
		}
		stem = stem[:i+1]
		out = append(out, stem+".service")
	}
}
