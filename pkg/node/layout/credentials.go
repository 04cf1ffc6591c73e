package layout

import (
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// credential is one LoadCredential= or LoadCredentialEncrypted= of a unit: the name that the service
// has it under, and the file or directory that systemd copies at the start of the service.
type credential struct {
	id, file  string
	encrypted bool
}

// parseCredential reads "ID:PATH". Without a path it is the ID, in a credential store.
func parseCredential(value string, encrypted bool) credential {
	id, file, _ := strings.Cut(value, ":")
	if file == "" {
		file = id
	}
	return credential{id, file, encrypted}
}

// credentialStores are the directories in which systemd searches a credential without an absolute path:
// first that of the credentials with which the machine was booted.
var credentialStores = []string{"/run/credentials/@system", "/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"}

// encryptedStores are those of LoadCredentialEncrypted=.
var encryptedStores = []string{"/run/credentials/@encrypted", "/etc/credstore.encrypted", "/run/credstore.encrypted",
	"/usr/local/lib/credstore.encrypted", "/usr/lib/credstore.encrypted"}

// maxCredentials limits the files of directories that a unit loads: systemd allows fewer.
const maxCredentials = 1024

// deepestCredential limits the directories below one that a unit loads.
const deepestCredential = 8

// credentialMounts are the files of a unit's credentials, by the paths that the service has them
// under. Of two that get the same name, one that the unit names itself comes first.
func (u *unit) credentialMounts(root hostfs.Root) []mount {
	var named, listed []mount
	for _, c := range u.loaded {
		host := c.hostFile(root)
		if host == "" {
			continue
		}
		if info, err := root.Stat(host); err == nil && info.IsDir() {
			for _, file := range filesBelow(root, host, "") {
				name := c.id + "_" + strings.ReplaceAll(file, "/", "_")
				listed = append(listed, mount{container: path.Join(u.credentialsDir(), name), host: path.Join(host, file), encrypted: c.encrypted})
			}
			continue
		}
		named = append(named, mount{container: path.Join(u.credentialsDir(), c.id), host: host, encrypted: c.encrypted})
	}
	return slices.Concat(named, listed)
}

// hostFile is the file or directory of a credential; "" where no store has it.
func (c credential) hostFile(root hostfs.Root) string {
	if path.IsAbs(c.file) {
		return path.Clean(c.file)
	}
	stores := credentialStores
	if c.encrypted {
		stores = slices.Concat(encryptedStores, credentialStores)
	}
	for _, dir := range stores {
		host := path.Join(dir, path.Join("/", c.file))
		if _, err := root.Stat(host); err == nil {
			return host
		}
	}
	return ""
}

// filesBelow lists the regular files below a directory by their relative paths. As systemd does, it
// leaves out links and names that begin with a dot.
func filesBelow(root hostfs.Root, dir, prefix string) []string {
	entries, err := root.ReadDir(path.Join(dir, prefix))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		name := path.Join(prefix, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".") || len(out) >= maxCredentials || strings.Count(name, "/") > deepestCredential:
		case e.IsDir():
			out = append(out, filesBelow(root, dir, name)...)
		case e.Type().IsRegular():
			out = append(out, name)
		}
	}
	return out[:min(len(out), maxCredentials)]
}
