package scan

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// findKeyUses identifies the key of every entry and records its other uses: the same key,
// compared by its public part, in a file that signs or verifies tokens or certificates, or in a
// CA. It returns the key files that could not be read.
func findKeyUses(root hostfs.Root, found *layout.Layout, entries []entry, known *authorities) []inventory.NotInspected {
	var unread []inventory.NotInspected
	keyPlaces := make([]string, len(entries))
	for i := range entries {
		keyPlaces[i] = realPath(root, entries[i].keyFile())
		if len(entries[i].chain) > 0 {
			entries[i].PublicKeySHA256 = certs.PublicKeySHA256(entries[i].leafCert().PublicKey)
		}
	}
	for _, use := range found.KeyUses {
		keys, err := publicKeys(root, use.Path)
		if err != nil {
			unread = append(unread, inventory.NotInspected{Service: use.Service, Path: use.Path,
				Reason: fmt.Sprintf("%s: %v", use.Setting, err)})
		}
		place := realPath(root, use.Path)
		for i := range entries {
			if entries[i].hasKey(keys) || place != "" && keyPlaces[i] == place {
				entries[i].addUse(use)
			}
		}
	}
	for _, a := range known.all {
		key := []string{certs.PublicKeySHA256(a.cert.PublicKey)}
		for i := range entries {
			if e := &entries[i]; e.hasKey(key) && !a.cert.Equal(e.leafCert()) {
				e.addUse(inventory.KeyUse{Kind: inventory.SigningKey, Service: caUser(a), Setting: "CA certificate", Path: a.paths[0]})
			}
		}
	}
	return unread
}

// publicKeys identifies the keys in a file.
func publicKeys(root hostfs.Root, file string) ([]string, error) {
	data, err := root.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := certs.ParsePublicKeysPEM(data)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, k := range keys {
		out = append(out, certs.PublicKeySHA256(k))
	}
	return out, nil
}

// hasKey reports whether the certificate is for one of the keys.
func (e *entry) hasKey(keys []string) bool {
	return e.PublicKeySHA256 != "" && slices.Contains(keys, e.PublicKeySHA256)
}

// keyFile returns the file that a new key would be written to.
func (e *entry) keyFile() string {
	if e.Store.Kind == inventory.Pair {
		return e.Store.Key
	}
	return e.Store.Cert
}

// realKeyFile returns the real path of the private key; empty: it is in a kubeconfig, or
// missing.
func (e *entry) realKeyFile(root hostfs.Root) string {
	if e.Store.Kind == inventory.Kubeconfig {
		return ""
	}
	local, err := root.LocalPath(e.keyFile())
	if err != nil {
		return ""
	}
	return root.HostPath(local)
}

// addUse records a use of the key, each once.
func (e *entry) addUse(u inventory.KeyUse) { e.KeyUses = appendNew(e.KeyUses, u) }

// realPath returns the path at which this process reaches a host path, all symlinks resolved;
// empty: there is none.
func realPath(root hostfs.Root, file string) string {
	if file == "" {
		return ""
	}
	local, err := root.LocalPath(file)
	if err != nil {
		return ""
	}
	return local
}

// caUser returns a service that trusts a CA or signs with it; "": there is none.
func caUser(a *authority) certs.Service {
	if len(a.services) == 0 {
		return ""
	}
	return a.services[0]
}
