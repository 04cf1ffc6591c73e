package scan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// maxKeys limits the files of a directory that are tried as a CA's key.
const maxKeys = 64

// keyDirectories finds keys by the certificates that they fit, since their file names are a
// convention only. Each file is parsed once, and only when needed.
type keyDirectories struct {
	root  hostfs.Root
	files map[string][]string
	keys  map[string]certs.Key
	errs  map[string]error // why a file holds no key
}

// fitsCert reports whether the file holds the certificate's private key.
func (k *keyDirectories) fitsCert(file string, c *x509.Certificate) bool {
	key, known := k.keys[file]
	if !known {
		data, err := k.root.ReadFile(file)
		if err == nil {
			key, err = certs.ParseKeyPEM(data) // not a key
		}
		k.keys[file] = key
		k.errs[file] = err
	}
	return key.FitsCert(c)
}

// keyProblem returns the reason why the files that should hold a CA's key do not: the file that
// a flag names, and those of the usual names. Empty: none of them exists.
func (k *keyDirectories) keyProblem(a *authority) string {
	files := slices.Clone(a.flagKeys)
	for _, p := range a.paths {
		files = append(files, likelyKeys(p)...)
	}
	var other string
	for _, p := range files {
		k.fitsCert(p, a.cert)
		err := k.errs[p]
		switch {
		case errors.Is(err, certs.ErrEncryptedKey):
			return fmt.Sprintf("is encrypted with a passphrase: %q", p)
		case other != "" || errors.Is(err, fs.ErrNotExist) || slices.Contains(a.paths, p):
		case err != nil:
			other = fmt.Sprintf("cannot be used: %q: %v", p, err)
		default:
			other = fmt.Sprintf("is not here: the key in %q is another one", p)
		}
	}
	return other
}

// keyBeside returns the file in a certificate's directory that holds its key, or "".
func (k *keyDirectories) keyBeside(certFile string, c *x509.Certificate) string {
	for _, p := range likelyKeys(certFile) {
		if k.fitsCert(p, c) {
			return p
		}
	}
	// No usual name fits. Only CAs are searched in this way, and few have their key under
	// another name, so the usual names come first.
	dir := path.Dir(certFile)
	if _, known := k.files[dir]; !known {
		k.files[dir] = keyFiles(k.root, dir)
	}
	for _, p := range k.files[dir] {
		if k.fitsCert(p, c) {
			return p
		}
	}
	return ""
}

// likelyKeys returns the usual names of a certificate's key: ca.key for ca.crt (kubeadm),
// ca-key.pem for ca.pem (cfssl), or the same file.
func likelyKeys(certFile string) []string {
	stem := strings.TrimSuffix(certFile, path.Ext(certFile))
	out := []string{stem + ".key", stem + "-key.pem", stem + ".key.pem", strings.TrimSuffix(stem, "-cert") + "-key.pem", certFile}
	slices.Sort(out[1:4])
	return slices.Compact(out)
}

// keyFiles lists the files with names of private keys.
func keyFiles(root hostfs.Root, dir string) []string {
	entries, err := root.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && (strings.HasSuffix(name, ".key") || strings.HasSuffix(name, "key.pem")) && len(out) < maxKeys {
			out = append(out, path.Join(dir, name))
		}
	}
	return out
}
