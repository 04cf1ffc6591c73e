package rotate

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// chosenKey is the key that a certificate's successor gets. The zero value: a new one of
// its own.
type chosenKey struct {
	kept   string    // the other use of the old key, which is kept because of it
	shared certs.Key // one new key for all certificates of the same key file
}

// keyFor returns the key for the successor of a certificate, and makes it where it is not
// shared.
func (k chosenKey) keyFor(old store.Content) (certs.Key, error) {
	switch {
	case k.kept != "":
		return old.Key, nil
	case k.shared.Signer != nil:
		return k.shared, nil
	}
	return certs.NewKeyLike(old.LeafCert().PublicKey, old.Key.BlockType)
}

// chooseKeys decides, by Certificate.ID, which certificates keep their key and which share a
// new one. Certificates whose key is in one file get one new key, all in this commit. It
// refuses if one of them is not a target, or if a compromised key would have to be kept.
func (s *session) chooseKeys(node *inventory.Node, found []inventory.Certificate, compromised bool) (map[string]chosenKey, error) {
	targets := map[string]bool{}
	for _, c := range found {
		targets[c.ID()] = true
	}
	out := map[string]chosenKey{}
	byFile := map[string]certs.Key{}
	for _, c := range found {
		if kept := node.KeptKey(c); kept != "" {
			if compromised {
				return nil, &refusal{fmt.Sprintf("%s %q: its key cannot be replaced: it %s", c.Name, c.Store.Cert, kept),
					"replace that key first, then this certificate"}
			}
			out[c.ID()] = chosenKey{kept: kept}
			continue
		}
		others := node.SharingKey(c)
		if len(others) == 0 {
			continue
		}
		if err := refuseToShare(c, others, targets); err != nil {
			return nil, err
		}
		key, made := byFile[c.KeyFile]
		if !made {
			old, err := store.ReadStore(s.Root, c.Store)
			if err != nil {
				return nil, err
			}
			if key, err = certs.NewKeyLike(old.LeafCert().PublicKey, old.Key.BlockType); err != nil {
				return nil, err
			}
			byFile[c.KeyFile] = key
		}
		out[c.ID()] = chosenKey{shared: key}
	}
	return out, nil
}

// refuseToShare returns a refusal if the certificates of one key file cannot get a new key
// together.
func refuseToShare(c inventory.Certificate, others []inventory.Certificate, targets map[string]bool) error {
	for _, other := range others {
		if !targets[other.ID()] {
			return &refusal{fmt.Sprintf("%s %q has its key in %q together with %s %q, which is not to be renewed now", c.Name, c.Store.Cert, c.KeyFile, other.Name, other.Store.Cert),
				"run the same command again to make a new plan"}
		}
	}
	dated := c.Store.Kind == inventory.Combined && c.Store.Cert != c.KeyFile
	if dated || c.Issuer.Kind == inventory.KubernetesCSR || c.Issuer.Kind == inventory.OtherNode {
		return &refusal{fmt.Sprintf("%s %q has its key in %q together with %s %q, and gets a new file of its own", c.Name, c.Store.Cert, c.KeyFile, others[0].Name, others[0].Store.Cert),
			"give each a key file of its own"}
	}
	return nil
}
