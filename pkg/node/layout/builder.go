package layout

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// role is one use of a certificate by a component.
type role struct {
	name   string
	served []inventory.Served
	client *inventory.Client
	// selfManaged: the component renews it as well.
	selfManaged bool
	pinned      bool             // see inventory.Certificate
	fileMount   bool             // see inventory.Certificate
	issuer      inventory.Issuer // where the role alone decides
	leftReason  string
}

// addPair records a certificate that lies in two PEM files, or in one that holds
// both, as host paths.
func (d *discovery) addPair(s certs.Service, cert, key string, r role) {
	store := inventory.Store{Kind: inventory.Pair, Cert: cert, Key: key}
	if cert == key {
		store = inventory.Store{Kind: inventory.Combined, Cert: cert}
	}
	d.addCertificate(s, store, r)
}

// addNamedPair is addPair for the values of two flags of a component.
func (d *discovery) addNamedPair(p *program, certName, keyName string, r role) {
	if certName == "" {
		return
	}
	cert, ok := d.hostPath(p, certName)
	if !ok {
		return
	}
	if keyName == "" {
		d.notInspected(p.service, cert, "the component names this certificate without a key")
		return
	}
	r.fileMount = p.files.keepsOldFile(certName) || p.files.keepsOldFile(keyName)
	if key, ok := d.hostPath(p, keyName); ok {
		d.addPair(p.service, cert, key, r)
	}
}

// addCertificate records a certificate, or one more use of a certificate that is known.
func (d *discovery) addCertificate(s certs.Service, store inventory.Store, r role) {
	place := d.storeKey(store)
	if i, known := d.seen[place]; known {
		c := &d.out.Node.Certificates[i]
		if !slices.Contains(c.UsedBy, s) {
			c.UsedBy = append(c.UsedBy, s)
		}
		c.FileMount = c.FileMount || r.fileMount
		c.Served = append(c.Served, r.served...)
		if c.Client == nil {
			c.Client = r.client
		}
		return
	}
	d.seen[place] = len(d.out.Node.Certificates)
	d.out.Node.Certificates = append(d.out.Node.Certificates, inventory.Certificate{
		Service: s, UsedBy: []certs.Service{s}, Name: r.name, Store: store, Issuer: r.issuer,
		Served: r.served, Client: r.client, SelfManaged: r.selfManaged, Pinned: r.pinned, FileMount: r.fileMount, Reason: r.leftReason,
	})
}

// storeKey identifies a store by the real places of its files, so that two names of one pair are
// one certificate: by symlinks, or by a directory that is mounted twice.
func (d *discovery) storeKey(s inventory.Store) string {
	resolved := func(p string) string {
		if p == "" {
			return ""
		}
		local, err := d.root.LocalPath(p)
		if err != nil {
			return p
		}
		return placeOfFile(local)
	}
	return resolved(s.Cert) + "\x00" + resolved(s.Key) + "\x00" + s.User
}

// placeOfFile identifies a file by its directory, whatever path leads to that, and its name. The
// file itself does not identify it: a hard link in another directory stays when it is replaced.
func placeOfFile(local string) string {
	var stat unix.Stat_t
	if err := unix.Stat(path.Dir(local), &stat); err != nil {
		return local
	}
	return fmt.Sprintf("%d:%d/%s", stat.Dev, stat.Ino, path.Base(local))
}

// addAuthority records a file of CA certificates that a component names.
func (d *discovery) addAuthority(p *program, certName, keyName string) {
	cert, ok := d.hostPath(p, certName)
	if !ok {
		return
	}
	key := ""
	if keyName != "" {
		key, _ = d.hostPath(p, keyName)
	}
	d.addAuthorityFile(p.service, cert, key)
}

func (d *discovery) addAuthorityFile(s certs.Service, cert, key string) {
	for i := range d.out.Authorities {
		a := &d.out.Authorities[i]
		if a.Path != cert {
			continue
		}
		if !slices.Contains(a.Services, s) {
			a.Services = append(a.Services, s)
		}
		a.Key = cmp.Or(a.Key, key)
		return
	}
	d.out.Authorities = append(d.out.Authorities, AuthorityFile{Path: cert, Key: key, Services: []certs.Service{s}})
}

// systemTrust lists the directories of the system's CAs, which are not those of the cluster.
var systemTrust = []string{"/etc/ssl/certs", "/etc/pki/tls", "/etc/pki/ca-trust", "/usr/share", "/usr/local/share"}

// addDirectories collects the directories in which named certificates lie, without
// the kubelet's own: it keeps its former certificates there.
func (d *discovery) addDirectories() {
	note := func(dir string, s certs.Service) {
		if slices.ContainsFunc(systemTrust, func(t string) bool { return isUnder(dir, t) }) ||
			d.kubelet != nil && dir == d.kubelet.certDir {
			return
		}
		for i := range d.out.Directories {
			if known := &d.out.Directories[i]; known.Path == dir {
				if !slices.Contains(known.Services, s) {
					known.Services = append(known.Services, s)
				}
				return
			}
		}
		d.out.Directories = append(d.out.Directories, Directory{Path: dir, Services: []certs.Service{s}})
	}
	for _, c := range d.out.Node.Certificates {
		if c.Store.Kind == inventory.Kubeconfig {
			continue
		}
		for _, s := range c.UsedBy {
			note(path.Dir(c.Store.Cert), s)
		}
	}
	// Also where only the authorities lie: the etcd clients' directory of a node
	// whose etcd is elsewhere, a worker's PKI directory.
	for _, a := range d.out.Authorities {
		for _, s := range a.Services {
			note(path.Dir(a.Path), s)
		}
	}
}
