package layout

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// mountPoint is a line of a /proc/PID/mountinfo.
type mountPoint struct {
	device string // major:minor
	root   string // the directory within the file system that is mounted
	target string
}

// containerResolver translates the paths of a container that no manifest describes
// (RKE1 runs Kubernetes in plain Docker containers), by comparing its mounts with
// those of the host: both are directories of the same file system.
func (d *discovery) containerResolver(pid int) resolver {
	r := resolver{inContainer: true}
	proc, err := d.root.LocalPath("/proc")
	if err != nil {
		return r
	}
	read := func(id int) []mountPoint {
		return parseMountinfo(string(readWhole(processFile(proc, id, "mountinfo"))))
	}
	host := read(1)
	// The longest root first: it is the nearest to the searched path.
	slices.SortStableFunc(host, func(a, b mountPoint) int { return cmp.Compare(len(b.root), len(a.root)) })
	for _, m := range read(pid) {
		found := mount{container: m.target}
		for _, h := range host {
			if h.device == m.device && isUnder(m.root, h.root) {
				found.host = path.Join(h.target, strings.TrimPrefix(m.root, h.root))
				break
			}
		}
		r.mounts = append(r.mounts, found)
	}
	return r
}

// parseMountinfo reads the fields that matter; escaped blanks are resolved.
func parseMountinfo(text string) []mountPoint {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`)
	var out []mountPoint
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 6 || !path.IsAbs(f[3]) || !path.IsAbs(f[4]) {
			continue // e.g. a mount of a namespace file
		}
		out = append(out, mountPoint{f[2], path.Clean(unescape.Replace(f[3])), path.Clean(unescape.Replace(f[4]))})
	}
	return out
}
