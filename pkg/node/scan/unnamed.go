package scan

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// maxFiles limits the files of a directory that are inspected.
const maxFiles = 256

// unnamed holds the files in directories of certificates that no component names.
type unnamed struct {
	unreadable  []inventory.NotInspected
	authorities []*authority
	leaves      []leafFile
}

// leafFile is a leaf certificate with its key beside it.
type leafFile struct {
	store   inventory.Store
	content store.Content
	dir     layout.Directory
	below   bool // in a subdirectory, where only copies are expected
}

// readDirectories inspects the certificates next to those that components name. Other files are
// skipped.
func readDirectories(root hostfs.Root, found *layout.Layout) unnamed {
	var out unnamed
	// By real path: a link and its target are one file.
	named := map[string]bool{}
	name := func(file string) {
		if local, err := root.LocalPath(file); err == nil {
			named[local] = true
		}
	}
	for _, c := range found.Node.Certificates {
		name(c.Store.Cert)
		name(c.Store.Key)
	}
	for _, a := range found.Authorities {
		name(a.Path)
	}
	for _, u := range found.KeyUses {
		name(u.Path) // possibly a certificate, of which only the key counts
	}
	below := map[string]bool{}
	dirs := slices.Clone(found.Directories)
	for _, sub := range found.Subdirectories {
		below[sub] = true
		dirs = append(dirs, layout.Directory{Path: sub})
	}
	for _, dir := range dirs {
		entries, err := root.ReadDir(dir.Path)
		if err != nil {
			continue // missing files in it are reported already
		}
		entries = layout.OriginalsFirst(entries, maxFiles)
		for _, e := range entries {
			file := path.Join(dir.Path, e.Name())
			if !certificateName(e.Name()) {
				continue
			}
			if local, err := root.LocalPath(file); err != nil || named[local] {
				continue
			}
			out.inspectFile(root, file, dir, below[dir.Path], entries)
		}
	}
	return out
}

func (u *unnamed) inspectFile(root hostfs.Root, file string, dir layout.Directory, below bool, beside []fs.DirEntry) {
	data, err := root.ReadFile(file)
	if err != nil {
		// A file beside a key with the name of a certificate is meant to be one.
		for _, key := range keysBeside(file, beside) {
			if info, noKey := root.Stat(key); key != file && noKey == nil && info.Mode().IsRegular() {
				u.unreadable = append(u.unreadable, inventory.NotInspected{Path: file,
					Reason: fmt.Sprintf("it lies beside a key, %q, and cannot be read: %v", key, err)})
				return
			}
		}
		return
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return
	}
	if chain[0].IsCA {
		if _, backup := layout.BackupOf(path.Base(file)); below || backup && !exactName(file) {
			return // a copy of a CA adds nothing to the original
		}
		for _, c := range chain {
			u.authorities = append(u.authorities, &authority{cert: c, paths: []string{file}, services: dir.Services})
		}
		return
	}
	for _, key := range keysBeside(file, beside) {
		s := inventory.Store{Kind: inventory.Pair, Cert: file, Key: key}
		if key == file {
			s = inventory.Store{Kind: inventory.Combined, Cert: file}
		}
		if content, err := store.ReadStore(root, s); err == nil && content.KeyErr == nil {
			u.leaves = append(u.leaves, leafFile{s, content, dir, below})
			return
		}
	}
}

// certificateName reports whether a file has the name of a certificate, or of a backup of one.
func certificateName(name string) bool {
	original, _ := layout.BackupOf(name)
	if strings.HasPrefix(name, ".") || strings.HasSuffix(original, "key.pem") {
		return false
	}
	return exactName(name) || exactName(original)
}

func exactName(name string) bool {
	return slices.Contains([]string{".crt", ".pem", ".cert", ".cer"}, path.Ext(name))
}

