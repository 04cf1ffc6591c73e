package scan

import (
	"path"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// otherPrograms lists the certificates of static pods, units and containers that are no components, such as
// a cloud controller manager's client certificate. Those that are already listed with a
// component's are left out.
func otherPrograms(root hostfs.Root, found *layout.Layout, entries []entry) {
	known := map[string]bool{}
	note := func(file string) {
		if local, err := root.LocalPath(file); err == nil {
			known[local] = true
		}
	}
	for i := range entries {
		note(entries[i].Store.Cert)
	}
	for _, a := range found.Authorities {
		note(a.Path)
	}
	node := &found.Node
	for _, u := range node.Unused {
		note(u.Path)
	}
	for _, x := range node.NotInspected {
		note(x.Path)
	}
	for _, other := range found.OtherPrograms(root) {
		for _, file := range other.Files {
			if local, err := root.LocalPath(file); err != nil || known[local] {
				continue
			}
			for _, s := range storesIn(root, file, other.Files) {
				content, err := store.ReadStore(root, s)
				if err != nil || content.KeyErr != nil || content.LeafCert().IsCA {
					continue
				}
				note(file)
				node.Unused = append(node.Unused, inventory.UnusedCertificate{
					Facts: certs.DescribeCertificate(content.LeafCert()), Kind: inventory.UnusedOther, Path: file, User: s.User,
					Reason: other.Name + " names it, which is no component: renew it as that program's documentation says"})
			}
		}
	}
}

// storesIn returns the stores that a file may be: a kubeconfig's users, or a certificate with
// its key in the same file or in one that is named with it.
func storesIn(root hostfs.Root, file string, beside []string) []inventory.Store {
	data, err := root.ReadFile(file)
	if err != nil {
		return nil
	}
	if k, err := layout.ParseKubeconfig(data); err == nil {
		var out []inventory.Store
		for _, u := range k.Users {
			switch {
			case u.EmbeddedCert && u.EmbeddedKey:
				out = append(out, inventory.Store{Kind: inventory.Kubeconfig, Cert: file, User: u.Name})
			case u.CertFile != "" && u.KeyFile != "" && path.IsAbs(u.CertFile) && path.IsAbs(u.KeyFile):
				out = append(out, inventory.Store{Kind: inventory.Pair, Cert: u.CertFile, Key: u.KeyFile})
			}
		}
		return out
	}
	if _, err := certs.ParsePEM(data); err != nil {
		return nil
	}
	if s := (inventory.Store{Kind: inventory.Combined, Cert: file}); fitsPair(root, s) {
		return []inventory.Store{s}
	}
	for _, key := range beside {
		if s := (inventory.Store{Kind: inventory.Pair, Cert: file, Key: key}); key != file && fitsPair(root, s) {
			return []inventory.Store{s}
		}
	}
	return nil
}

func fitsPair(root hostfs.Root, s inventory.Store) bool {
	content, err := store.ReadStore(root, s)
	return err == nil && content.KeyErr == nil
}
