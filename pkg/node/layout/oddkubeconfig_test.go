package layout

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestKubeconfigsOfOddShape: a component authenticates as the user of its kubeconfig's current context, by
// client-go's rules.
func TestKubeconfigsOfOddShape(t *testing.T) {
	const contexts = "kind: Config\nclusters: [{name: c, cluster: {server: 'https://h:6443'}}]\ncontexts: [{name: x, context: {cluster: c, user: a}}, {name: y, context: {cluster: c, user: b}}]\n"
	const embedded = "client-certificate-data: Q0E=, client-key-data: S0VZ"
	own := []string{"kube-scheduler scheduler.conf Kubeconfig /s.conf #b"}
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"several users":       {contexts + "current-context: y\nusers: [{name: a, user: {" + embedded + "}}, {name: b, user: {" + embedded + "}}]\n", own},
		"JSON":                {`{"kind": "Config", "current-context": "y", "contexts": [{"name": "y", "context": {"cluster": "c", "user": "b"}}], "clusters": [{"name": "c", "cluster": {"server": "https://h:6443"}}], "users": [{"name": "b", "user": {"client-certificate-data": "Q0E=", "client-key-data": "S0VZ"}}]}`, own},
		"data beside files":   {contexts + "current-context: y\nusers: [{name: b, user: {client-certificate: /a.crt, client-key: /a.key, " + embedded + "}}]\n", own},
		"a byte order mark":   {"\ufeff" + contexts + "current-context: y\nusers: [{name: b, user: {" + embedded + "}}]\n", own},
		"a credential plugin": {contexts + "current-context: y\nusers: [{name: a, user: {" + embedded + "}}, {name: b, user: {exec: {command: x}}}]\n", nil},
		"a file with a token": {contexts + "current-context: y\nusers: [{name: a, user: {" + embedded + "}}, {name: b, user: {tokenFile: /t}}]\n", nil},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/s.conf", tt.text)
		n.WriteFile("/etc/systemd/system/kube-scheduler.service", "[Service]\nExecStart=/usr/bin/kube-scheduler --kubeconfig=/s.conf\n")
		l := DiscoverNode(n.Root, Options{})
		t.Log(name)
		expectInspected(t, l)
		expectCertificates(t, l, tt.want...)
	}
}

// TestKubeconfigVariableOfAUnit: KUBECONFIG may name several files, and the unit uses each.
func TestKubeconfigVariableOfAUnit(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/k/a.conf", "")
	n.WriteFile("/k/b.conf", "")
	n.WriteFile("/etc/systemd/system/backup.service", "[Service]\nEnvironment=\"KUBECONFIG=/k/a.conf:/k/b.conf\"\nExecStart=/usr/bin/backup\n")
	n.LinkFile("/etc/systemd/system/multi-user.target.wants/backup.service", "/etc/systemd/system/backup.service")
	l := DiscoverNode(n.Root, Options{})
	for _, file := range []string{"/k/a.conf", "/k/b.conf"} {
		if users := l.OtherUsers(n.Root, inventory.Store{Kind: inventory.Kubeconfig, Cert: file}); len(users) != 1 {
			t.Errorf("%s: users %+v", file, users)
		}
	}
}