// keysBeside returns the likely keys of a certificate, or of a backup of one: the backup of the
// key may have another suffix, such as a time of day.
func keysBeside(file string, entries []fs.DirEntry) []string {
	out := likelyKeys(file)
	original, backup := layout.BackupOf(path.Base(file))
	if !backup {
		return out
	}
	for _, likely := range likelyKeys(path.Join(path.Dir(file), original)) {
		for _, e := range entries[:min(len(entries), maxFiles)] {
			if of, ok := layout.BackupOf(e.Name()); ok && of == path.Base(likely) {
				out = append(out, path.Join(path.Dir(file), e.Name()))
			}
		}
	}
	return out
}

// adoptLeaves assigns the unnamed leaves. Client certificates of an etcd CA in etcd's own
// directory are etcd's, such as kubeadm's healthcheck-client, which only a probe names. Those
// that a static pod or unit names are renewed like those of admin. All others are unused.
func adoptLeaves(root hostfs.Root, node *inventory.Node, found *layout.Layout, leaves []leafFile, known *authorities) []entry {
	var out []entry
	originals := usedNames(found)
	for _, l := range leaves {
		c := inventory.Certificate{Facts: certs.DescribeCertificate(l.content.LeafCert()), Store: l.store}
		_, backup := layout.BackupOf(path.Base(l.store.Cert))
		switch {
		case !backup && isForEtcd(root, found, l) && isEtcds(l, known):
			c.Service = certs.Etcd
			c.Name = etcdName(l.store.Cert)
			c.Client = found.EtcdClient()
		case found.NamesFile(root, l.store.Cert) || found.NamesFile(root, l.store.Key):
			continue // a component has another use for it, such as the verification of tokens
		case len(found.OtherUsers(root, l.store)) > 0:
			c.Service = certs.Admin
			c.Name = path.Base(l.store.Cert)
		default:
			node.Unused = append(node.Unused, unusedPair(l, originals))
			continue
		}
		c.UsedBy = []certs.Service{c.Service}
		out = append(out, entry{Certificate: c, chain: l.content.Chain})
	}
	return out
}

// isForEtcd reports whether an unnamed leaf is for etcd's health checks (kubeadm), for this
// node's etcdctl (kubespray's admin-NODE.pem), or named in a component's command line or
// environment. Others in etcd's directory belong to a user, another node or another program.
func isForEtcd(root hostfs.Root, found *layout.Layout, l leafFile) bool {
	stem := strings.TrimSuffix(path.Base(l.store.Cert), path.Ext(l.store.Cert))
	return stem == "healthcheck-client" || stem == "admin-"+found.Node.Name || found.NamesFile(root, l.store.Cert)
}

// isEtcds reports whether such a leaf is etcd's: a client certificate in etcd's directory,
// signed by a CA that only etcd and its client use (or, with one CA for all components, in a
// directory that only etcd uses).
func isEtcds(l leafFile, known *authorities) bool {
	if l.below || !slices.Contains(l.dir.Services, certs.Etcd) || !clientCertificate(l.content.LeafCert()) {
		return false
	}
	for _, a := range known.all {
		if !slices.Contains(a.services, certs.Etcd) || !certs.IsIssuedBy(l.content.LeafCert(), a.cert) {
			continue
		}
		return etcdSide(a.services) || slices.Equal(l.dir.Services, []certs.Service{certs.Etcd})
	}
	return false
}

// etcdSide reports whether services are only etcd and its client, the API server, which names
// etcd's CA as well.
func etcdSide(services []certs.Service) bool {
	return !slices.ContainsFunc(services, func(s certs.Service) bool { return s != certs.Etcd && s != certs.KubeAPIServer })
}

// etcdName names a certificate of etcd as kubeadm does: etcd-healthcheck-client.
func etcdName(file string) string {
	name := strings.TrimSuffix(path.Base(file), path.Ext(file))
	if !strings.HasPrefix(name, "etcd-") {
		name = "etcd-" + name
	}
	return name
}
