package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// mount is a host path as a container sees it.
type mount struct {
	container string
	host      string // empty: not from the host, e.g. an emptyDir or a Secret
	readOnly  bool
	encrypted bool // the container sees the file's content decrypted
}

// resolver turns the paths that a component uses into the host's.
type resolver struct {
	// inContainer means that paths without a mount are in the image. Without it the component
	// sees the host's files, except for those that its unit mounts elsewhere.
	inContainer bool
	mounts      []mount
	workDir     string // for relative paths; empty: unknown, taken as "/"
	// copied is a directory to which systemd copies files at the start of a service.
	copied string
}

// hostPath returns the host path of a component's path. The error is the reason why the host
// has none.
func (r resolver) hostPath(p string) (string, error) {
	if !path.IsAbs(p) {
		p = path.Join("/", r.workDir, p)
	}
	p = path.Clean(p)
	best := mount{}
	for _, m := range r.mounts {
		if isUnder(p, m.container) && len(m.container) > len(best.container) {
			best = m
		}
	}
	switch {
	case best.container == "" && !r.inContainer:
		return p, nil
	case best.container == "":
		return "", fmt.Errorf("%q lies in the container's image, not on the host", p)
	case best.host == "":
		return "", fmt.Errorf("%q lies in a volume, an image or credentials of its unit, not on the host", p)
	case best.encrypted:
		return "", fmt.Errorf("%q is the decrypted content of %q, which is not inspected", p, best.host)
	}
	return path.Join(best.host, strings.TrimPrefix(p, best.container)), nil
}

// keepsOldFile reports whether a component does not see a file that replaces this one until it is
// restarted: one that is mounted into its container without its directory, or a credential of its unit.
func (r resolver) keepsOldFile(p string) bool {
	if p == "" {
		return false
	}
	if !path.IsAbs(p) {
		p = path.Join("/", r.workDir, p)
	}
	p = path.Clean(p)
	if !r.inContainer {
		return r.copied != "" && isUnder(p, r.copied)
	}
	return slices.ContainsFunc(r.mounts, func(m mount) bool { return m.container == p })
}

// isUnder reports whether p is dir or below it. Both are clean.
func isUnder(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
