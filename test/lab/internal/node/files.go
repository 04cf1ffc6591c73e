package node

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files are the configuration of a node, laid out as on the node. They are the
// same on every node; units follow the packages of the Kubernetes project, so
// that the nodes are like those of operators.
//
//go:embed all:files
var files embed.FS

// enabled lists the units that start with every node.
var enabled = []string{
	"/lib/systemd/system/systemd-networkd.service",
	"/etc/systemd/system/lab-cgroups.service",
	"/etc/systemd/system/containerd.service",
}

// masked lists units that have no business on a node: nothing answers there.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
	"fstrim.timer", "console-getty.service", "systemd-networkd-wait-online.service",
}

// WriteFiles writes a node's configuration, and extra files by their paths on
// the node. units start with it besides those of every node.
func (n Node) WriteFiles(extra map[string]string, units ...string) error {
	err := fs.WalkDir(files, "files", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		return n.WriteFile(strings.TrimPrefix(path, "files"), string(data))
	})
	if err != nil {
		return err
	}
	for path, data := range extra {
		if err := n.WriteFile(path, data); err != nil {
			return err
		}
	}
	wants := filepath.Join(n.Upper(), "/etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return fmt.Errorf("write the files of node %q: %w", n.Name, err)
	}
	for _, unit := range slices.Concat(enabled, units) {
		if err := os.Symlink(unit, filepath.Join(wants, filepath.Base(unit))); err != nil {
			return fmt.Errorf("write the files of node %q: %w", n.Name, err)
		}
	}
	for _, unit := range masked {
		if err := os.Symlink("/dev/null", filepath.Join(n.Upper(), "/etc/systemd/system", unit)); err != nil {
			return fmt.Errorf("write the files of node %q: %w", n.Name, err)
		}
	}
	return nil
}

// WriteFile writes one file of a node that has not booted yet.
func (n Node) WriteFile(path, data string) error { return n.write(path, data, 0o644) }

// WriteSecret is WriteFile for what only the node's root may read.
func (n Node) WriteSecret(path, data string) error { return n.write(path, data, 0o600) }

func (n Node) write(path, data string, mode fs.FileMode) error {
	target := filepath.Join(n.Upper(), path)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("write %q of node %q: %w", path, n.Name, err)
	}
	if err := os.WriteFile(target, []byte(data), mode); err != nil {
		return fmt.Errorf("write %q of node %q: %w", path, n.Name, err)
	}
	return nil
}
