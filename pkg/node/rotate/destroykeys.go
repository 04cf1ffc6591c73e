package rotate

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// destroyOldKeys removes compromised keys from the node: from this rotation's backup, from the
// backup of an earlier rotation, which holds the same key if it was rolled back, and from the
// dated files that a kubelet keeps of its earlier certificates, and from the backups of the
// distribution's command that renewed them. The new certificates are
// verified by now. This rotation's backup is destroyed last: while it exists, an interrupted
// destruction is repeated.
func (s *session) destroyOldKeys(t *transaction, backup string) error {
	compromised := map[string]bool{}
	for n, i := range t.Items {
		if key, err := store.BackupKey(itemDir(backup, n)); err == nil {
			compromised[key] = true
		}
		if err := store.DestroySuperseded(s.Root, i.Certificate.Store); err != nil {
			return err
		}
	}
	if err := s.destroyOfCommand(t); err != nil {
		return err
	}
	rotations, err := s.dir.ListRotations()
	if err != nil {
		return err
	}
	for _, r := range rotations {
		dirs, err := filepath.Glob(filepath.Join(r.BackupDir(), "*", "*"))
		if err != nil {
			return fmt.Errorf("destroy compromised keys: %w", err)
		}
		for _, dir := range dirs {
			key, err := store.BackupKey(dir)
			if err != nil || !compromised[key] || filepath.Dir(dir) == backup {
				continue
			}
			if err := store.DestroyBackup(dir); err != nil {
				return err
			}
		}
	}
	return store.DestroyBackup(backup)
}

// destroyOfCommand removes compromised keys from the backups of the command that renewed their
// certificates. A process that continues an interrupted destruction may not be allowed to write
// there: the keys are reported then.
func (s *session) destroyOfCommand(t *transaction) error {
	if t.UnitCommand == "" {
		return nil
	}
	compromised := map[string]bool{}
	for _, i := range t.Items {
		compromised[i.Certificate.PublicKeySHA256] = true
	}
	pattern := t.Items[0].Certificate.Issuer.BackupPattern()
	local, err := s.Root.LocalPath(filepath.Dir(pattern))
	if err != nil {
		return fmt.Errorf("destroy compromised keys: %w", err)
	}
	dirs, err := filepath.Glob(filepath.Join(local, filepath.Base(pattern)))
	if err != nil {
		return fmt.Errorf("destroy compromised keys: %w", err)
	}
	for _, dir := range dirs {
		err := store.DestroyKeys(dir, compromised)
		if errors.Is(err, unix.EROFS) {
			s.warn(hint.AddTo(fmt.Errorf("compromised keys remain in %s of this node: %w", pattern, err), "delete these directories"))
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
