//go:build linux

package crash

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// disk is a model of the state after a power cut, with no guarantees beyond POSIX: a file's
// content and attributes are safe once it was fsynced, a name once its directory was. Names of
// one directory become durable in their order, as in a journal; those of different directories
// in any. It is built from the system calls that the real program made.
type disk struct {
	now     map[string]*inode // by path
	durable map[string]*inode // names that survive
	pending map[string][]change
}

// inode is a file, directory or symlink.
type inode struct {
	mode     fs.FileMode
	saved    content // survives
	volatile content
	dirty    bool
}

type content struct {
	data     string
	perm     uint32
	uid, gid int
}

// change is a change of a directory's names that is not durable yet.
type change struct {
	remove, add string // paths
	is          *inode
}

// readDisk is a disk on which everything below a directory is durable.
func readDisk(t *testing.T, root string) *disk {
	t.Helper()
	d := &disk{now: map[string]*inode{}, durable: map[string]*inode{}, pending: map[string][]change{}}
	checkError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		i := &inode{mode: info.Mode().Type(), saved: content{perm: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid)}}
		switch {
		case e.IsDir():
		case i.mode&fs.ModeSymlink != 0:
			i.saved.data, err = os.Readlink(path)
		default:
			var data []byte
			data, err = os.ReadFile(path)
			i.saved.data = string(data)
		}
		i.volatile = i.saved
		d.now[strings.TrimPrefix(path, root)] = i
		return err
	}))
	maps.Copy(d.durable, d.now)
	return d
}

// carryOut applies a call that succeeded, or that changed nothing.
func (d *disk) carryOut(c call) {
	i := d.now[c.Path]
	switch c.Name {
	case "openat":
		if i == nil {
			d.createInode(c.Path, &inode{volatile: content{perm: uint32(c.Number[0])}, dirty: true}) //nolint:gosec // a mode
		}
	case "mkdirat":
		if i == nil {
			d.createInode(c.Path, &inode{mode: fs.ModeDir, saved: content{perm: uint32(c.Number[0])}, volatile: content{perm: uint32(c.Number[0])}}) //nolint:gosec // a mode
		}
	case "symlinkat":
		if i == nil {
			d.createInode(c.Path, &inode{mode: fs.ModeSymlink, saved: content{data: c.To}, volatile: content{data: c.To}})
		}
	case "renameat":
		d.addChange(change{remove: c.Path, add: c.To, is: i})
	case "unlinkat":
		removesDir := c.Number[0] != 0
		if i != nil && i.mode.IsDir() == removesDir {
			d.addChange(change{remove: c.Path})
		}
	case "fsync":
		d.syncDirectory(c.Path, i)
	default:
		if i != nil {
			i.alterInode(c)
		}
	}
}

// alterInode applies a call on a file itself.
func (i *inode) alterInode(c call) {
	switch c.Name {
	case "write": // these files are written once, from their beginning
		i.volatile.data += string(c.Data)
	case "pwrite64":
		offset := int(c.Number[0])
		i.volatile.data = i.volatile.data[:min(offset, len(i.volatile.data))] + string(c.Data)
	case "ftruncate":
		i.volatile.data = i.volatile.data[:min(int(c.Number[0]), len(i.volatile.data))]
	case "fchmod", "fchmodat":
		i.volatile.perm = uint32(c.Number[0]) //nolint:gosec // a mode
	case "fchown", "fchownat":
		i.volatile.uid = int(c.Number[0])
		i.volatile.gid = int(c.Number[1])
	}
	i.dirty = true
	if !i.mode.IsRegular() {
		i.saved = i.volatile // goes with its name
	}
}

func (d *disk) createInode(path string, i *inode) { d.addChange(change{add: path, is: i}) }

func (d *disk) addChange(c change) {
	c.applyTo(d.now)
	dir := filepath.Dir(c.remove + c.add)
	if c.add != "" {
		dir = filepath.Dir(c.add)
	}
	d.pending[dir] = append(d.pending[dir], c)
}

func (c change) applyTo(names map[string]*inode) {
	if c.remove != "" {
		delete(names, c.remove)
	}
	if c.add != "" && c.is != nil {
		names[c.add] = c.is
	}
}

func (d *disk) syncDirectory(path string, i *inode) {
	if i != nil && i.mode.IsRegular() {
		i.saved = i.volatile
		i.dirty = false
		return
	}
	for _, c := range d.pending[path] {
		c.applyTo(d.durable)
	}
	delete(d.pending, path)
}

// image is a possible state after a power cut.
type image map[string]found

type found struct {
	mode fs.FileMode
	content
}

// listImages returns the possible states after a power cut now: any prefix of the changes of
// each directory's names, those of the other directories all or none, and of data that was not
// fsynced nothing, a part, or all.
func (d *disk) listImages() (out []image) {
	dirs := slices.Sorted(maps.Keys(d.pending))
	for _, torn := range []func(*inode) content{
		func(i *inode) content { return i.saved },
		tearContent,
		func(i *inode) content { return i.volatile },
	} {
		out = append(out, d.imageOf(nil, "", 0, torn), d.imageOf(dirs, "", 0, torn))
		for _, dir := range dirs {
			for n := range len(d.pending[dir]) + 1 {
				out = append(out, d.imageOf(nil, dir, n, torn), d.imageOf(dirs, dir, n, torn))
			}
		}
	}
	return out
}

// tearContent keeps the durable part of a file that grew, and half of the rest.
func tearContent(i *inode) content {
	c := i.volatile
	safe := 0
	if strings.HasPrefix(c.data, i.saved.data) {
		safe = len(i.saved.data)
	}
	c.data = c.data[:safe+(len(c.data)-safe)/2]
	return c
}

// imageOf applies all changes to the names of some directories and the first n to those
// of one.
func (d *disk) imageOf(all []string, one string, n int, torn func(*inode) content) image {
	names := maps.Clone(d.durable)
	for _, dir := range all {
		if dir != one {
			for _, c := range d.pending[dir] {
				c.applyTo(names)
			}
		}
	}
	for _, c := range d.pending[one][:n] {
		c.applyTo(names)
	}
	out := image{}
	for path, i := range names {
		f := found{i.mode, i.saved}
		if i.dirty && i.mode.IsRegular() {
			f.content = torn(i)
		}
		out[path] = f
	}
	for path := range out { // files in a directory that does not exist
		for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
			if _, there := out[dir]; !there {
				delete(out, path)
				break
			}
		}
	}
	return out
}

// writeImage writes an image to disk.
func (m image) writeImage(root string) error {
	if err := os.Mkdir(root, 0o755); err != nil { //nolint:gosec // as a root directory is
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(m)) {
		f := m[path]
		local := root + path
		var err error
		switch {
		case f.mode.IsDir():
			err = os.Mkdir(local, 0o700)
		case f.mode&fs.ModeSymlink != 0:
			err = os.Symlink(f.data, local)
		default:
			err = os.WriteFile(local, []byte(f.data), 0o600)
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Lchown(local, f.uid, f.gid)
		}
		if err == nil && f.mode&fs.ModeSymlink == 0 {
			err = syscall.Chmod(local, f.perm)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
