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
		"a directory of its own": {"ConfigurationDirectory=etcd:link\nExecStart=/usr/bin/etcd --cert-file=${CONFIGURATION_DIRECTORY}/a.crt --key-file=${CONFIGURATION_DIRECTORY}/a.key", "/etc/etcd/a"},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\netcd:x:200:200::/home/etcd:/bin/false\n")
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
		{"SetCredential=a.crt:x\nExecStart=/usr/bin/etcd --cert-file=%d/a.crt --key-file=/a.key", "credentials of its unit"},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\n"+tt.lines+"\n")
		l := DiscoverNode(n.Root, Options{})
		expectCertificates(t, l)
		if len(l.Node.NotInspected) != 1 || l.Node.NotInspected[0].Service != certs.Etcd || !strings.Contains(l.Node.NotInspected[0].Reason, tt.why) {
			t.Errorf("%s: %+v", tt.lines, l.Node.NotInspected)
		}
	}
}

// TestUserOfACredential: the unit that loads a file as a credential is one that uses it.
func TestUserOfACredential(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/pki/a.crt", "")
	n.WriteFile("/etc/systemd/system/proxy.service", "[Service]\nLoadCredential=tls:/pki/a.crt\nExecStart=/usr/bin/proxy %d/tls\n")
	n.LinkFile("/etc/systemd/system/multi-user.target.wants/proxy.service", "/etc/systemd/system/proxy.service")
	l := DiscoverNode(n.Root, Options{})
	users := l.OtherUsers(n.Root, inventory.Store{Kind: inventory.Pair, Cert: "/pki/a.crt"})
	if len(users) != 1 || users[0].Unit != "proxy.service" {
		t.Errorf("users %+v", users)
	}
}
