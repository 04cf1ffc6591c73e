package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestDiscoverTheHardWay is a cluster of systemd units in which one pair serves
// several purposes, and the kubelet runs without static pods.
func TestDiscoverTheHardWay(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nWorkingDirectory=/etc/etcd\nExecStart=/usr/local/bin/etcd --name c0\n")
	n.AddProcess(10, layouttest.UnitCgroup("etcd.service"), "/usr/local/bin/etcd", "--name", "c0",
		"--cert-file=/etc/etcd/kubernetes.pem", "--key-file", "/etc/etcd/kubernetes-key.pem",
		"--peer-cert-file=kubernetes.pem", "--peer-key-file=kubernetes-key.pem", "--trusted-ca-file=/etc/etcd/ca.pem",
		"--peer-trusted-ca-file=/etc/etcd/ca.pem", "--listen-client-urls", "https://10.240.0.10:2379,https://127.0.0.1:2379",
		"--listen-peer-urls=https://0.0.0.0:2380")
	n.LinkFile("/var/lib/kubernetes/kubernetes.pem", "/etc/etcd/kubernetes.pem")
	n.LinkFile("/var/lib/kubernetes/kubernetes-key.pem", "/etc/etcd/kubernetes-key.pem")
	n.WriteFile("/etc/etcd/kubernetes.pem", "")
	n.WriteFile("/etc/etcd/kubernetes-key.pem", "")
	n.AddProcess(11, layouttest.UnitCgroup("kube-apiserver.service"), "/usr/local/bin/kube-apiserver", "--bind-address=0.0.0.0",
		"--client-ca-file=/var/lib/kubernetes/ca.pem", "--etcd-servers=https://10.240.0.10:2379,https://10.240.0.11:2379",
		"--etcd-certfile=/var/lib/kubernetes/kubernetes.pem", "--etcd-keyfile=/var/lib/kubernetes/kubernetes-key.pem",
		"--tls-cert-file=/var/lib/kubernetes/kubernetes.pem", "--tls-private-key-file=/var/lib/kubernetes/kubernetes-key.pem",
		"--kubelet-client-certificate=/var/lib/kubernetes/kubernetes.pem", "--kubelet-client-key=/var/lib/kubernetes/kubernetes-key.pem",
		"--tls-sni-cert-key=/srv/pub.pem,/srv/pub.key:api.example.com,*.example.com")
	n.AddProcess(12, layouttest.UnitCgroup("kube-scheduler.service"), "/usr/local/bin/kube-scheduler", "--config=/etc/kubernetes/config/kube-scheduler.yaml")
	n.WriteFile("/etc/kubernetes/config/kube-scheduler.yaml", "kind: KubeSchedulerConfiguration\nclientConnection:\n  kubeconfig: \"/var/lib/kubernetes/kube-scheduler.kubeconfig\"\n")
	n.WriteFile("/var/lib/kubernetes/kube-scheduler.kubeconfig", embeddedKubeconfig("system:kube-scheduler"))
	n.WriteFile("/var/lib/kubernetes/admin.kubeconfig", embeddedKubeconfig("admin"))
	n.AddProcess(13, layouttest.UnitCgroup("kubelet.service"), "/usr/local/bin/kubelet", "--config=/var/lib/kubelet/kubelet-config.yaml", "--kubeconfig=/var/lib/kubelet/kubeconfig")
	n.WriteFile("/var/lib/kubelet/kubelet-config.yaml", "tlsCertFile: worker.pem\ntlsPrivateKeyFile: worker-key.pem\nauthentication: {x509: {clientCAFile: /var/lib/kubernetes/ca.pem}}\n")
	n.WriteFile("/var/lib/kubelet/kubeconfig", pointingKubeconfig("worker.pem", "worker-key.pem"))
	n.AddProcess(14, layouttest.UnitCgroup("kube-proxy.service"), "/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/kube-proxy-config.yaml")
	n.WriteFile("/var/lib/kube-proxy/kube-proxy-config.yaml", "clientConnection:\n  kubeconfig: kubeconfig\nhealthzBindAddress: 0.0.0.0:10999\n")
	n.WriteFile("/var/lib/kube-proxy/kubeconfig", embeddedKubeconfig("system:kube-proxy"))

	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l,
		"etcd+kube-apiserver etcd-server Pair /etc/etcd/kubernetes.pem /etc/etcd/kubernetes-key.pem",
		"kubelet kubelet-client Pair /var/lib/kubelet/worker.pem /var/lib/kubelet/worker-key.pem",
		"kube-apiserver apiserver-sni Pair /srv/pub.pem /srv/pub.key",
		"kube-proxy kube-proxy.conf Kubeconfig /var/lib/kube-proxy/kubeconfig #system:kube-proxy",
		"kube-scheduler scheduler.conf Kubeconfig /var/lib/kubernetes/kube-scheduler.kubeconfig #system:kube-scheduler",
		"admin admin.kubeconfig Kubeconfig /var/lib/kubernetes/admin.kubeconfig #admin",
	)
	shared := findCertificate(t, l, "etcd-server")
	if shared.Service != certs.Etcd || len(shared.Served) != 4 {
		t.Errorf("the shared pair: owner %s, served %+v", shared.Service, shared.Served)
	}
	if got := findCertificate(t, l, "apiserver-sni").Served; len(got) != 1 || got[0].ServerName != "api.example.com" {
		t.Errorf("SNI pair served as %+v", got)
	}
	if got := l.Node.ComponentOf(certs.KubeProxy).Health; got != "http://127.0.0.1:10999/healthz" {
		t.Errorf("kube-proxy's health %q", got)
	}
	if l.Node.Name != "node-1" {
		t.Errorf("node name %q, want the host's in lower case", l.Node.Name)
	}
}

