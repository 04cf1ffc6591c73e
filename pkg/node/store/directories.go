package store

import (
	"path/filepath"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// DirectoriesOf returns the directories in which [ReplaceStore] replaces a store's files,
// all symlinks resolved: those of the real files, and of the symlink that it changes; nil if
// they cannot be determined.
func DirectoriesOf(root hostfs.Root, s inventory.Store) []string {
	var out []string
	files := []string{s.Cert}
	switch s.Kind {
	case inventory.Pair:
		files = append(files, s.Key)
	case inventory.Combined:
		link, err := findLink(root, s.Cert)
		if err != nil {
			return nil
		}
		if link != nil {
			out = append(out, filepath.Dir(link.host))
		}
	case inventory.Kubeconfig:
	}
	for _, file := range files {
		local, err := root.LocalPath(file)
		if err != nil {
			return nil
		}
		out = append(out, root.HostPath(filepath.Dir(local)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
