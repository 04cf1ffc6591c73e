package layout

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestPathsOfAUnit: systemd.exec(5) has settings by which a path or a variable of a service means
// another file of the host, of a unit that runs as of one that does not.
func TestPathsOfAUnit(t *testing.T) {
	const byFlags = "ExecStart=/usr/bin/etcd --cert-file=pki/a.crt --key-file=pki/a.key"
	for name, tt := range map[string]struct{ lines, cert string }{
		"home directory of its user": {"WorkingDirectory=~\nUser=etcd\n" + byFlags, "/home/etcd/pki/a"},
		"home directory of a number": {"WorkingDirectory=-~\nUser=200\n" + byFlags, "/home/etcd/pki/a"},
		"home directory of root":     {"WorkingDirectory=~\n" + byFlags, "/root/pki/a"},
		"home directory of no user":  {"WorkingDirectory=~\nUser=other\n" + byFlags, "/pki/a"},
		"another root":               {"RootDirectory=/srv/root\nWorkingDirectory=/etc\n" + byFlags, "/srv/root/etc/pki/a"},
		"a mount in another root":    {"RootDirectory=/srv/root\nBindPaths=/etc/etcd:/pki\n" + byFlags, "/etc/etcd/a"},
		"the host's own root":        {"RootDirectory=/srv/root\nRootDirectory=\n" + byFlags, "/pki/a"},
		"removed variables": {"Environment=ETCD_CERT_FILE=/old.crt ETCD_KEY_FILE=/old.key ETCD_PEER_CERT_FILE=/p.crt ETCD_PEER_KEY_FILE=/p.key\n" +
			"UnsetEnvironment=ETCD_PEER_CERT_FILE ETCD_PEER_KEY_FILE\nUnsetEnvironment=ETCD_CERT_FILE=/another.crt\nExecStart=/usr/bin/etcd", "/old"},
		"credentials": {"LoadCredential=a.crt:/pki/a.crt\nLoadCredential=a.key:/pki/a.key\n" +
			"ExecStart=/usr/bin/etcd --cert-file=${CREDENTIALS_DIRECTORY}/a.crt --key-file=%d/a.key", "/pki/a"},
		"a directory of credentials": {"LoadCredential=tls:/pki\nExecStart=/usr/bin/etcd --cert-file=%d/tls_a.crt --key-file=${CREDENTIALS_DIRECTORY}/tls_a.key", "/pki/a"},
		"a directory below it":       {"LoadCredential=tls:/pki\nExecStart=/usr/bin/etcd --cert-file=%d/tls_sub_a.crt --key-file=%d/tls_sub_a.key", "/pki/sub/a"},
		"a file before a directory": {"LoadCredential=tls:/pki\nLoadCredential=tls_a.crt:/one.crt\nLoadCredential=tls_a.key:/one.key\n" +
			"ExecStart=/usr/bin/etcd --cert-file=%d/tls_a.crt --key-file=%d/tls_a.key", "/one"},
		"credentials of the machine": {"LoadCredential=etcd.crt\nLoadCredential=k:etcd.key\nExecStart=/usr/bin/etcd --cert-file=%d/etcd.crt --key-file=%d/k", "/etc/credstore/etcd"},
		"a directory of its own":     {"ConfigurationDirectory=etcd:link\nExecStart=/usr/bin/etcd --cert-file=${CONFIGURATION_DIRECTORY}/a.crt --key-file=${CONFIGURATION_DIRECTORY}/a.key", "/etc/etcd/a"},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\netcd:x:200:200::/home/etcd:/bin/false\n")
		for _, file := range []string{"/pki/a.crt", "/pki/a.key", "/pki/sub/a.crt", "/pki/sub/a.key", "/etc/credstore/etcd.crt", "/etc/credstore/etcd.key"} {
			n.WriteFile(file, "")
		}
		n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\n"+tt.lines+"\n")
		u, ok := loadUnit(n.Root, "etcd.service")
		if !ok {
			t.Fatal("the unit was not found")
		}
		want := "etcd etcd-server Pair " + tt.cert + ".crt " + tt.cert + ".key"
		for _, runs := range []bool{false, true} {
			if runs {
				n.AddProcess(10, layouttest.UnitCgroup("etcd.service"), u.expandedCommands()[0]...)
			}
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			if len(l.Node.Certificates) != 1 || summarize(l.Node.Certificates[0]) != want {
				t.Errorf("%s, runs %v: %+v, want %s", name, runs, l.Node.Certificates, want)
			}
		}
	}
}

