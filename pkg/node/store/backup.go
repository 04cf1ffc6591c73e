package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// manifestName is the file that makes a backup complete; it is written last.
const manifestName = "backup.json"

// manifest describes the content of a backup directory. It holds no secret.
type manifest struct {
	Store inventory.Store `json:"store"`
	// Fingerprint is the leaf's; empty if there was no readable one.
	Fingerprint string      `json:"fingerprint,omitempty"`
	Files       []savedFile `json:"files"`
	Link        *savedLink  `json:"link,omitempty"`
}

// isOf reports whether a backup is that of a store. The directories in which the store was
// found are no part of its identity.
func (m manifest) isOf(s inventory.Store) bool {
	return m.Store.Kind == s.Kind && m.Store.Cert == s.Cert && m.Store.Key == s.Key && m.Store.User == s.User
}

// savedFile is the path of one file; its content is stored beside the manifest.
type savedFile struct {
	Path       string     `json:"path"` // host path of the real file
	Content    string     `json:"content"`
	SHA256     string     `json:"sha256"`
	Attributes attributes `json:"attributes"`
}

// savedLink is the symlink of a Combined store, with the dated files that existed.
type savedLink struct {
	Path       string     `json:"path"`
	Text       string     `json:"text"`
	Attributes attributes `json:"attributes"`
	Dated      []string   `json:"dated"`
}

// BackUp copies the files of a store, with owner, mode and attributes, into a directory, which
// it creates for root only (0700, files 0600) and which is for this store only. dir is a path
// of this process, not a host path. When BackUp returns, the copy is durable.
//
// A complete backup of the same store is left unchanged: repeated after a crash, BackUp must
// not save new files as old ones.
func BackUp(root hostfs.Root, s inventory.Store, dir string) error {
	if err := backUp(root, s, dir); err != nil {
		return fmt.Errorf("back up %q: %w", s.Cert, err)
	}
	return nil
}

func backUp(root hostfs.Root, s inventory.Store, dir string) error {
	switch m, err := readManifest(dir); {
	case err == nil && m.isOf(s):
		return nil
	case err == nil:
		return fmt.Errorf("%q is the backup of another store, %q", dir, m.Store.Cert)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makePrivateDir(dir); err != nil {
		return err
	}
	m := manifest{Store: s}
	if content, err := ReadStore(root, s); err == nil {
		m.Fingerprint = certs.Fingerprint(content.LeafCert())
	}
	paths, link, err := storeFiles(root, s)
	if err != nil {
		return err
	}
	if link != nil {
		m.Link = &savedLink{Path: link.host, Text: link.text, Attributes: link.attr}
		if m.Link.Dated, err = link.datedFiles(root); err != nil {
			return err
		}
	}
	for i, p := range paths {
		local, err := root.LocalPath(p)
		if err != nil {
			return err
		}
		file, err := takeSnapshot(local)
		if err != nil {
			return fmt.Errorf("read %q: %w", p, err)
		}
		name := strconv.Itoa(i) + ".saved"
		if err := WriteFile(filepath.Join(dir, name), file.data, 0o600); err != nil {
			return err
		}
		m.Files = append(m.Files, savedFile{root.HostPath(local), name, digestOf(file.data), file.attr})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, manifestName), text, 0o600)
}

// storeFiles returns the host paths of the files that hold a store's material, in
// the order in which they are replaced, and the link of a Combined store.
func storeFiles(root hostfs.Root, s inventory.Store) ([]string, *currentLink, error) {
	switch s.Kind {
	case inventory.Pair:
		key, err := root.LocalPath(s.Key)
		if err != nil {
			return nil, nil, err
		}
		cert, err := root.LocalPath(s.Cert)
		if err != nil {
			return nil, nil, err
		}
		if key == cert {
			return []string{s.Cert}, nil, nil
		}
		return []string{s.Key, s.Cert}, nil, nil
	case inventory.Kubeconfig:
		return []string{s.Cert}, nil, nil
	case inventory.Combined:
		link, err := findLink(root, s.Cert)
		if err != nil || link == nil {
			return []string{s.Cert}, nil, err
		}
		return []string{link.target}, link, nil
	default:
		return nil, nil, fmt.Errorf("unknown kind of store %q", s.Kind)
	}
}

// datedFiles lists the names of the dated files beside the link's target.
func (l *currentLink) datedFiles(root hostfs.Root) ([]string, error) {
	entries, err := root.ReadDir(filepath.Dir(l.target))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if l.isDated(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// DestroyBackup overwrites and removes everything in a backup directory, or in a directory of
// several, and the directory itself. A missing directory is no error. Overwriting reaches the
// blocks only if the file system and the disk write in place, so it makes the recovery of a key
// less likely, but gives no guarantee.
func DestroyBackup(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		return overwriteFile(path)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("destroy backup %q: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("destroy backup %q: %w", dir, bareError(err))
	}
	return syncDir(filepath.Dir(dir))
}

// overwriteFile writes zeros over a file's content. This is the only place where a file is
// written in place: its content is not needed any more.
func overwriteFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return bareError(err)
	}
	return overwriteContent(f)
}

// overwriteContent is overwriteFile for an open file, which it closes.
func overwriteContent(f *os.File) error {
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return bareError(err)
	}
	if _, err := f.Write(make([]byte, info.Size())); err != nil {
		return bareError(err)
	}
	return bareError(f.Sync())
}

// makePrivateDir creates a directory and its parents durably, accessible only to its owner.
func makePrivateDir(dir string) error {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create %q: %w", dir, bareError(err))
	}
	for _, d := range made {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return bareError(os.Chmod(dir, 0o700))
}

func readManifest(dir string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, fmt.Errorf("read backup %q: %w", dir, bareError(err))
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read backup %q: %w", dir, err)
	}
	return m, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
