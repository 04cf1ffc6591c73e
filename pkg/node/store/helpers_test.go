package store_test

import (
	"crypto/x509"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// entry is everything that other programs see of a file: content, owner, mode and attributes.
type entry struct {
	Mode     fs.FileMode
	UID, GID uint32
	Text     string // content or the symlink's text
	Xattrs   map[string]string
}

// takePicture returns everything below a directory, by path.
func takePicture(t *testing.T, dir string) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		st := info.Sys().(*syscall.Stat_t)
		e := entry{Mode: info.Mode(), UID: st.Uid, GID: st.Gid, Xattrs: xattrsOf(t, path)}
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			e.Text = string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			e.Text, err = os.Readlink(path)
			require.NoError(t, err)
		}
		rel, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		out["/"+rel] = e
		return nil
	}))
	return out
}

func xattrsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	require.NoError(t, err)
	out := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, value)
		require.NoError(t, err)
		out[name] = string(value[:n])
	}
	return out
}

// changedPaths lists the paths in which two pictures differ.
func changedPaths(before, after map[string]entry) []string {
	var out []string
	for path, e := range after {
		if old, ok := before[path]; !ok || !equalEntries(old, e) {
			out = append(out, path)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			out = append(out, path)
		}
	}
	return out
}

func equalEntries(a, b entry) bool {
	if a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Text != b.Text || len(a.Xattrs) != len(b.Xattrs) {
		return false
	}
	for k, v := range a.Xattrs {
		if b.Xattrs[k] != v {
			return false
		}
	}
	return true
}

// newMaterial makes new material for a store that holds p.
func newMaterial(t *testing.T, ca certstest.CA, p certstest.Pair) store.Material {
	t.Helper()
	key, err := certs.NewKeyLike(p.Leaf().PublicKey, p.Key.BlockType)
	require.NoError(t, err)
	template, err := certs.SuccessorTemplate(p.Leaf(), certs.Renewal{Now: certstest.Now, CA: ca.Cert})
	require.NoError(t, err)
	leaf, err := certs.SignTemplate(template, key.Signer.Public(), ca.Cert, ca.Key.Signer)
	require.NoError(t, err)
	return store.Material{Chain: append([]*x509.Certificate{leaf}, p.Chain[1:]...), Key: key}
}

// isRoot reports whether tests may change the owner of files.
func isRoot() bool { return os.Geteuid() == 0 }

func base64Of(text []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(text)) }
