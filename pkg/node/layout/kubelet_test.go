package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// TestKubeletClientPairInUse follows client-go's certificate store: the certificate that the
// kubelet loads is in use, and another one in its kubeconfig is a pinned copy.
func TestKubeletClientPairInUse(t *testing.T) {
	const pki = "/var/lib/kubelet/pki"
	current := func(n *layouttest.Node) { n.WriteFile(pki+"/kubelet-client-current.pem", "") }
	plain := func(n *layouttest.Node) {
		n.WriteFile(pki+"/kubelet-client.crt", "")
		n.WriteFile(pki+"/kubelet-client.key", "")
	}
	elsewhere := func(n *layouttest.Node) {
		n.WriteFile("/x/c.crt", "")
		n.WriteFile("/x/c.key", "")
	}
	byFiles := pointingKubeconfig("/x/c.crt", "/x/c.key")
	embedded := embeddedKubeconfig("system:node:n1")
	for name, tt := range map[string]struct {
		conf   string
		rotate string
		files  []func(*layouttest.Node)
		want   []string
	}{
		"current before named files": {byFiles, "true", []func(*layouttest.Node){current, elsewhere}, []string{
			"kubelet kubelet.conf Pair /x/c.crt /x/c.key", "kubelet kubelet-client Combined " + pki + "/kubelet-client-current.pem"}},
		"current before embedded": {embedded, "true", []func(*layouttest.Node){current, plain}, []string{
			"kubelet kubelet.conf Kubeconfig /etc/kubelet.conf #system:node:n1", "kubelet kubelet-client Combined " + pki + "/kubelet-client-current.pem"}},
		"current by its own name": {pointingKubeconfig(pki+"/kubelet-client-current.pem", pki+"/kubelet-client-current.pem"), "true", []func(*layouttest.Node){current}, []string{
			"kubelet kubelet-client Combined " + pki + "/kubelet-client-current.pem"}},
		"named files before the store's old form": {byFiles, "true", []func(*layouttest.Node){elsewhere, plain}, []string{
			"kubelet kubelet-client Pair /x/c.crt /x/c.key"}},
		"the store's old form before embedded": {embedded, "true", []func(*layouttest.Node){plain}, []string{
			"kubelet kubelet.conf Kubeconfig /etc/kubelet.conf #system:node:n1", "kubelet kubelet-client Pair " + pki + "/kubelet-client.crt " + pki + "/kubelet-client.key"}},
		"without rotation the kubeconfig counts": {byFiles, "false", []func(*layouttest.Node){current, elsewhere}, []string{
			"kubelet kubelet-client Pair /x/c.crt /x/c.key"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.AddProcess(300, layouttest.UnitCgroup("kubelet.service"), "kubelet", "--kubeconfig=/etc/kubelet.conf", "--rotate-certificates="+tt.rotate, "--rotate-server-certificates")
			n.WriteFile("/etc/kubelet.conf", tt.conf)
			n.WriteFile(pki+"/kubelet-server-current.pem", "")
			for _, write := range tt.files {
				write(n)
			}
			l := DiscoverNode(n.Root, Options{})
			expectCertificates(t, l, append(tt.want, "kubelet kubelet-server Combined "+pki+"/kubelet-server-current.pem")...)
			if pinned := l.Node.Certificates[0]; pinned.Name == "kubelet.conf" && (pinned.SelfManaged || pinned.Reason == "") {
				t.Errorf("pinned copy: %+v", pinned)
			}
			if got := findCertificate(t, l, "kubelet-client"); got.SelfManaged != (tt.rotate == "true") || got.Client == nil {
				t.Errorf("in use: %+v", got)
			}
		})
	}
}

