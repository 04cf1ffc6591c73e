package scan

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// leaveSharedFiles leaves out certificates of one file that components name with different key
// files, such as copies of one key for different users. Each renewal would write its own
// certificate into the file, and the keys of the others would no longer fit.
func leaveSharedFiles(root hostfs.Root, entries []entry) {
	for i := range entries {
		e := &entries[i]
		if e.Issuer.IsByUnit() {
			continue
		}
		if other := sharesCertificate(root, entries, i); other != nil {
			e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			e.Reason = joinReasons(e.Reason, fmt.Sprintf("cannot be renewed: its certificate file is also that of %s, whose key is in %q: give each a certificate file of its own",
				other.Name, other.keyFile()))
		}
	}
}

// leaveImmutable leaves out certificates whose files cannot be replaced, as some hardening guides
// ask (chattr +i). Otherwise the commit of all of them would be rolled back.
func leaveImmutable(root hostfs.Root, entries []entry) {
	for i := range entries {
		e := &entries[i]
		if e.Issuer.IsByUnit() || e.Issuer.Kind == inventory.NoIssuer {
			continue
		}
		if at := store.ImmutableAt(root, e.Store); at != "" {
			e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			e.Reason = joinReasons(e.Reason, fmt.Sprintf("cannot be renewed: %q is immutable or append-only (lsattr); remove that attribute, as by chattr -i", at))
		}
	}
}

// sharesCertificate returns another entry with the certificate file of an entry and another key
// file; nil: there is none.
func sharesCertificate(root hostfs.Root, entries []entry, i int) *entry {
	e := &entries[i]
	if e.Store.Kind == inventory.Kubeconfig {
		return nil
	}
	cert := realPath(root, e.Store.Cert)
	key := realPath(root, e.keyFile())
	for k := range entries {
		other := &entries[k]
		if k == i || other.Store.Kind == inventory.Kubeconfig || cert == "" || realPath(root, other.Store.Cert) != cert {
			continue
		}
		if realPath(root, other.keyFile()) != key {
			return other
		}
	}
	return nil
}
