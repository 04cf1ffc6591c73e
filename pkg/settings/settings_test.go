package settings

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// flagOf is a line of testdata/flags.txt.
type flagOf struct{ service, flag string }

func flagsOfComponents(t *testing.T) map[flagOf]bool {
	t.Helper()
	data, err := os.ReadFile("testdata/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[flagOf]bool{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(fields) != 3 {
			continue
		}
		out[flagOf{fields[0], fields[2]}] = true
	}
	return out
}

// TestEveryFlagThatMayNameACertificateIsInTheTable compares with the components' own flags.
// Flags that name no certificate are in the table as well, as Nothing, with their purpose.
func TestEveryFlagThatMayNameACertificateIsInTheTable(t *testing.T) {
	known := flagsOfComponents(t)
	table := map[flagOf]bool{}
	for _, row := range AllSettings() {
		if row.Flag == "" {
			continue
		}
		f := flagOf{string(row.Service), row.Flag}
		if table[f] {
			t.Errorf("%s --%s is there twice", f.service, f.flag)
		}
		table[f] = true
		if !known[f] {
			t.Errorf("%s has no flag --%s", f.service, f.flag)
		}
	}
	for f := range known {
		if !table[f] {
			t.Errorf("%s --%s is not in the table", f.service, f.flag)
		}
	}
	if len(known) < 100 {
		t.Errorf("only %d flags are known", len(known))
	}
}

func TestRowsAreComplete(t *testing.T) {
	keys := map[flagOf]bool{}
	for _, row := range AllSettings() {
		if row.Names == PrivateKey || row.Names == SigningKey {
			keys[flagOf{string(row.Service), row.Flag}] = true
		}
	}
	for _, row := range AllSettings() {
		name := fmt.Sprintf("%s %s", row.Service, row.SettingName())
		if row.SettingName() == "--" || row.SettingName() == "" || !slices.Contains(certs.Services(), row.Service) {
			t.Errorf("%+v names no setting of a service", row)
		}
		switch row.Names {
		case Certificate:
			if row.Role == "" || row.Verification == "" || row.Flag != "" && !keys[flagOf{string(row.Service), row.Key}] {
				t.Errorf("%s: role %q, verification %q, key %q", name, row.Role, row.Verification, row.Key)
			}
		case SigningCertificate:
			if !keys[flagOf{string(row.Service), row.Key}] {
				t.Errorf("%s: key %q", name, row.Key)
			}
		case Kubeconfig, SNIPairs, SelfMade:
			if row.Verification == "" {
				t.Errorf("%s: no verification", name)
			}
		case Nothing, Configuration:
			if row.Note == "" {
				t.Errorf("%s: nothing says what it does", name)
			}
		}
	}
}

func TestReloads(t *testing.T) {
	for name, tt := range map[string]struct {
		service certs.Service
		want    bool
	}{
		"etcd-server": {certs.Etcd, true}, "etcd-peer": {certs.Etcd, true}, "etcd-client": {certs.Etcd, false},
		"apiserver": {certs.KubeAPIServer, true}, "apiserver-sni": {certs.KubeAPIServer, true}, "egress-client": {certs.KubeAPIServer, false},
		"scheduler.conf": {certs.KubeScheduler, false}, "kubelet-server": {certs.Kubelet, false}, "": {certs.KubeAPIServer, false},
	} {
		if got := ReloadReason(tt.service, name) != ""; got != tt.want {
			t.Errorf("%s: reloads %v", name, got)
		}
	}
}

// TestDocument keeps docs/settings.md true; UPDATE=1 writes it.
func TestDocument(t *testing.T) {
	const path = "../../docs/settings.md"
	want := WriteDocument()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/settings.md is not what the table says (%v); UPDATE=1 go test ./pkg/settings writes it", err)
	}
}
