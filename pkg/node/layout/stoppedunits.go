package layout

import (
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// stoppedUnit is a unit that would start a component which does not run now.
type stoppedUnit struct {
	recognized
	unit *unit
}

// stoppedUnits searches the unit files for those that start one of the services. A stopped
// cluster has no processes to read, and needs this most.
func stoppedUnits(root hostfs.Root, services []certs.Service) []stoppedUnit {
	if len(services) == 0 {
		return nil
	}
	var out []stoppedUnit
	seen := map[string]bool{}
	enabled := sync.OnceValue(func() map[string]bool { return enabledUnits(root) }) // reads dozens of directories
	for i, dir := range unitDirs {
		entries, err := root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if !strings.HasSuffix(name, ".service") || seen[name] {
				continue
			}
			seen[name] = true
			// Packages install hundreds of units: only those whose names suggest a component
			// are read.
			if i >= 2 && !isSuggestive(name) {
				continue
			}
			u, ok := loadUnit(root, name)
			if !ok {
				continue
			}
			for _, argv := range u.expandedCommands() {
				r, ok := recognizeArgs(argv)
				if ok && slices.Contains(services, r.service) && (!u.preset || enabled()[name]) {
					out = append(out, stoppedUnit{r, u})
				}
			}
		}
	}
	return out
}

func isSuggestive(unit string) bool {
	for _, part := range []string{"kube", "etcd", "k8s", "k0s", "rke"} {
		if strings.Contains(unit, part) {
			return true
		}
	}
	return false
}

// enabledUnits returns the units that are started at boot.
func enabledUnits(root hostfs.Root) map[string]bool {
	out := map[string]bool{}
	for _, dir := range unitDirs {
		entries, err := root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".wants") && !strings.HasSuffix(e.Name(), ".requires") {
				continue
			}
			links, err := root.ReadDir(path.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			for _, l := range links {
				out[l.Name()] = true
			}
		}
	}
	return out
}
