package store

import (
	"bytes"
	"fmt"
	"os"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// ReplaceStore replaces the certificate and key in a store. Every new file is complete and
// durable beside its predecessor before the first one is renamed into place; of a pair, the key
// comes first. Symlinks are followed and the real file is replaced, except for the link "*-current.pem"
// of a Combined store, which is pointed to a new dated file as the kubelet does.
//
// When ReplaceStore fails, the store is as before, as far as the system allows. When the
// process is killed within ReplaceStore, each file is either old or new, but a pair may be
// mixed, which [RestoreStore] repairs with the files of [BackUp]. Replacing the same material
// again completes the work and removes staged files of the interrupted one.
func ReplaceStore(root hostfs.Root, s inventory.Store, m Material) error {
	err := m.checkMaterial()
	if err == nil {
		err = replaceIn(root, s, m)
	}
	if err != nil {
		return fmt.Errorf("replace certificate in %q: %w", s.Cert, err)
	}
	return nil
}

func replaceIn(root hostfs.Root, s inventory.Store, m Material) error {
	switch s.Kind {
	case inventory.Pair:
		cert, err := openReplacement(root, s.Cert)
		if err != nil {
			return err
		}
		key, err := openReplacement(root, s.Key)
		if err != nil {
			return err
		}
		if cert.local == key.local {
			if cert.data, err = m.bothText(cert.old.data); err != nil {
				return err
			}
			return installAll(cert)
		}
		if key.data, err = m.keyText(key.old.data, cert.old.data); err != nil {
			return err
		}
		if cert.data, err = m.certText(cert.old.data); err != nil {
			return err
		}
		return installAll(key, cert)
	case inventory.Combined:
		link, err := findLink(root, s.Cert)
		if err != nil {
			return err
		}
		if link != nil {
			both, err := m.bothText(nil)
			if err != nil {
				return err
			}
			return link.turnTo(root, m.Chain[0], both)
		}
		file, err := openReplacement(root, s.Cert)
		if err != nil {
			return err
		}
		if file.data, err = m.bothText(file.old.data); err != nil {
			return err
		}
		return installAll(file)
	case inventory.Kubeconfig:
		file, err := openReplacement(root, s.Cert)
		if err != nil {
			return err
		}
		if file.data, err = m.kubeconfigText(file.old.data, s.User); err != nil {
			return err
		}
		return installAll(file)
	default:
		return fmt.Errorf("unknown kind of store %q", s.Kind)
	}
}

// replacement is one file with its new content.
type replacement struct {
	host  string // for messages
	local string // the real file
	old   snapshot
	data  []byte
}

func openReplacement(root hostfs.Root, host string) (replacement, error) {
	local, err := root.LocalPath(host)
	if err != nil {
		return replacement{}, err
	}
	old, err := takeSnapshot(local)
	if err != nil {
		return replacement{}, fmt.Errorf("read %q: %w", host, err)
	}
	return replacement{host: host, local: local, old: old}, nil
}

// installAll stages all files, then installs them one after the other. A file that already has
// its new content is not written: a key that is kept, or one that was replaced with another
// certificate of the same key file.
func installAll(files ...replacement) error {
	all := files
	files = nil
	for _, f := range all {
		if !bytes.Equal(f.data, f.old.data) {
			files = append(files, f)
		} else if err := removeIfThere(tempName(f.local)); err != nil {
			return fmt.Errorf("tidy up beside %q: %w", f.host, err)
		}
	}
	for i, f := range files {
		if err := stageFile(f.local, f.data, f.old.attr); err != nil {
			discardFiles(files[:i])
			return fmt.Errorf("prepare successor of %q: %w", f.host, err)
		}
	}
	for i, f := range files {
		if err := installStaged(f.local); err != nil {
			discardFiles(files[i:])
			return fmt.Errorf("replace %q: %w%s", f.host, err, putBack(files[:i+1]))
		}
	}
	return nil
}

func discardFiles(files []replacement) {
	for _, f := range files {
		_ = os.Remove(tempName(f.local))
	}
}

// putBack restores replaced files, and returns an error for those that it could not restore.
func putBack(files []replacement) string {
	var complaint string
	for _, f := range files {
		now, err := takeSnapshot(f.local)
		if err == nil && string(now.data) == string(f.old.data) {
			continue
		}
		err = stageFile(f.local, f.old.data, f.old.attr)
		if err == nil {
			err = installStaged(f.local)
		}
		if err != nil {
			complaint += fmt.Sprintf("; %q could not be restored and holds the new content: %v", f.host, err)
		}
	}
	return complaint
}
