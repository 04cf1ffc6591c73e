package scan

import (
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestDrift(t *testing.T) {
	const pki = certstest.PKIDir
	for name, tt := range map[string]struct {
		spoil func(path func(string) string) error
		want  string // "" : none
	}{
		"as kubeadm leaves it":  {func(func(string) string) error { return nil }, ""},
		"stricter":              {func(p func(string) string) error { return os.Chmod(p(pki+"/apiserver.crt"), 0o400) }, ""},
		"a key for the group":   {func(p func(string) string) error { return os.Chmod(p(pki+"/apiserver.key"), 0o640) }, "/apiserver.key: mode 0640, CIS 1.1.21 wants at most 0600"},
		"a CA's key for all":    {func(p func(string) string) error { return os.Chmod(p(pki+"/etcd/ca.key"), 0o644) }, "/etcd/ca.key: mode 0644, CIS 1.1.21"},
		"a certificate to edit": {func(p func(string) string) error { return os.Chmod(p(pki+"/etcd/peer.crt"), 0o664) }, "/etcd/peer.crt: mode 0664, CIS 1.1.20 wants at most 0644"},
		"a kubeconfig for all":  {func(p func(string) string) error { return os.Chmod(p("/etc/kubernetes/scheduler.conf"), 0o644) }, "/scheduler.conf: mode 0644, CIS 1.1.13-18"},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			if err := tt.spoil(n.Tree.Local); err != nil {
				t.Fatal(err)
			}
			got := n.scanAt(t, certstest.Now)
			var modes []string
			for _, f := range got.Findings {
				if f.Kind == inventory.FileMode {
					modes = append(modes, f.Path+": "+f.Text)
				}
			}
			switch {
			case tt.want == "" && len(modes) > 0, tt.want != "" && (len(modes) != 1 || !strings.Contains(modes[0], tt.want)):
				t.Errorf("findings %q, want %q", modes, tt.want)
			}
		})
	}
}

func TestDriftOfOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change a file's owner")
	}
	n := kubeadmNode(t)
	for _, p := range []string{certstest.PKIDir + "/etcd/server.key", "/etc/kubernetes/admin.conf"} {
		if err := os.Chown(n.Tree.Local(p), 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	got := n.scanAt(t, certstest.Now).Findings
	if len(got) != 1 || got[0].Text != "owned by 1000:1000, CIS 1.1.19 wants root:root" || got[0].Kind != inventory.FileOwner {
		t.Errorf("findings %+v, want etcd's key only: people own their kubeconfigs", got)
	}
}
