// Package statedir is the state directory of this program on a node, /var/lib/rotate-certs:
//
//	lock                           held by the process that works on this node
//	token                          the highest fencing token that was ever accepted
//	rotations/ID/journal.jsonl     the records, one JSON object per line
//	rotations/ID/orders/N-KIND.json  the inbox
//	rotations/ID/staged/           new keys and certificates until they are installed
//	rotations/ID/backup/           the replaced files
//	rotations/ID/etcd/             a copy of etcd's data, from before a recovery
//	rotations/ID/output            standard error of its process, where it runs in no pod
//	rotations/ID/signed.jsonl      the certificates that were signed for other nodes
//
// Everything is readable by root only: backups hold private keys. The last [Kept] rotations are
// kept with their backups, so that they can be rolled back; while another one is in progress,
// these are kept besides it.
//
// Readers of records need only package nodeapi, which has no files.
package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// HostPath is the state directory on every node.
const HostPath = nodeapi.StateDirectory

// Kept is the number of rotations whose journals and backups a node keeps.
const Kept = 3

// Dir is the state directory of one node.
type Dir struct {
	path string // as this process reaches it
}

// OpenDir returns the state directory, and makes it for root only if it is missing.
func OpenDir(root hostfs.Root) (*Dir, error) {
	d, err := dirAt(root)
	if err != nil {
		return nil, err
	}
	if err := MkdirAll(filepath.Join(d.path, "rotations")); err != nil {
		return nil, fmt.Errorf("create %q: %w", HostPath, err)
	}
	// A kubelet that makes it for the mount of a pod makes it readable for all users.
	info, err := os.Stat(d.path)
	if err == nil && info.Mode().Perm() != 0o700 {
		err = os.Chmod(d.path, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("keep %q for root alone: %w", HostPath, err)
	}
	return d, nil
}

// dirAt returns the state directory, whether or not it exists.
func dirAt(root hostfs.Root) (*Dir, error) {
	local, err := root.LocalPath(HostPath)
	if err != nil {
		return nil, err
	}
	return &Dir{path: local}, nil
}

// Rotation is one rotation's part of the state directory.
type Rotation struct {
	ID   string
	path string
}

// ErrBadID means that a rotation's ID has not the form that this program uses.
var ErrBadID = errors.New("want lower-case letters, digits and dashes, at most 63")

// OpenRotation returns a rotation's directory, and makes it if it is missing.
func (d *Dir) OpenRotation(id string) (*Rotation, error) {
	r, err := d.rotationOf(id)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{r.path, r.ordersDir(), r.StagedDir(), r.BackupDir()} {
		if err := MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("create rotation %q: %w", id, err)
		}
	}
	return r, nil
}

// KnownRotation returns the directory of a rotation that this node keeps, or an error that wraps
// [os.ErrNotExist].
func (d *Dir) KnownRotation(id string) (*Rotation, error) {
	r, err := d.rotationOf(id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.path); err != nil {
		return nil, fmt.Errorf("find rotation %q: %w", id, err)
	}
	return r, nil
}

func (d *Dir) rotationOf(id string) (*Rotation, error) {
	if !plan.IsRotationID(id) {
		return nil, fmt.Errorf("rotation %q: %w", id, ErrBadID)
	}
	return &Rotation{ID: id, path: filepath.Join(d.path, "rotations", id)}, nil
}

// StagedDir is the directory for keys and certificates that are not in use yet.
func (r *Rotation) StagedDir() string { return filepath.Join(r.path, "staged") }

// BackupDir is the directory for replaced files.
func (r *Rotation) BackupDir() string { return filepath.Join(r.path, "backup") }

// EtcdDir is the directory for a copy of etcd's data.
func (r *Rotation) EtcdDir() string { return filepath.Join(r.path, "etcd") }

// PartialSuffix ends the name of a copy that is not complete.
const PartialSuffix = ".partial"

// OutputPath is the file of what the rotation's process writes to standard error where no pod
// keeps it.
func (r *Rotation) OutputPath() string { return filepath.Join(r.path, "output") }

func (r *Rotation) ordersDir() string   { return filepath.Join(r.path, "orders") }
func (r *Rotation) journalPath() string { return filepath.Join(r.path, "journal.jsonl") }

// MkdirAll makes a directory and its parents durably; new ones are for root only.
func MkdirAll(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%q is not a directory", dir)
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(filepath.Dir(dir))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
