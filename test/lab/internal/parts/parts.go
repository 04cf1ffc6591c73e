// Package parts builds what a lab is made of: programs, the node's tree and
// container images. Each part is a directory in a cache outside the source
// tree, named after a hash of everything it was made from, so that a part is
// made once, and again only when its inputs change.
package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

// Cache is where parts are kept.
type Cache struct {
	Dir        string
	Source     string    // this module's directory, for building programs
	Kubernetes string    // minor version, "1.36"; "" is that of build/kubernetes
	Log        io.Writer // says what is being made, and what that prints
}

// DefaultDir is where the cache is unless the environment says otherwise.
func DefaultDir() string {
	if dir := os.Getenv("ROTATE_CERTS_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/rotate-certs-lab"
}

// Parts are the directories of everything a lab needs.
type Parts struct {
	Tree       string // a Debian system
	Kubernetes string // usr/bin with kubelet, kubeadm, kubectl
	Containerd string // usr/bin with containerd, its shim, ctr
	Etcd       string // usr/bin with etcd
	Daemons    string // usr/bin with the control plane's programs and kube-proxy
	Images     string // images.tar, all images as one archive
	Store      string // containerd's directory with those images in it
}

// Layers are the read-only trees that a node consists of, the topmost first.
func (p Parts) Layers() []string { return []string{p.Kubernetes, p.Containerd, p.Tree} }

// Kubectl is a kubectl that runs on the host.
func (p Parts) Kubectl() string { return filepath.Join(p.Kubernetes, "usr/bin/kubectl") }

// All makes every part that is missing.
func (c Cache) All() (Parts, error) {
	unlock, err := c.lock()
	if err != nil {
		return Parts{}, err
	}
	defer unlock()
	var p Parts
	if p.Tree, err = c.tree(); err != nil {
		return Parts{}, err
	}
	if p.Kubernetes, err = c.kubernetes(); err != nil {
		return Parts{}, err
	}
	if p.Containerd, err = c.containerd(); err != nil {
		return Parts{}, err
	}
	if p.Etcd, err = c.etcd(); err != nil {
		return Parts{}, err
	}
	if p.Daemons, err = c.daemons(p); err != nil {
		return Parts{}, err
	}
	if p.Images, err = c.images(p); err != nil {
		return Parts{}, err
	}
	if p.Store, err = c.store(p); err != nil {
		return Parts{}, err
	}
	return p, nil
}

// lock keeps two runs from making the same part at once.
func (c Cache) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache %q: %w", c.Dir, err)
	}
	dir, err := os.Open(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("lock cache %q: %w", c.Dir, err)
	}
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintf(c.Log, "waiting for another run that uses %s\n", c.Dir)
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock cache %q: %w", c.Dir, err)
		}
	}
	return func() { dir.Close() }, nil
}

// part returns the directory of a part, and has it filled when it is not there
// yet. It appears under its name only when it is complete.
func (c Cache) part(name, key string, fill func(dir string) error) (string, error) {
	dir := filepath.Join(c.Dir, name+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(c.Log, "making %s\n", filepath.Base(dir))
	start := time.Now()
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := fill(unfinished); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	fmt.Fprintf(c.Log, "made %s in %s\n", filepath.Base(dir), time.Since(start).Round(time.Second))
	return dir, nil
}

// keyOf hashes what a part is made from.
func keyOf(inputs ...string) string {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOARCH)
	for _, input := range inputs {
		fmt.Fprintf(hash, "%d %s\n", len(input), input)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

// sources returns names and contents of all source files below dir, for keyOf.
func sources(dir string) (string, error) {
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(path)) || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "%s %d\n%s\n", name, len(data), data)
		return nil
	})
	return out.String(), err
}

// FindSource returns the directory of this module's source: where this program
// was compiled from, or near the working directory or the program itself.
func FindSource() (string, error) {
	var starts []string
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if file, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(file))
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			for _, candidate := range []string{dir, filepath.Join(dir, "test/lab")} {
				if _, err := os.Stat(filepath.Join(candidate, "build/kubernetes/go.mod")); err == nil {
					return candidate, nil
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", hint.AddTo(errors.New("the source of the lab, test/lab, is not found"), "run this from within the repository")
}
