package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

const k3sUnitFile = "[Service]\nType=notify\nEnvironmentFile=-/etc/systemd/system/k3s.service.env\nKillMode=process\nTimeoutStopSec=2min\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--tls-san' \\\n\t'lb.example.com' \n"

// k3sServer is a server of K3s with its own etcd and an agent.
func k3sServer(n *layouttest.Node, unitFile, dir string) {
	n.WriteFile("/etc/systemd/system/k3s.service", unitFile)
	n.AddProcess(90, layouttest.UnitCgroup("k3s.service"), "/usr/local/bin/k3s server")
	n.AddProcess(95, layouttest.UnitCgroup("k3s.service"), "containerd", "-c", dir+"/agent/etc/containerd/config.toml")
	n.AddProcess(99, "/user.slice/user-0.slice/session-1.scope", "/usr/local/bin/k3s", "kubectl", "get", "nodes")
	tls := dir + "/server/tls/"
	n.WriteFile(dir+"/server/db/etcd/config", "listen-client-urls: https://127.0.0.1:2379,https://10.0.0.11:2379\nlisten-metrics-urls: http://127.0.0.1:2381\nlisten-peer-urls: https://10.0.0.11:2380\n"+
		"client-transport-security: {cert-file: "+tls+"etcd/server-client.crt, key-file: "+tls+"etcd/server-client.key, client-cert-auth: true, trusted-ca-file: "+tls+"etcd/server-ca.crt}\n"+
		"peer-transport-security: {cert-file: "+tls+"etcd/peer-server-client.crt, key-file: "+tls+"etcd/peer-server-client.key, trusted-ca-file: "+tls+"etcd/peer-ca.crt}\n")
	for file, pair := range map[string]string{
		"server/cred/api-server": "server/tls/client-kube-apiserver", "server/cred/controller": "server/tls/client-controller",
		"server/cred/scheduler": "server/tls/client-scheduler", "server/cred/admin": "server/tls/client-admin",
		"agent/kubelet": "agent/client-kubelet", "agent/kubeproxy": "agent/client-kube-proxy",
	} {
		n.WriteFile(dir+"/"+file+".kubeconfig", pointingKubeconfig(dir+"/"+pair+".crt", dir+"/"+pair+".key"))
	}
}

