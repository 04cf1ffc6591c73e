package store

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

const (
	pemSuffix = ".pem"
	// datedLayout is the kubelet's name format for the target of its *-current.pem.
	datedLayout = "2006-01-02-15-04-05"
	// maxLinks is the kernel's limit on symlinks in a row.
	maxLinks = 40
)

var dated = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$`)
})

// currentLink is a symlink to a file that holds certificate and key:
// kubelet-client-current.pem → kubelet-client-2026-05-04-03-02-01.pem.
type currentLink struct {
	host   string // the link, host path without symlinks in its directory
	local  string
	text   string // the link's text: absolute on the host, or relative
	target string // host path that the link leads to; not itself a symlink
	attr   attributes
}

// findLink returns the symlink at a path that the kubelet turns, by its name; of several links in a
// row it is the last. Nil where a regular file is, or a link that another program made: its target is
// replaced, which may have other names.
func findLink(root hostfs.Root, host string) (*currentLink, error) {
	var found *currentLink
	for range maxLinks {
		local, err := root.LocalNoFollow(host)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Lstat(local, &st); err != nil {
			return nil, fmt.Errorf("stat %q: %w", host, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			if found != nil && !strings.HasSuffix(found.host, "-current"+pemSuffix) {
				return nil, nil
			}
			return found, nil
		}
		text, err := os.Readlink(local)
		if err != nil {
			return nil, bareError(err)
		}
		xattrs, err := readXattrs(linkXattrs(local))
		if err != nil {
			return nil, err
		}
		found = &currentLink{host: root.HostPath(local), local: local, text: text,
			attr: attributes{UID: int(st.Uid), GID: int(st.Gid), Xattrs: xattrs}}
		found.target = found.resolveText(text)
		host = found.target
	}
	return nil, fmt.Errorf("stat %q: %w", host, unix.ELOOP)
}

// resolveText returns the host path that the link would lead to with another text.
func (l *currentLink) resolveText(text string) string {
	if filepath.IsAbs(text) {
		return filepath.Clean(text)
	}
	return filepath.Join(filepath.Dir(l.host), text)
}

// namePrefix is the common prefix of the names of the link and of its dated files.
func (l *currentLink) namePrefix() string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(l.host), pemSuffix), "-current") + "-"
}

// isDated reports whether a file name is that of a dated file of the link.
func (l *currentLink) isDated(name string) bool {
	middle, ok := strings.CutPrefix(strings.TrimSuffix(name, pemSuffix), l.namePrefix())
	return ok && strings.HasSuffix(name, pemSuffix) && dated().MatchString(middle)
}

// turnTo writes a new dated file and points the link to it. The old file stays, as with the
// kubelet. The staged link comes first and is durable before the file exists: it is the record
// by which the file of an interrupted replacement is found and removed.
func (l *currentLink) turnTo(root hostfs.Root, leaf *x509.Certificate, data []byte) error {
	if err := l.cleanUp(root); err != nil {
		return err
	}
	oldLocal, err := root.LocalPath(l.target)
	if err != nil {
		return err
	}
	old, err := takeSnapshot(oldLocal)
	if err != nil {
		return fmt.Errorf("read %q: %w", l.target, err)
	}
	newLocal, err := l.newFile(filepath.Dir(oldLocal), leaf, data)
	if err != nil {
		return err
	}
	text := filepath.Join(filepath.Dir(l.text), filepath.Base(newLocal))
	undo := func() {
		_ = os.Remove(tempName(newLocal))
		if newLocal != oldLocal {
			_ = os.Remove(newLocal)
		}
		_ = os.Remove(tempName(l.local)) // last: it is the record
	}
	if err := stageLink(l.local, text, l.attr); err != nil {
		return fmt.Errorf("prepare symlink %q: %w", l.host, err)
	}
	if err := stageFile(newLocal, data, old.attr); err != nil {
		undo()
		return fmt.Errorf("prepare %q: %w", root.HostPath(newLocal), err)
	}
	if err := installStaged(newLocal); err != nil {
		undo()
		return fmt.Errorf("create %q: %w", root.HostPath(newLocal), err)
	}
	if err := os.Rename(tempName(l.local), l.local); err != nil {
		undo()
		return fmt.Errorf("replace symlink %q: %w", l.host, bareError(err))
	}
	return syncDir(filepath.Dir(l.local))
}

// newFile chooses the dated file's name, which is free or has this content. The date is that of
// the certificate, so that a repeated replacement finds its own file.
func (l *currentLink) newFile(dir string, leaf *x509.Certificate, data []byte) (string, error) {
	made := leaf.NotBefore.UTC().Add(certs.Backdate)
	for i := range 1000 {
		name := l.namePrefix() + made.Add(time.Duration(i)*time.Second).Format(datedLayout) + pemSuffix
		local := filepath.Join(dir, name)
		there, err := takeSnapshot(local)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && bytes.Equal(there.data, data)) {
			return local, nil
		}
	}
	return "", fmt.Errorf("no free name for a new file beside %q", l.host)
}

// cleanUp removes the files of an interrupted turnTo: the staged link, its target unless that
// is in use, and the staged form of the target.
func (l *currentLink) cleanUp(root hostfs.Root) error {
	text, err := os.Readlink(tempName(l.local))
	if err != nil {
		// Not a symlink, or nothing there.
		return removeIfThere(tempName(l.local))
	}
	file := l.resolveText(text)
	if l.isDated(filepath.Base(file)) && file != l.target {
		local, err := root.LocalNoFollow(file)
		if err != nil {
			return err
		}
		for _, p := range []string{tempName(local), local} {
			if err := removeIfThere(p); err != nil {
				return err
			}
		}
	}
	return removeIfThere(tempName(l.local))
}

// DestroySuperseded overwrites and removes the dated files with earlier keys of a Combined
// store, which a kubelet keeps. See [DestroyBackup] for the limits of overwriting. Other stores
// have no such files.
func DestroySuperseded(root hostfs.Root, s inventory.Store) error {
	if s.Kind != inventory.Combined {
		return nil
	}
	link, err := findLink(root, s.Cert)
	if err != nil || link == nil {
		return err
	}
	names, err := link.datedFiles(root)
	if err != nil {
		return err
	}
	dir := filepath.Dir(link.target)
	for _, name := range names {
		host := filepath.Join(dir, name)
		if host == link.target {
			continue
		}
		local, err := root.LocalNoFollow(host)
		if err != nil {
			return err
		}
		if info, err := os.Lstat(local); err != nil || !info.Mode().IsRegular() {
			continue // not one of the kubelet's files
		}
		if err := overwriteFile(local); err != nil {
			return fmt.Errorf("destroy %q: %w", host, err)
		}
		if err := os.Remove(local); err != nil {
			return fmt.Errorf("destroy %q: %w", host, bareError(err))
		}
	}
	local, err := root.LocalPath(dir)
	if err != nil {
		return err
	}
	return syncDir(local)
}
