package rotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/etcdcopy"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// uncopiedError means that etcd's data cannot be copied, and that the order requires a copy.
type uncopiedError struct{ cause error }

func (e *uncopiedError) Error() string {
	return fmt.Sprintf("etcd's data cannot be copied before its certificates are replaced: %v", e.cause)
}

func (e *uncopiedError) Unwrap() error { return e.cause }

// Hint returns the next step.
func (e *uncopiedError) Hint() string {
	return "remove the cause and run the same command again; --force continues without a copy, which you can make yourself while etcd is stopped"
}

// checkCopy returns an error if an order requires a copy of this node's member which cannot be made.
func (s *session) checkCopy(o statedir.Order, node inventory.Node) error {
	member := node.ComponentOf(certs.Etcd)
	if !o.CopyEtcd || !o.RequireCopy || member == nil {
		return nil
	}
	if _, err := os.Stat(s.rotation.EtcdDir()); err == nil {
		return nil // an earlier attempt of this rotation made it
	}
	local, err := s.localDirectories(member.DataDirectories)
	if err == nil {
		err = etcdcopy.CheckCopy(s.rotation.EtcdDir(), s.resolveLink, local...)
	}
	if err != nil {
		return &uncopiedError{err}
	}
	return nil
}

// copyEtcd copies the data of this node's member where the order asks for it, and records where
// the copy is, or why there is none. A copy that fails now, though it was possible when the
// certificates were staged, does not end the commit: the other members commit at the same time, and
// have no quorum without this one. Its error is that of the journal.
func (s *session) copyEtcd(ctx context.Context, o statedir.Order, t *transaction, l *log) error {
	member := t.Node.ComponentOf(certs.Etcd)
	if !o.CopyEtcd || member == nil {
		return nil
	}
	if err := l.write(nodeapi.Record{Kind: nodeapi.CopyingEtcd, Service: certs.Etcd, WithinSeconds: nodeapi.EtcdCopyLimit.Seconds()}); err != nil {
		return err
	}
	text, err := s.copyData(ctx, member.DataDirectories)
	if err != nil {
		text = fmt.Sprintf("etcd's data was not copied: %v", err)
	}
	return l.write(nodeapi.Record{Kind: nodeapi.EtcdCopied, Service: certs.Etcd, Message: text})
}

// copyData returns the sentence that says so. A copy that an earlier attempt of this rotation
// made is kept: it is that of before the recovery.
func (s *session) copyData(ctx context.Context, directories []string) (string, error) {
	place := filepath.Join(statedir.HostPath, "rotations", s.rotation.ID, filepath.Base(s.rotation.EtcdDir()))
	switch _, err := os.Stat(s.rotation.EtcdDir()); {
	case err == nil:
		return "etcd's data was copied before to " + place, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	local, err := s.localDirectories(directories)
	if err != nil {
		return "", err
	}
	size, err := etcdcopy.CopyTo(ctx, s.rotation.EtcdDir(), s.resolveLink, local...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("etcd's data (%d MiB) was copied to %s", size>>20, place), nil
}

// localDirectories returns the directories of a member as this process reaches them.
func (s *session) localDirectories(directories []string) ([]string, error) {
	if len(directories) == 0 {
		return nil, errors.New("its directory is not known, or not on the host")
	}
	var local []string
	for _, directory := range directories {
		path, err := s.Root.LocalPath(directory)
		if err != nil {
			return nil, fmt.Errorf("find %q: %w", directory, err)
		}
		local = append(local, path)
	}
	return local, nil
}

// resolveLink is the [etcdcopy.Resolver] of the host's files.
func (s *session) resolveLink(link string) (string, error) {
	return s.Root.LocalPath(s.Root.HostPath(link))
}