// TestDiscoverStoppedUnits is such a cluster with nothing running.
func TestDiscoverStoppedUnits(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nEnvironmentFile=-/etc/etcd.env\nExecStart=/usr/local/bin/etcd\n")
	n.WriteFile("/etc/etcd.env", "ETCD_CERT_FILE=/etc/ssl/etcd/ssl/member-n1.pem\nETCD_KEY_FILE=/etc/ssl/etcd/ssl/member-n1-key.pem\nETCD_LISTEN_CLIENT_URLS=https://10.0.0.1:2379\n")
	n.WriteFile("/etc/systemd/system/apiserver.service", "[Service]\nExecStart=/usr/local/bin/kube-apiserver \\\n  --tls-cert-file=/pki/a.pem \\\n  --tls-private-key-file=/pki/a-key.pem\n")
	n.WriteFile("/usr/lib/systemd/system/kube-proxy.service", "[Service]\nExecStart=/usr/bin/kube-proxy --kubeconfig=/etc/p.conf\n") // of a package, not enabled
	n.WriteFile("/lib/systemd/system/kubelet.service", "[Service]\nEnvironment='X=--kubeconfig=/etc/k.conf --cert-dir=/var/k'\nExecStart=/usr/bin/kubelet $X\n")
	n.LinkFile("/etc/systemd/system/multi-user.target.wants/kubelet.service", "/lib/systemd/system/kubelet.service")
	n.WriteFile("/etc/k.conf", embeddedKubeconfig("system:node:n1"))
	n.WriteFile("/var/k/kubelet.crt", "")
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l,
		"etcd etcd-server Pair /etc/ssl/etcd/ssl/member-n1.pem /etc/ssl/etcd/ssl/member-n1-key.pem",
		"kubelet kubelet-client Kubeconfig /etc/k.conf #system:node:n1",
		"kubelet kubelet-server Pair /var/k/kubelet.crt /var/k/kubelet.key",
		"kube-apiserver apiserver Pair /pki/a.pem /pki/a-key.pem",
	)
	for _, c := range l.Node.Components {
		if c.Runtime != inventory.Systemd || c.PID != 0 || !strings.Contains(c.Note, "does not run") {
			t.Errorf("%s: %+v", c.Service, c)
		}
	}
	if got := l.Node.ComponentOf(certs.KubeAPIServer).Unit; got != "apiserver.service" {
		t.Errorf("the API server's unit is %q", got)
	}
}

func TestDiscoverStoppedStaticPods(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	n.WriteFile("/etc/kubernetes/manifests/etcd.yaml", layouttest.ManifestFor("etcd", layouttest.ControlPlaneArgs(certs.Etcd, "/p"), layouttest.MountsOf(certs.Etcd, "/p")))
	n.WriteFile("/etc/kubernetes/manifests/.etcd.yaml.swp", "what an editor left")
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	if c := l.Node.ComponentOf(certs.Etcd); c == nil || c.Runtime != inventory.StaticPod || c.PID != 0 || c.Note != "does not run" {
		t.Errorf("etcd: %+v", c)
	}
	findCertificate(t, l, "etcd-server")
}