// TestComponentsOfK3sShareItsProcess finds the components of a server, with the certificates that
// K3s gives to them.
func TestComponentsOfK3sShareItsProcess(t *testing.T) {
	const dir = "/var/lib/rancher/k3s"
	const tls = dir + "/server/tls/"
	n := layouttest.NewNode(t)
	k3sServer(n, k3sUnitFile, dir)
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l,
		"etcd etcd-server Pair "+tls+"etcd/server-client.crt "+tls+"etcd/server-client.key",
		"etcd etcd-peer Pair "+tls+"etcd/peer-server-client.crt "+tls+"etcd/peer-server-client.key",
		"kubelet kubelet-client Pair "+dir+"/agent/client-kubelet.crt "+dir+"/agent/client-kubelet.key",
		"kubelet kubelet-server Pair "+dir+"/agent/serving-kubelet.crt "+dir+"/agent/serving-kubelet.key",
		"kube-apiserver apiserver Pair "+tls+"serving-kube-apiserver.crt "+tls+"serving-kube-apiserver.key",
		"kube-apiserver apiserver-etcd-client Pair "+tls+"etcd/client.crt "+tls+"etcd/client.key",
		"kube-apiserver apiserver-kubelet-client Pair "+tls+"client-kube-apiserver.crt "+tls+"client-kube-apiserver.key",
		"kube-apiserver front-proxy-client Pair "+tls+"client-auth-proxy.crt "+tls+"client-auth-proxy.key",
		"kube-proxy kube-proxy.conf Pair "+dir+"/agent/client-kube-proxy.crt "+dir+"/agent/client-kube-proxy.key",
		"kube-scheduler scheduler.conf Pair "+tls+"client-scheduler.crt "+tls+"client-scheduler.key",
		"kube-controller-manager controller-manager.conf Pair "+tls+"client-controller.crt "+tls+"client-controller.key",
		"admin admin.kubeconfig Pair "+tls+"client-admin.crt "+tls+"client-admin.key",
	)
	parts := map[string]string{"etcd-server": "etcd", "etcd-peer": "etcd", "apiserver-etcd-client": "etcd", "apiserver": "api-server", "apiserver-kubelet-client": "api-server",
		"front-proxy-client": "auth-proxy", "controller-manager.conf": "controller-manager", "scheduler.conf": "scheduler", "admin.kubeconfig": "admin",
		"kubelet-client": "kubelet", "kubelet-server": "kubelet", "kube-proxy.conf": "kube-proxy"}
	for _, c := range l.Node.Certificates {
		want := inventory.Issuer{Kind: inventory.UnitCommand, Unit: "k3s.service", Part: parts[c.Name], Command: "/usr/local/bin/k3s certificate rotate --data-dir=" + dir, Backups: dir + "/server"}
		if c.Issuer != want || c.Reason != "" {
			t.Errorf("%s: %+v %q, want %+v", c.Name, c.Issuer, c.Reason, want)
		}
	}
	if len(l.Node.Components) != 6 {
		t.Errorf("components: %+v", l.Node.Components)
	}
	for _, c := range l.Node.Components {
		healthy := slices.Contains([]certs.Service{certs.Etcd, certs.KubeAPIServer, certs.Kubelet}, c.Service)
		if c.Runtime != inventory.Supervised || c.Unit != "k3s.service" || c.PID != 90 || c.GraceSeconds != 120 || (c.Health != "") != healthy {
			t.Errorf("%s: %+v", c.Service, c)
		}
	}
	server := l.Node.ComponentOf(certs.KubeAPIServer)
	if server.Health != "https://127.0.0.1:6444/readyz" || server.APIServer != "127.0.0.1:6443" {
		t.Errorf("API server: health %q, reached at %q", server.Health, server.APIServer)
	}
	if len(l.KeyUses) > 0 && slices.ContainsFunc(l.KeyUses, func(u inventory.KeyUse) bool { return strings.Contains(u.Setting, "tls-private-key") }) {
		t.Errorf("uses of keys: %+v", l.KeyUses)
	}
}

// TestSettingsOfK3sAreFollowed: in files, variables and on the command line of the unit, which
// takes precedence.
func TestSettingsOfK3sAreFollowed(t *testing.T) {
	for name, tt := range map[string]struct {
		unitFile, dir, env, config, dropIn string
		check                              func(t *testing.T, l Layout)
	}{
		"the data directory, in a file": {k3sUnitFile, "/data/k3s", "", "data-dir: /data/k3s\n", "", nil},
		"in another file":               {k3sUnitFile, "/data/k3s", "K3S_CONFIG_FILE=/etc/k3s.yaml\n", "", "", nil},
		"in a drop-in":                  {k3sUnitFile, "/data/k3s", "", "data-dir: /other\n", "data-dir: /data/k3s\n", nil},
		"in a variable":                 {k3sUnitFile, "/data/k3s", "K3S_DATA_DIR=/data/k3s\n", "", "", nil},
		"on the command line":           {strings.Replace(k3sUnitFile, "server", "server --data-dir /data/k3s", 1), "/data/k3s", "", "data-dir: /other\n", "", nil},
		"the port": {k3sUnitFile, "/var/lib/rancher/k3s", "", "https-listen-port: 8443\n", "", func(t *testing.T, l Layout) {
			if c := l.Node.ComponentOf(certs.KubeAPIServer); c.Health != "https://127.0.0.1:8444/readyz" || c.APIServer != "127.0.0.1:8443" {
				t.Errorf("API server: %+v", c)
			}
		}},
		"what does not run": {k3sUnitFile, "/var/lib/rancher/k3s", "", "disable-scheduler: true\ndisable-etcd: false\n", "", func(t *testing.T, l Layout) {
			if l.Node.ComponentOf(certs.KubeScheduler) != nil || l.Node.ComponentOf(certs.Etcd) == nil {
				t.Errorf("components: %+v", l.Node.Components)
			}
		}},
		"etcd outside": {k3sUnitFile, "/var/lib/rancher/k3s", "", "datastore-endpoint: 'https://10.0.0.9:2379,https://10.0.0.8:2379'\ndatastore-certfile: /etc/ds.crt\ndatastore-keyfile: /etc/ds.key\n", "", func(t *testing.T, l Layout) {
			if c := findCertificate(t, l, "apiserver-etcd-client"); c.Store.Cert != "/etc/ds.crt" || c.Issuer.Kind != inventory.NoIssuer || l.Node.ComponentOf(certs.Etcd) != nil {
				t.Errorf("apiserver-etcd-client: %+v", c)
			}
		}},
		"flags of a component": {k3sUnitFile, "/var/lib/rancher/k3s", "", "kube-apiserver-arg: [v=2, tls-cert-file=/own.crt, tls-private-key-file=/own.key]\n", "", func(t *testing.T, l Layout) {
			if c := findCertificate(t, l, "apiserver"); c.Store.Cert != "/own.crt" || c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, "does not renew this certificate") {
				t.Errorf("apiserver: %+v", c)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			k3sServer(n, tt.unitFile, tt.dir)
			n.WriteFile("/etc/systemd/system/k3s.service.env", tt.env)
			n.WriteFile("/etc/k3s.yaml", "data-dir: /data/k3s\n")
			n.WriteFile("/etc/rancher/k3s/config.yaml", tt.config)
			if tt.dropIn != "" {
				n.WriteFile("/etc/rancher/k3s/config.yaml.d/10-own.yaml", tt.dropIn)
			}
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			if c := findCertificate(t, l, "kubelet-client"); c.Issuer.Command != "/usr/local/bin/k3s certificate rotate --data-dir="+tt.dir || c.Reason != "" {
				t.Errorf("kubelet-client: %+v %q", c.Issuer, c.Reason)
			}
			if tt.check != nil {
				tt.check(t, l)
			}
		})
	}
}

