package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// File is a file of a node.
type File struct {
	Path, Text string
	Secret     bool // for the node's root only
}

// RemoveFiles removes files that WriteFiles wrote.
func (n Node) RemoveFiles(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(filepath.Join(n.Upper(), path)); err != nil {
			return fmt.Errorf("remove %q of node %q: %w", path, n.Name, err)
		}
	}
	return nil
}

// WriteAll writes files of a node that has not booted yet.
func (n Node) WriteAll(files []File) error {
	for _, file := range files {
		write := n.WriteFile
		if file.Secret {
			write = n.WriteSecret
		}
		if err := write(file.Path, file.Text); err != nil {
			return err
		}
	}
	return nil
}
