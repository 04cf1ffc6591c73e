//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// watched are the directories of which every byte is compared.
const watched = "etc/kubernetes etc/systemd/system usr/lib/systemd/system/kubelet.service.d var/lib/kubelet/pki var/lib/kubelet/config.yaml opt srv root " +
	"etc/etcd etc/ssl/etcd var/lib/kubernetes var/lib/kube-proxy"

// file is one file on a node.
type file struct {
	mode     int64
	uid, gid int
	link     string
	data     []byte
}

// tree maps paths to files.
type tree map[string]file

// snapshot reads a node's files.
func (l *lab) snapshot(t *testing.T, node string) tree {
	t.Helper()
	out := tree{}
	// etcd's own data changes all the time, wherever it lies. tar's exit code 1 says that
	// a file changed or was deleted while it was read: a kubelet replaces its own certificates.
	archive := tar.NewReader(bytes.NewReader(l.on(t, node, "cd / && { tar --exclude=member -cf - $(ls -d "+watched+" 2>/dev/null) || [ $? = 1 ]; }")))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(archive)
		require.NoError(t, err)
		out["/"+h.Name] = file{mode: h.Mode, uid: h.Uid, gid: h.Gid, link: h.Linkname, data: data}
	}
}

// snapshots reads every node.
func (l *lab) snapshots(t *testing.T) map[string]tree {
	t.Helper()
	out := map[string]tree{}
	for _, n := range l.nodes {
		out[n.Name] = l.snapshot(t, n.Name)
	}
	return out
}

// dated are the files that a kubelet's symlink points to; they come and go with it.
var dated = regexp.MustCompile(`/kubelet-(client|server)-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.pem$`)

// changed lists the paths that differ, in content or in anything else.
func changed(before, after tree) []string {
	var out []string
	for path, b := range before {
		a, there := after[path]
		if dated.MatchString(path) && !there {
			continue // the link to it has moved on
		}
		if !there || a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.link != b.link || !bytes.Equal(a.data, b.data) {
			out = append(out, path)
		}
	}
	for path := range after {
		if _, there := before[path]; !there && !dated.MatchString(path) {
			out = append(out, path)
		}
	}
	return out
}

// resolve follows a symlink of the tree.
func (f tree) resolve(path string) file {
	if link := f[path].link; link != "" {
		return f[link]
	}
	return f[path]
}

// identity is a certificate with the key that lies with it.
type identity struct {
	leaf *x509.Certificate
	key  crypto.Signer
	// raw is everything of the file but certificate and key, where it holds both.
	rest string
}

var (
	clientCertificate = regexp.MustCompile(`client-certificate-data:\s*"?([A-Za-z0-9+/=]+)"?`)
	clientKey         = regexp.MustCompile(`client-key-data:\s*"?([A-Za-z0-9+/=]+)"?`)
)

var kubeconfigData = regexp.MustCompile(`(client-certificate-data|client-key-data):\s*"?([A-Za-z0-9+/=]+)"?`)

// identity reads a certificate and its key: a pair, one PEM file, or a kubeconfig.
func (f tree) identity(t *testing.T, certPath, keyPath string) identity {
	t.Helper()
	certificate, key := f.resolve(certPath).data, f.resolve(keyPath).data
	var id identity
	if isKubeconfig(certPath) {
		id.rest = kubeconfigData.ReplaceAllString(string(certificate), "$1")
		for _, m := range kubeconfigData.FindAllStringSubmatch(string(certificate), -1) {
			data, err := base64.StdEncoding.DecodeString(m[2])
			require.NoError(t, err, certPath)
			if m[1] == "client-key-data" {
				key = data
			} else {
				certificate = data
			}
		}
	}
	for block, rest := pem.Decode(certificate); block != nil && id.leaf == nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err, certPath)
			id.leaf = leaf
		}
	}
	require.NotNil(t, id.leaf, "no certificate in %s", certPath)
	for block, rest := pem.Decode(key); block != nil && id.key == nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			id.key = parseKey(t, block)
		}
	}
	require.NotNil(t, id.key, "no key in %s", keyPath)
	return id
}

// isKubeconfig goes by the name of a file.
func isKubeconfig(path string) bool {
	return strings.HasSuffix(path, ".conf") || strings.HasSuffix(path, "kubeconfig")
}

func parseKey(t *testing.T, block *pem.Block) crypto.Signer {
	t.Helper()
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		require.NoError(t, err)
		return key
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(block.Bytes)
		require.NoError(t, err)
		return key
	default:
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		return key.(crypto.Signer)
	}
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}
