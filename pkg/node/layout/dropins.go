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
func dropIns(root hostfs.Root, name string) []string {
	byName := map[string]string{}
	for _, directory := range dropInDirectories(name) {
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
// systemd's directories those of its names, last those of every service.
func dropInDirectories(name string) []string {
	var out []string
	for _, dir := range unitDirs {
		for _, n := range dropInNames(name) {
			out = append(out, path.Join(dir, n+".d"))
		}
	}
	for _, dir := range unitDirs {
		out = append(out, path.Join(dir, "service.d"))
	}
	return out
}

// dropInNames lists the names by which a service has drop-ins: its own, that of its template, and
// the same for every prefix of it that ends with a dash: "kube-.service" for
// "kube-apiserver.service", "kube-@1.service" and "kube-@.service" for "kube-a@1.service".
func dropInNames(name string) []string {
	out := []string{name}
	template, instance := splitInstance(name)
	if instance != "" {
		out = append(out, template)
	}
	stem, isService := strings.CutSuffix(name, ".service")
	prefix, _, isInstance := strings.Cut(stem, "@")
	dash := strings.LastIndexByte(strings.TrimSuffix(prefix, "-"), '-')
	if !isService || dash < 0 {
		return out
	}
	shorter := prefix[:dash+1]
	if isInstance {
		shorter += "@" + instance
	}
	return append(out, dropInNames(shorter+".service")...)
}