// TestFilesThatAreNotTheHosts are left out by name: those of an image, and credentials that systemd
// decrypts or makes.
func TestFilesThatAreNotTheHosts(t *testing.T) {
	for _, tt := range []struct{ lines, why string }{
		{"RootImage=/srv/etcd.raw\nExecStart=/usr/bin/etcd --cert-file=/a.crt --key-file=/a.key", "an image"},
		{"LoadCredentialEncrypted=a.crt:/a.crt\nExecStart=/usr/bin/etcd --cert-file=%d/a.crt --key-file=/a.key", `the decrypted content of "/a.crt"`},
		{"LoadCredential=tls:/pki\nExecStart=/usr/bin/etcd --cert-file=%d/tls_link.crt --key-file=/a.key", "credentials of its unit"},
		{"LoadCredential=tls:/pki\nExecStart=/usr/bin/etcd --cert-file=%d/tls_.hidden.crt --key-file=/a.key", "credentials of its unit"},
		{"LoadCredentialEncrypted=a.crt\nExecStart=/usr/bin/etcd --cert-file=%d/a.crt --key-file=/a.key", `the decrypted content of "/etc/credstore.encrypted/a.crt"`},
		{"SetCredential=a.crt:x\nExecStart=/usr/bin/etcd --cert-file=%d/a.crt --key-file=/a.key", "credentials of its unit"},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/pki/.hidden.crt", "")
		n.LinkFile("/pki/link.crt", "/a.crt")
		n.WriteFile("/etc/credstore.encrypted/a.crt", "")
		n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\n"+tt.lines+"\n")
		l := DiscoverNode(n.Root, Options{})
		expectCertificates(t, l)
		if len(l.Node.NotInspected) != 1 || l.Node.NotInspected[0].Service != certs.Etcd || !strings.Contains(l.Node.NotInspected[0].Reason, tt.why) {
			t.Errorf("%s: %+v", tt.lines, l.Node.NotInspected)
		}
	}
}

// TestUserOfACredential: the unit that loads a file as a credential, alone or with its directory, is one
// that uses it.
func TestUserOfACredential(t *testing.T) {
	for _, loads := range []string{"tls:/pki/a.crt", "tls:/pki"} {
		n := layouttest.NewNode(t)
		n.WriteFile("/pki/a.crt", "")
		n.WriteFile("/etc/systemd/system/proxy.service", "[Service]\nLoadCredential="+loads+"\nExecStart=/usr/bin/proxy %d\n")
		n.LinkFile("/etc/systemd/system/multi-user.target.wants/proxy.service", "/etc/systemd/system/proxy.service")
		l := DiscoverNode(n.Root, Options{})
		users := l.OtherUsers(n.Root, inventory.Store{Kind: inventory.Pair, Cert: "/pki/a.crt"})
		if len(users) != 1 || users[0].Unit != "proxy.service" {
			t.Errorf("LoadCredential=%s: users %+v", loads, users)
		}
	}
}

// TestCredentialIsACopy: systemd copies credentials when it starts a service, which therefore does not
// see a file that replaces one of them before its restart.
func TestCredentialIsACopy(t *testing.T) {
	for name, want := range map[string]bool{"%d/tls_a": true, "/pki/a": false} {
		n := layouttest.NewNode(t)
		n.WriteFile("/pki/a.crt", "")
		n.WriteFile("/pki/a.key", "")
		n.WriteFile("/etc/systemd/system/kube-apiserver.service", "[Service]\nLoadCredential=tls:/pki\n"+
			"ExecStart=/usr/bin/kube-apiserver --tls-cert-file="+name+".crt --tls-private-key-file="+name+".key\n")
		l := DiscoverNode(n.Root, Options{})
		expectCertificates(t, l, "kube-apiserver apiserver Pair /pki/a.crt /pki/a.key")
		if got := l.Node.Certificates[0].FileMount; got != want {
			t.Errorf("%s is mounted alone: %v", name, got)
		}
	}
}
