package scan

import (
	"io/fs"
	"path"
	"path/filepath"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// addOtherUsers fills in the other users of each certificate's files: static pods, units, and
// other names of the same file, which keep the old content.
func addOtherUsers(root hostfs.Root, found *layout.Layout, entries []entry) {
	dirs := map[string]bool{}
	for i := range entries {
		s := entries[i].Store
		for _, file := range []string{s.Cert, s.Key} {
			if file != "" {
				dirs[path.Dir(file)] = true
			}
		}
	}
	links := &hardLinks{root: root, dirs: dirs}
	for i := range entries {
		e := &entries[i]
		e.OtherUsers = found.OtherUsers(root, e.Store)
		e.MayUse = found.MayUse(root, e.Store)
		for _, file := range []string{e.Store.Cert, e.Store.Key} {
			if other, ok := links.otherName(file); ok {
				e.OtherUsers = append(e.OtherUsers, inventory.OtherUser{Kind: inventory.OtherHardLink, Name: other})
			}
		}
	}
}

// hardLinks finds other names of files.
type hardLinks struct {
	root   hostfs.Root
	dirs   map[string]bool
	byFile map[inode][]string // host paths
}

type inode struct{ dev, ino uint64 }

// otherName returns another name of a file that has several: its path if it is in a directory
// of certificates, otherwise a description.
func (h *hardLinks) otherName(file string) (string, bool) {
	if file == "" {
		return "", false
	}
	info, err := h.root.Stat(file)
	if err != nil {
		return "", false
	}
	id, links := inodeOf(info)
	if links < 2 || !info.Mode().IsRegular() {
		return "", false
	}
	if h.byFile == nil {
		h.collectLinks()
	}
	local, err := h.root.LocalPath(file)
	for _, other := range h.byFile[id] {
		if at, otherErr := h.root.LocalPath(other); err == nil && otherErr == nil && at != local {
			return other, true
		}
	}
	return "another name of " + file, true
}

func (h *hardLinks) collectLinks() {
	h.byFile = map[inode][]string{}
	for dir := range h.dirs {
		entries, err := h.root.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries[:min(len(entries), maxFiles)] {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if id, links := inodeOf(info); links > 1 {
				h.byFile[id] = append(h.byFile[id], filepath.Join(dir, e.Name()))
			}
		}
	}
}

func inodeOf(info fs.FileInfo) (inode, uint64) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, 0
	}
	return inode{uint64(stat.Dev), stat.Ino}, uint64(stat.Nlink) //nolint:unconvert // their types differ between architectures
}