func TestAgentOfK3sHasNoControlPlane(t *testing.T) {
	const dir = "/var/lib/rancher/k3s"
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/k3s-agent.service", "[Service]\nKillMode=process\nExecStart=/usr/local/bin/k3s agent\n")
	n.AddProcess(90, layouttest.UnitCgroup("k3s-agent.service"), "/usr/local/bin/k3s agent")
	n.WriteFile(dir+"/server/cred/scheduler.kubeconfig", "of a server that this node was before")
	for file, pair := range map[string]string{"kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy"} {
		n.WriteFile(dir+"/agent/"+file+".kubeconfig", pointingKubeconfig(dir+"/agent/"+pair+".crt", dir+"/agent/"+pair+".key"))
	}
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	if len(l.Node.Components) != 2 || len(l.Node.Certificates) != 3 || l.Node.ControlPlane() {
		t.Errorf("components %+v, certificates %+v", l.Node.Components, l.Node.Certificates)
	}
	for _, c := range l.Node.Certificates {
		if c.Issuer.Kind != inventory.UnitCommand || c.Issuer.Unit != "k3s-agent.service" {
			t.Errorf("%s: %+v %q", c.Name, c.Issuer, c.Reason)
		}
	}
}

// TestK3sWithoutAUnitOfRootIsNotInspected: nothing could stop it and start it again.
func TestK3sWithoutAUnitOfRootIsNotInspected(t *testing.T) {
	for name, build := range map[string]func(n *layouttest.Node){
		"started by hand": func(n *layouttest.Node) {
			n.AddProcess(40, "/user.slice/user-0.slice/session-1.scope", "/usr/local/bin/k3s server")
		},
		"without root": func(n *layouttest.Node) {
			n.WriteFile("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s server --rootless\n")
			n.AddProcess(40, layouttest.UnitCgroup("k3s.service"), "/usr/local/bin/k3s server")
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			build(n)
			l := DiscoverNode(n.Root, Options{})
			if len(l.Node.NotInspected) != 1 || !strings.Contains(l.Node.NotInspected[0].Reason, "k3s certificate rotate") || len(l.Node.Components) > 0 {
				t.Errorf("not inspected %+v, components %+v", l.Node.NotInspected, l.Node.Components)
			}
		})
	}
}
