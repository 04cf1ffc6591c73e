package layout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// summarize describes a certificate in one line: its services, its name and its files.
func summarize(c inventory.Certificate) string {
	users := make([]string, len(c.UsedBy))
	for i, s := range c.UsedBy {
		users[i] = string(s)
	}
	out := fmt.Sprintf("%s %s %s %s", strings.Join(users, "+"), c.Name, c.Store.Kind, c.Store.Cert)
	if c.Store.Key != "" {
		out += " " + c.Store.Key
	}
	if c.Store.User != "" {
		out += " #" + c.Store.User
	}
	return out
}

// expectCertificates compares a node's certificates with their summaries.
func expectCertificates(t *testing.T, l Layout, want ...string) {
	t.Helper()
	var got []string
	for _, c := range l.Node.Certificates {
		got = append(got, summarize(c))
	}
	if !slices.Equal(got, want) {
		t.Errorf("certificates:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// expectInspected fails if a file could not be inspected.
func expectInspected(t *testing.T, l Layout) {
	t.Helper()
	for _, x := range l.Node.NotInspected {
		t.Errorf("not inspected: %s %s: %s", x.Service, x.Path, x.Reason)
	}
}

// findCertificate returns the certificate of a name.
func findCertificate(t *testing.T, l Layout, name string) inventory.Certificate {
	t.Helper()
	for _, c := range l.Node.Certificates {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no certificate %q", name)
	return inventory.Certificate{}
}

// embeddedKubeconfig is one with an embedded certificate, without being one that parses.
func embeddedKubeconfig(user string) string {
	return `kind: Config
clusters: [{name: c, cluster: {server: "https://10.0.0.11:6443", certificate-authority-data: Q0E=}}]
contexts: [{name: x, context: {cluster: c, user: "` + user + `"}}]
current-context: x
users: [{name: "` + user + `", user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}]
`
}

// pointingKubeconfig is a kubeconfig that names files.
func pointingKubeconfig(cert, key string) string {
	return `kind: Config
clusters: [{name: c, cluster: {server: "https://10.0.0.10", certificate-authority: ca.pem}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
users: [{name: u, user: {client-certificate: ` + cert + `, client-key: ` + key + `}}]
`
}

// kubeadmFiles writes the files that discovery of a kubeadm node reads.
func kubeadmFiles(n *layouttest.Node) {
	for _, name := range []string{"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf"} {
		n.WriteFile("/etc/kubernetes/"+name, embeddedKubeconfig(strings.TrimSuffix(name, ".conf")))
	}
	current := "/var/lib/kubelet/pki/kubelet-client-current.pem"
	n.WriteFile("/etc/kubernetes/kubelet.conf", pointingKubeconfig(current, current))
	n.WriteFile("/var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem", "")
	n.LinkFile(current, "/var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem")
	n.WriteFile("/var/lib/kubelet/pki/kubelet.crt", "")
	n.WriteFile("/var/lib/kubelet/pki/kubelet.key", "")
}

func TestDiscoverKubeadm(t *testing.T) {
	for _, pki := range []string{"/etc/kubernetes/pki", "/srv/tls"} {
		t.Run(pki, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.AddKubeadm(pki)
			kubeadmFiles(n)
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			expectCertificates(t, l,
				"etcd etcd-server Pair "+pki+"/etcd/server.crt "+pki+"/etcd/server.key",
				"etcd etcd-peer Pair "+pki+"/etcd/peer.crt "+pki+"/etcd/peer.key",
				"kubelet kubelet-client Combined /var/lib/kubelet/pki/kubelet-client-current.pem",
				"kubelet kubelet-server Pair /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.key",
				"kube-apiserver apiserver Pair "+pki+"/apiserver.crt "+pki+"/apiserver.key",
				"kube-apiserver apiserver-etcd-client Pair "+pki+"/apiserver-etcd-client.crt "+pki+"/apiserver-etcd-client.key",
				"kube-apiserver apiserver-kubelet-client Pair "+pki+"/apiserver-kubelet-client.crt "+pki+"/apiserver-kubelet-client.key",
				"kube-apiserver front-proxy-client Pair "+pki+"/front-proxy-client.crt "+pki+"/front-proxy-client.key",
				"kube-scheduler scheduler.conf Kubeconfig /etc/kubernetes/scheduler.conf #scheduler",
				"kube-controller-manager controller-manager.conf Kubeconfig /etc/kubernetes/controller-manager.conf #controller-manager",
				"admin admin.conf Kubeconfig /etc/kubernetes/admin.conf #admin",
				"admin super-admin.conf Kubeconfig /etc/kubernetes/super-admin.conf #super-admin",
			)
		})
	}
}

func TestDiscoverFindsHowComponentsRun(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	l := DiscoverNode(n.Root, Options{NodeName: "cp1"})
	if l.Node.Name != "cp1" || l.Node.CRISocket != "/run/containerd/containerd.sock" || l.Node.KubeletConf != "/etc/kubernetes/kubelet.conf" {
		t.Errorf("node %q, CRI %q, kubelet.conf %q", l.Node.Name, l.Node.CRISocket, l.Node.KubeletConf)
	}
	started := time.Unix(1700000100, 0).UTC()
	for _, want := range []inventory.Component{
		{Service: certs.Etcd, Runtime: inventory.StaticPod, Manifest: "/etc/kubernetes/manifests/etcd.yaml", PID: 400, Health: "http://127.0.0.1:2381/health"},
		{Service: certs.KubeAPIServer, Runtime: inventory.StaticPod, Manifest: "/etc/kubernetes/manifests/kube-apiserver.yaml", PID: 401, Health: "https://127.0.0.1:6443/readyz", APIServer: "10.0.0.11:6443"},
		{Service: certs.KubeControllerManager, Runtime: inventory.StaticPod, Manifest: "/etc/kubernetes/manifests/kube-controller-manager.yaml", PID: 402, Health: "https://127.0.0.1:10257/healthz"},
		{Service: certs.KubeScheduler, Runtime: inventory.StaticPod, Manifest: "/etc/kubernetes/manifests/kube-scheduler.yaml", PID: 403, Health: "https://127.0.0.1:10259/healthz"},
		{Service: certs.Kubelet, Runtime: inventory.Systemd, Unit: "kubelet.service", PID: 300, Health: "http://127.0.0.1:10248/healthz"},
		{Service: certs.KubeProxy, Runtime: inventory.DaemonSet, PID: 500, Health: "http://127.0.0.1:10256/healthz"},
	} {
		got := l.Node.ComponentOf(want.Service)
		if got == nil {
			t.Errorf("%s was not found", want.Service)
			continue
		}
		if got.Runtime != want.Runtime || got.Manifest != want.Manifest || got.Unit != want.Unit || got.PID != want.PID || got.Health != want.Health || got.APIServer != want.APIServer {
			t.Errorf("%s: %+v\nwant %+v", want.Service, *got, want)
		}
		if got.StartedAt == nil || !got.StartedAt.Equal(started) {
			t.Errorf("%s: started %v, want %v", want.Service, got.StartedAt, started)
		}
	}
	proxy := l.Node.ComponentOf(certs.KubeProxy)
	if !strings.Contains(proxy.Note, "no certificate") || proxy.PodName != "kube-proxy-abcde" || proxy.PodNamespace != "kube-system" {
		t.Errorf("kube-proxy: %+v", proxy)
	}
}

func TestDiscoverFindsWhereToVerify(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	l := DiscoverNode(n.Root, Options{})
	for name, want := range map[string]inventory.Client{
		"etcd-peer":                {Kind: inventory.ToEtcd, Address: "10.0.0.11:2380", CAFile: "/etc/kubernetes/pki/etcd/ca.crt"},
		"apiserver-etcd-client":    {Kind: inventory.ToEtcd, Address: "127.0.0.1:2379", CAFile: "/etc/kubernetes/pki/etcd/ca.crt"},
		"apiserver-kubelet-client": {Kind: inventory.ToKubelet, Address: "127.0.0.1:10250"},
		"front-proxy-client":       {Kind: inventory.ToAPIServerAsProxy, Address: "127.0.0.1:6443"},
		"scheduler.conf":           {Kind: inventory.ToAPIServer, Address: "10.0.0.11:6443", CAFile: "/etc/kubernetes/scheduler.conf"},
		"kubelet-client":           {Kind: inventory.ToAPIServer, Address: "10.0.0.10:443", CAFile: "/etc/kubernetes/ca.pem"},
	} {
		got := findCertificate(t, l, name).Client
		if got == nil || *got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	var addresses []string
	for _, name := range []string{"etcd-server", "etcd-peer", "apiserver", "kubelet-server"} {
		for _, s := range findCertificate(t, l, name).Served {
			addresses = append(addresses, s.Address)
		}
	}
	want := []string{"127.0.0.1:2379", "10.0.0.11:2379", "10.0.0.11:2380", "127.0.0.1:6443", "127.0.0.1:10250"}
	if !slices.Equal(addresses, want) {
		t.Errorf("served at %q, want %q", addresses, want)
	}
}

func TestNodeName(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	client := ca.Leaf(t, certstest.Name("system:node:cp1.example", "system:nodes"))
	kubelet := func(n *layouttest.Node, flags ...string) {
		n.AddProcess(9, layouttest.UnitCgroup("kubelet.service"), append([]string{"kubelet", "--kubeconfig=/k.conf"}, flags...)...)
	}
	for _, tt := range []struct {
		name, given, want string
		build             func(n *layouttest.Node)
	}{
		{"as given", "given", "given", func(n *layouttest.Node) { kubelet(n, "--hostname-override=x") }},
		{"from an embedded certificate", "", "cp1.example", func(n *layouttest.Node) {
			kubelet(n, "--hostname-override=x")
			n.WriteFile("/k.conf", string(certstest.Kubeconfig(t, ca, "u", client)))
		}},
		{"from a certificate's file", "", "cp1.example", func(n *layouttest.Node) {
			kubelet(n)
			n.WriteFile("/k.conf", pointingKubeconfig("c.pem", "c.key"))
			n.WriteFile("/c.pem", string(client.CertPEM()))
		}},
		{"from the kubelet's flag", "", "over", func(n *layouttest.Node) { kubelet(n, "--hostname-override=Over") }},
		{"from the host", "", "node-1", func(*layouttest.Node) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			tt.build(n)
			if got := DiscoverNode(n.Root, Options{NodeName: tt.given}).Node.Name; got != tt.want {
				t.Errorf("name %q, want %q", got, tt.want)
			}
		})
	}
}
