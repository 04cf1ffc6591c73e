package rotate

import (
	"fmt"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// destroyOldKeys leaves no compromised key on the node: none in this rotation's backup,
// none in that of an earlier rotation, which holds the same key if it was rolled back, and
// none of the dated files that a kubelet keeps of its earlier ones. The new certificates
// are verified by now, so nothing needs the old ones any more. This rotation's backup goes
// last: while it is there, an interrupted destruction is done again.
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
	rotations, err := s.dir.Rotations()
	if err != nil {
		return err
	}
	for _, r := range rotations {
		dirs, err := filepath.Glob(filepath.Join(r.Backup(), "*", "*"))
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