// TestKubeletDropInsMergeAsTheKubeletDoes: recursively, in lexical order, by JSON merge patch,
// and flags take precedence.
func TestKubeletDropInsMergeAsTheKubeletDoes(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(300, layouttest.UnitCgroup("kubelet.service"), "kubelet", "--config=/k/base.yaml", "--config-dir=/k/d", "--tls-private-key-file=/flag.key", "--container-runtime-endpoint=")
	n.WriteFile("/k/base.yaml", "staticPodPath: manifests\nport: 10999\ntlsCertFile: base.crt\ntlsPrivateKeyFile: base.key\nserverTLSBootstrap: true\n"+
		"containerRuntimeEndpoint: unix:///run/a.sock\nauthentication: {x509: {clientCAFile: ca.crt}, webhook: {enabled: true}}\n")
	n.WriteFile("/k/d/10.conf", "staticPodPath: /ten\ntlsCertFile: /ten.crt\nport: null\n")
	n.WriteFile("/k/d/20/a.conf", "tlsCertFile: /twenty.crt\nserverTLSBootstrap: null\nauthentication: {x509: {clientCAFile: null}}\n")
	n.WriteFile("/k/d/20/b.yaml", "tlsCertFile: /not-read.crt\n")
	n.WriteFile("/k/d/15.conf", "tlsCertFile: /fifteen.crt\n")
	n.WriteFile("/k/d/30.conf", "tlsCertFile: [\n")
	l := DiscoverNode(n.Root, Options{})
	if got := reasonOf(l, "/k/d/30.conf"); !strings.Contains(got, "merge kubelet configuration") || len(l.Node.NotInspected) != 1 {
		t.Errorf("not inspected: %+v", l.Node.NotInspected)
	}
	expectCertificates(t, l, "kubelet kubelet-server Pair /twenty.crt /flag.key")
	if got := findCertificate(t, l, "kubelet-server").Served; len(got) != 1 || got[0].Address != "127.0.0.1:10250" {
		t.Errorf("served at %+v, want the default port since a drop-in has deleted the other", got)
	}
	if len(l.Authorities) != 0 || l.Node.CRISocket != "" {
		t.Errorf("authorities %+v, socket %q: a drop-in has deleted the one, a flag the other", l.Authorities, l.Node.CRISocket)
	}
	if c := l.Node.Components[0]; c.Runtime != inventory.Systemd {
		t.Errorf("kubelet: %+v", c)
	}
}

// Every setting of the table that names a certificate or a CA bundle is found: by its flag, by
// its field in the file of --config, and in a drop-in beside an empty file.
func TestKubeletSettingsOfTheTable(t *testing.T) {
	field := func(row settings.Setting, value string) string {
		names := strings.Split(row.Field, ".")
		return strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1) + "\n"
	}
	rows := settings.RowsOf(certs.Kubelet)
	for _, row := range rows {
		if row.Names != settings.Certificate && row.Names != settings.CABundle {
			continue
		}
		key := slices.IndexFunc(rows, func(r settings.Setting) bool { return r.Flag == row.Key && r.Flag != "" })
		for how, give := range map[string]func(n *layouttest.Node) []string{
			"flag": func(*layouttest.Node) []string {
				out := []string{"--" + row.Flag + "=/srv/file.pem"}
				if key >= 0 {
					out = append(out, "--"+rows[key].Flag+"=/srv/file.key")
				}
				return out
			},
			"field": func(n *layouttest.Node) []string {
				config := field(row, "file.pem") // relative to the file
				if key >= 0 {
					config += field(rows[key], "file.key")
				}
				n.WriteFile("/srv/config.yaml", config)
				return []string{"--config=/srv/config.yaml"}
			},
			"drop-in": func(n *layouttest.Node) []string {
				config := field(row, "/srv/file.pem")
				if key >= 0 {
					config += field(rows[key], "/srv/file.key")
				}
				n.WriteFile("/srv/config.yaml", "")
				n.WriteFile("/srv/drop-ins/10.conf", config)
				return []string{"--config=/srv/config.yaml", "--config-dir=/srv/drop-ins"}
			},
		} {
			t.Run(row.Flag+" by "+how, func(t *testing.T) {
				n := layouttest.NewNode(t)
				n.AddProcess(20, layouttest.UnitCgroup("kubelet.service"), append([]string{"/usr/bin/kubelet"}, give(n)...)...)
				l := DiscoverNode(n.Root, Options{})
				switch row.Names {
				case settings.Certificate:
					if c := findCertificate(t, l, row.Role); c.Store.Cert != "/srv/file.pem" || c.Store.Key != "/srv/file.key" || len(c.Served) != 1 {
						t.Errorf("%+v", c)
					}
				default:
					if len(l.Authorities) != 1 || l.Authorities[0].Path != "/srv/file.pem" {
						t.Errorf("%+v", l.Authorities)
					}
				}
			})
		}
	}
}