// TestDiscoverRKE2 has unusual directories, a kubelet below another program's unit,
// drop-ins, etcd's settings in a file, and kubeconfigs that name files.
func TestDiscoverRKE2(t *testing.T) {
	const data = "/var/lib/rancher/rke2"
	n := layouttest.NewNode(t)
	n.WriteFile("/usr/local/lib/systemd/system/rke2-server.service", rke2UnitFile("server"))
	n.AddProcess(20, layouttest.UnitCgroup("rke2-server.service"), "kubelet", "--config-dir="+data+"/agent/etc/kubelet.conf.d", "--kubeconfig="+data+"/agent/kubelet.kubeconfig")
	n.WriteFile(data+"/agent/etc/kubelet.conf.d/00-base.conf", "staticPodPath: "+data+"/agent/pod-manifests\ntlsCertFile: "+data+"/agent/serving-kubelet.crt\ntlsPrivateKeyFile: "+data+"/agent/other.key\nport: 10250\n")
	n.WriteFile(data+"/agent/etc/kubelet.conf.d/90-own.conf", "tlsPrivateKeyFile: "+data+"/agent/serving-kubelet.key\naddress: 192.168.1.5\nhealthzPort: 0\n")
	n.WriteFile(data+"/agent/etc/kubelet.conf.d/README", "not a drop-in: {{{")
	n.WriteFile(data+"/agent/kubelet.kubeconfig", pointingKubeconfig(data+"/agent/client-kubelet.crt", data+"/agent/client-kubelet.key"))
	n.WriteFile(data+"/agent/pod-manifests/etcd.yaml", layouttest.ManifestFor("etcd", []string{"etcd", "--config-file=" + data + "/server/db/etcd/config"}, []string{data + "/server/db/etcd", data + "/server/tls/etcd"}))
	n.WriteFile(data+"/server/db/etcd/config", `listen-client-urls: https://127.0.0.1:2379,https://192.168.1.5:2379
listen-metrics-urls: http://127.0.0.1:2381
listen-peer-urls: https://192.168.1.5:2380
client-transport-security: {cert-file: `+data+`/server/tls/etcd/server-client.crt, key-file: `+data+`/server/tls/etcd/server-client.key, client-cert-auth: true, trusted-ca-file: `+data+`/server/tls/etcd/server-ca.crt}
peer-transport-security: {cert-file: `+data+`/server/tls/etcd/peer-server-client.crt, key-file: `+data+`/server/tls/etcd/peer-server-client.key}
`)
	n.WriteFile(data+"/agent/pod-manifests/kcm.yaml", layouttest.ManifestFor("kube-controller-manager",
		[]string{"kube-controller-manager", "--kubeconfig=" + data + "/server/cred/controller.kubeconfig", "--tls-cert-file=" + data + "/server/tls/kcm/kcm.crt", "--tls-private-key-file=" + data + "/server/tls/kcm/kcm.key"}, []string{data + "/server/cred", data + "/server/tls"}))
	n.WriteFile(data+"/server/cred/controller.kubeconfig", pointingKubeconfig("../tls/client-controller.crt", "../tls/client-controller.key"))
	n.WriteFile(data+"/server/cred/admin.kubeconfig", pointingKubeconfig(data+"/server/tls/client-admin.crt", data+"/server/tls/client-admin.key"))

	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l,
		"etcd etcd-server Pair "+data+"/server/tls/etcd/server-client.crt "+data+"/server/tls/etcd/server-client.key",
		"etcd etcd-peer Pair "+data+"/server/tls/etcd/peer-server-client.crt "+data+"/server/tls/etcd/peer-server-client.key",
		"kubelet kubelet-client Pair "+data+"/agent/client-kubelet.crt "+data+"/agent/client-kubelet.key",
		"kubelet kubelet-server Pair "+data+"/agent/serving-kubelet.crt "+data+"/agent/serving-kubelet.key",
		"kube-controller-manager controller-manager.conf Pair "+data+"/server/tls/client-controller.crt "+data+"/server/tls/client-controller.key",
		"kube-controller-manager controller-manager-server Pair "+data+"/server/tls/kcm/kcm.crt "+data+"/server/tls/kcm/kcm.key",
		"admin admin.kubeconfig Pair "+data+"/server/tls/client-admin.crt "+data+"/server/tls/client-admin.key",
	)
	kubelet := l.Node.ComponentOf(certs.Kubelet)
	if kubelet.Runtime != inventory.Supervised || kubelet.Unit != "rke2-server.service" || !strings.Contains(kubelet.Note, "rke2-server.service") || kubelet.Health != "" {
		t.Errorf("kubelet: %+v", kubelet)
	}
	parts := map[string]string{"etcd-server": "etcd", "etcd-peer": "etcd", "kubelet-client": "kubelet", "kubelet-server": "kubelet",
		"controller-manager.conf": "controller-manager", "admin.kubeconfig": "admin"}
	for _, c := range l.Node.Certificates {
		want := inventory.Issuer{Kind: inventory.UnitCommand, Unit: "rke2-server.service", Part: parts[c.Name],
			Command: "/usr/local/bin/rke2 certificate rotate --data-dir=" + data, Backups: data + "/server"}
		if c.Name == "controller-manager-server" {
			want = inventory.Issuer{Kind: inventory.NoIssuer}
		}
		if c.Issuer != want || (c.Reason != "") != (want.Kind == inventory.NoIssuer) {
			t.Errorf("%s: %+v %q, want %+v", c.Name, c.Issuer, c.Reason, want)
		}
	}
	if etcd := l.Node.ComponentOf(certs.Etcd); etcd.Runtime != inventory.StaticPod || etcd.Unit != "rke2-server.service" {
		t.Errorf("etcd: %+v, want a static pod that the unit starts", etcd)
	}
	if got := findCertificate(t, l, "kubelet-server").Served; len(got) != 1 || got[0].Address != "192.168.1.5:10250" {
		t.Errorf("the kubelet is asked at %+v", got)
	}
}

