package layout

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Unclaimed is a user of a kubeconfig that no component uses.
type Unclaimed struct {
	Store  inventory.Store // Cert is empty where the kubeconfig cannot be read
	Path   string          // of the kubeconfig
	User   string
	Kind   inventory.UnusedKind
	Reason string
}

// Bounds of the search for kubeconfigs and copies.
const (
	adminMax       = 128 // files of a directory
	maxSubdirs     = 64
	maxSubdirDepth = 3
)

// addAdmins records the kubeconfigs in the directories of components. Those in use, and those
// of administrators in the usual places, are certificates. All others are unclaimed.
func (d *discovery) addAdmins(programs []*program) {
	tops := map[string]bool{}
	for _, conf := range d.configs {
		tops[path.Dir(conf)] = true
	}
	home := controlPlane(programs)
	if home { // the usual place of admin.conf, independently of the components' places
		tops["/etc/kubernetes"] = true
	}
	for _, top := range slices.Sorted(maps.Keys(tops)) {
		for _, dir := range append([]string{top}, d.listSubdirectories(top)...) {
			entries, err := d.root.ReadDir(dir)
			if err != nil {
				continue
			}
			for _, e := range OriginalsFirst(entries, adminMax) {
				if !e.IsDir() {
					d.addAdmin(path.Join(dir, e.Name()), home && dir == top, dir != top)
				}
			}
		}
	}
}

// addAdmin records one file. home means that administrators' kubeconfigs are expected in its
// directory, below that it is in a subdirectory of such a one.
func (d *discovery) addAdmin(file string, home, below bool) {
	admins := home && adminName(path.Base(file))
	k, known := d.kubeconfigs[file]
	var err error
	if !known {
		data, unread := d.root.ReadFile(file)
		if !admins && (unread != nil || !looksLikeKubeconfig(data)) {
			return
		}
		if err = unread; err == nil {
			k, err = ParseKubeconfig(data)
		}
	}
	_, component := d.configs[d.storeKey(inventory.Store{Cert: file})]
	store := inventory.Store{Kind: inventory.Kubeconfig, Cert: file}
	admin := home && (adminName(path.Base(file)) || slices.Contains(d.admins, file))
	switch {
	case err != nil && admin:
		d.notInspected(certs.Admin, file, err.Error())
	case err != nil && !component:
		d.unclaimedUser(Unclaimed{Path: file, Kind: inventory.UnusedFile, Reason: err.Error()})
	case err != nil:
	case component:
		d.addSecondUsers(file, k)
	case len(d.out.OtherUsers(d.root, store)) > 0, admin:
		unowned := &program{service: certs.Admin}
		for i := range k.Users {
			u := &k.Users[i]
			d.addUser(unowned, file, u, role{name: path.Base(file), client: d.apiClient(unowned, file, file, u)})
		}
	case d.out.NamesFile(d.root, file) && !kubeadmName(path.Base(file)):
		// A component names it in an unknown way: it is not a certificate of the inventory.
	default:
		kind, reason := unusedKind(file, below)
		for i := range k.Users {
			d.addUnclaimed(file, &k.Users[i], kind, reason)
		}
	}
}

// addSecondUsers lists the users of a component's kubeconfig that it does not use.
func (d *discovery) addSecondUsers(file string, k *KubeconfigFile) {
	current := k.CurrentUser()
	for i := range k.Users {
		if u := &k.Users[i]; current != nil && u.Name != current.Name {
			d.addUnclaimed(file, u, inventory.UnusedFile,
				fmt.Sprintf("no component uses this user of the kubeconfig; its current context is that of user %q", current.Name))
		}
	}
}

// addUnclaimed lists a user with a client certificate, embedded or in a file.
func (d *discovery) addUnclaimed(file string, u *KubeconfigUser, kind inventory.UnusedKind, reason string) {
	x := Unclaimed{Path: file, User: u.Name, Kind: kind, Reason: reason}
	switch {
	case u.EmbeddedCert:
		x.Store = inventory.Store{Kind: inventory.Kubeconfig, Cert: file, User: u.Name}
	case u.CertFile != "":
		x.Store = inventory.Store{Kind: inventory.Pair, Cert: pathWithin(file, u.CertFile), Key: pathWithin(file, u.KeyFile)}
		if _, used := d.seen[d.storeKey(x.Store)]; used {
			return // a certificate that is listed itself
		}
	default:
		return
	}
	d.unclaimedUser(x)
}

