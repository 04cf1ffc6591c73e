package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// maxLinks is how many symlinks one path may lead through, as in the kernel.
const maxLinks = 40

// unitDirectories lists the directories in which administrators change units of components.
var unitDirectories = []string{"/etc/systemd/system", "/usr/lib/systemd/system"}

// watchedPlaces returns the directories in which a change may matter: of all files that an
// inventory names, with all symlinks on the way. For a missing file it is the directory in
// which it, or its directory, would appear. Host paths, sorted.
func watchedPlaces(root hostfs.Root, node inventory.Node) []string {
	found := map[string]bool{}
	note := func(file string) {
		if filepath.IsAbs(file) && !isElsewhere(file) {
			dirs, _ := onTheWay(root, file)
			for _, dir := range dirs {
				found[dir] = true
			}
		}
	}
	for _, c := range node.Certificates {
		note(c.Store.Cert)
		note(c.Store.Key)
		for _, dir := range c.Store.Directories {
			note(filepath.Join(dir, "any"))
		}
	}
	for _, a := range node.Authorities {
		for _, file := range append(slices.Clone(a.Paths), a.KeyOn) {
			note(file)
		}
	}
	for _, c := range node.Components {
		note(c.Manifest)
		if c.Runtime == inventory.Systemd {
			for _, dir := range unitDirectories {
				note(filepath.Join(dir, c.Unit))
				note(filepath.Join(dir, c.Unit+".d", "any"))
			}
		}
		if c.Runtime == inventory.StaticPod || c.Runtime == inventory.DaemonSet || c.Runtime == inventory.Docker {
			continue // its paths are the container's; the host paths are named above
		}
		for _, arg := range c.Args {
			_, value, _ := strings.Cut(arg, "=")
			note(value)
		}
	}
	note(node.KubeletConf)
	for _, n := range node.NotInspected {
		note(n.Path)
	}
	return slices.Sorted(maps.Keys(found))
}

// isElsewhere reports whether a path needs no watch: it is no file system of the host, or
// changes all the time.
func isElsewhere(file string) bool {
	places := []string{"/proc/", "/sys/", "/dev/", "/run/", "/var/run/", "/var/lib/kubelet/pods/", "/var/log/"}
	return slices.ContainsFunc(places, func(top string) bool { return strings.HasPrefix(file, top) })
}

// onTheWay lists the directories that hold a file, or a symlink that leads to it, all without
// symlinks themselves. If a part of the path does not exist, missing is the first such part.
func onTheWay(root hostfs.Root, file string) (dirs []string, missing string) {
	at := "/"
	rest := partsOf(file)
	links := 0
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		local := filepath.Join(string(root), next)
		info, err := os.Lstat(local)
		switch {
		case err != nil: // not there, or not to be seen
			return append(dirs, at), next
		case info.Mode()&os.ModeSymlink != 0:
			dirs = append(dirs, at)
			target, err := os.Readlink(local)
			if links++; err != nil || links > maxLinks {
				return dirs, ""
			}
			rest = append(partsOf(target), rest...)
			if filepath.IsAbs(target) {
				at = "/"
			}
			continue
		case len(rest) == 0 || !info.IsDir():
			return append(dirs, at), ""
		}
		at = next
	}
	return append(dirs, at), ""
}

// hiddenDirectory returns the directory of the host that would have to be mounted below root to
// make a file visible; empty if its path is visible.
func hiddenDirectory(root hostfs.Root, file string) string {
	if root == "/" || !filepath.IsAbs(file) {
		return ""
	}
	_, missing := onTheWay(root, file)
	// Of /var parts are mounted. What MicroK8s has there cannot be, since it has sockets among it.
	if missing == "" || strings.HasPrefix(file, "/var/snap/microk8s/") || filepath.Dir(missing) != "/" && filepath.Dir(missing) != "/var" {
		return ""
	}
	return missing
}

func partsOf(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}