// TestDiscoverDockerContainers is RKE1: components in plain containers, whose paths
// only their mounts explain.
func TestDiscoverDockerContainers(t *testing.T) {
	n := layouttest.NewNode(t)
	container := "/docker/" + strings.Repeat("e", 64)
	n.AddProcess(30, container, "kube-apiserver", "--tls-cert-file=/etc/kubernetes/ssl/a.pem", "--tls-private-key-file=/etc/kubernetes/ssl/a-key.pem", "--etcd-certfile=/in/image.pem", "--etcd-keyfile=/in/image-key.pem")
	n.WriteFile("/proc/1/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 254:2 / /data rw - ext4 /dev/vdb rw\n")
	n.WriteFile("/proc/30/mountinfo", "50 1 0:44 / / rw - overlay overlay rw\n51 50 254:2 /ssl /etc/kubernetes/ssl rw - ext4 /dev/vdb rw\n52 50 0:50 net:[40] /run/netns/x rw - nsfs nsfs rw\n")
	l := DiscoverNode(n.Root, Options{})
	expectCertificates(t, l, "kube-apiserver apiserver Pair /data/ssl/a.pem /data/ssl/a-key.pem")
	if c := l.Node.ComponentOf(certs.KubeAPIServer); c.Runtime != inventory.None || c.Note == "" {
		t.Errorf("kube-apiserver: %+v", c)
	}
	if len(l.Node.NotInspected) != 1 || l.Node.NotInspected[0].Path != "/in/image.pem" {
		t.Errorf("not inspected: %+v", l.Node.NotInspected)
	}
}

func TestWorkloadsAreNotTheNodesComponents(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	tenant := layouttest.PodCgroup("0a1b2c3d-0001-4002-8003-0000000000aa")
	n.WriteFile("/var/log/pods/tenant_etcd-0_0a1b2c3d-0001-4002-8003-0000000000aa/etcd/0.log", "")
	n.AddProcess(600, tenant, "etcd", "--cert-file=/x.crt", "--key-file=/x.key")
	n.AddProcess(601, tenant, "kube-apiserver", "--tls-cert-file=/x.crt", "--tls-private-key-file=/x.key")
	n.AddProcess(602, tenant, "kubelet", "--kubeconfig=/x")
	n.AddProcess(603, "/user.slice/session-1.scope", "less", "kube-scheduler")
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	var services []certs.Service
	for _, c := range l.Node.Components {
		services = append(services, c.Service)
	}
	if !slices.Equal(services, []certs.Service{certs.Kubelet, certs.KubeProxy}) {
		t.Errorf("components: %q", services)
	}
}

func TestBundledDistributionsAreNotInspected(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(40, layouttest.UnitCgroup("k3s.service"), "/usr/local/bin/k3s server")
	n.AddProcess(41, layouttest.UnitCgroup("k3s.service"), "/usr/local/bin/k3s", "agent")
	l := DiscoverNode(n.Root, Options{})
	if len(l.Node.NotInspected) != 1 || !strings.Contains(l.Node.NotInspected[0].Reason, "k3s certificate rotate") {
		t.Errorf("not inspected: %+v", l.Node.NotInspected)
	}
}