func (d *discovery) unclaimedUser(x Unclaimed) {
	d.out.Unclaimed = append(d.out.Unclaimed, x)
}

// adminName reports whether a file has the name of an administrator's kubeconfig: kubeadm's
// names, and those with the other usual ending.
func adminName(name string) bool {
	stem := strings.TrimSuffix(strings.TrimSuffix(name, ".conf"), ".kubeconfig")
	return stem != name && (stem == "admin" || stem == "super-admin")
}

// unusedKind returns the kind of an unused kubeconfig.
func unusedKind(file string, below bool) (inventory.UnusedKind, string) {
	name := path.Base(file)
	original, backup := BackupOf(name)
	switch {
	case backup:
		return inventory.UnusedBackup, fmt.Sprintf("its name is that of a backup of %s", original)
	case below && (backupDirectory().MatchString(path.Base(path.Dir(file))) || adminName(name) || kubeadmName(name)):
		return inventory.UnusedBackup, "a copy in a subdirectory"
	case adminName(name):
		return inventory.UnusedCopy, "a copy of an administrator's kubeconfig: this node has no control plane, on whose nodes the original is renewed"
	}
	return inventory.UnusedFile, "no component names it"
}

// kubeadmName reports whether a kubeconfig has the name of a component's.
func kubeadmName(name string) bool {
	return slices.Contains([]string{"kubelet.conf", "controller-manager.conf", "scheduler.conf"}, name)
}

// unsearched lists the directories below those of kubeconfigs that are not searched for copies:
// the kubelet's and etcd's data, and manifests.
var unsearched = []string{"manifests", "pods", "plugins", "plugins_registry", "pod-resources", "device-plugins", "checkpoints", "member", "wal", "snap", "db"}

// shared lists the directories that hold all kinds of other files.
var shared = []string{"/var/lib", "/var/run", "/usr/lib", "/usr/local", "/etc/ssl", "/etc/pki"}

// listSubdirectories lists the directories below one in which copies may lie, without those
// in which components have certificates.
func (d *discovery) listSubdirectories(top string) []string {
	if strings.Count(top, "/") < 2 || slices.Contains(shared, top) || isUnder(top, "/home") || isUnder(top, "/proc") || isUnder(top, podVolumes) {
		return nil
	}
	known := map[string]bool{}
	if d.kubelet != nil {
		known[d.kubelet.certDir] = true
	}
	for _, dir := range d.out.Directories {
		known[dir.Path] = true
	}
	var out []string
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		entries, err := d.root.ReadDir(dir)
		if err != nil || depth > maxSubdirDepth {
			return
		}
		for _, e := range entries {
			sub := path.Join(dir, e.Name())
			if !e.IsDir() || slices.Contains(unsearched, e.Name()) || len(out) >= maxSubdirs {
				continue
			}
			if !known[sub] {
				out = append(out, sub)
			}
			walk(sub, depth+1)
		}
	}
	walk(top, 1)
	return out
}

// addSubdirectories collects where copies of certificates may lie.
func (d *discovery) addSubdirectories() {
	tops := map[string]bool{}
	for _, conf := range d.configs {
		tops[path.Dir(conf)] = true
	}
	for _, dir := range d.out.Directories {
		tops[dir.Path] = true
	}
	for _, top := range slices.Sorted(maps.Keys(tops)) {
		for _, sub := range d.listSubdirectories(top) {
			if !slices.Contains(d.out.Subdirectories, sub) {
				d.out.Subdirectories = append(d.out.Subdirectories, sub)
			}
		}
	}
}

// looksLikeKubeconfig reports whether to parse a file: the directory may hold any files.
func looksLikeKubeconfig(data []byte) bool {
	return bytes.Contains(data, []byte("clusters")) && bytes.Contains(data, []byte("client-certificate"))
}
