package rotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/etcdcopy"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// copyEtcd copies the data of this node's member where the order asks for it, and records where
// the copy is, or why there is none: a cluster that is down is not kept down for want of a copy.
// Its error is that of the journal.
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
	case len(directories) == 0:
		return "", errors.New("its directory is not known, or not on the host")
	}
	var local []string
	for _, directory := range directories {
		path, err := s.Root.LocalPath(directory)
		if err != nil {
			return "", fmt.Errorf("find %q: %w", directory, err)
		}
		local = append(local, path)
	}
	resolve := func(link string) (string, error) { return s.Root.LocalPath(s.Root.HostPath(link)) }
	size, err := etcdcopy.CopyTo(ctx, s.rotation.EtcdDir(), resolve, local...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("etcd's data (%d MiB) was copied to %s", size>>20, place), nil
}
