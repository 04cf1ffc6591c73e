package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// memberArgs is the command line of an etcd with a directory and a port of its own.
func memberArgs(name, port string) []string {
	return []string{"/usr/local/bin/etcd", "--name=" + name, "--cert-file=/etc/" + name + "/s.crt", "--key-file=/etc/" + name + "/s.key",
		"--listen-client-urls=https://127.0.0.1:" + port}
}

// secondsOf returns the paths of the components that are reported beside others.
func secondsOf(l Layout) (out []string) {
	for _, x := range l.Node.NotInspected {
		if strings.HasPrefix(x.Reason, "a second ") && !x.Informational {
			out = append(out, x.Path)
		}
	}
	return out
}

// TestSecondEtcdIsReported: a second etcd, such as one for events, is named, and the one that the
// API server uses is taken whatever the order of process ids.
func TestSecondEtcdIsReported(t *testing.T) {
	for name, pids := range map[string][]int{"the first is older": {10, 20}, "the first was restarted": {20, 10}} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.WriteFile("/etc/systemd/system/etcd-main.service", "[Service]\nExecStart=/usr/local/bin/etcd\n")
			n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nExecStart=/usr/local/bin/etcd\n")
			n.AddProcess(pids[0], layouttest.UnitCgroup("etcd-main.service"), memberArgs("main", "2379")...)
			n.AddProcess(pids[1], layouttest.UnitCgroup("etcd.service"), memberArgs("events", "2382")...)
			n.AddProcess(15, layouttest.UnitCgroup("kube-apiserver.service"), "kube-apiserver", "--etcd-servers=https://127.0.0.1:2379",
				"--etcd-servers-overrides=/events#https://127.0.0.1:2382")
			n.AddProcess(30, layouttest.UnitCgroup("cron.service"), "/usr/local/bin/etcd", "--version")
			n.AddProcess(31, "/user.slice/session-1.scope", memberArgs("by-hand", "9999")...)
			l := DiscoverNode(n.Root, Options{})
			expectCertificates(t, l, "etcd etcd-server Pair /etc/main/s.crt /etc/main/s.key")
			if got := secondsOf(l); !slices.Equal(got, []string{"/etc/systemd/system/etcd.service"}) {
				t.Errorf("reported %q of %+v", got, l.Node.NotInspected)
			}
		})
	}
}

func TestSecondManifestOfAComponent(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  string
		want []string
	}{
		"a pod of its own":     {"etcd-events", []string{"/etc/kubernetes/manifests/second.yaml"}},
		"a copy, with one pod": {"etcd", nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.AddKubeadm("/etc/kubernetes/pki")
			kubeadmFiles(n)
			n.WriteFile("/etc/kubernetes/manifests/second.yaml", layouttest.ManifestFor(tt.pod, memberArgs("events", "2382"), []string{"/etc/events"}))
			if got := secondsOf(DiscoverNode(n.Root, Options{})); !slices.Equal(got, tt.want) {
				t.Errorf("reported %q, want %q", got, tt.want)
			}
		})
	}
}

// TestProxyOfEtcdIsNoMember: etcd's own proxies serve no data, and a worker with one has no
// control plane.
func TestProxyOfEtcdIsNoMember(t *testing.T) {
	for _, command := range [][]string{{"gateway", "start"}, {"grpc-proxy", "start"}} {
		n := layouttest.NewNode(t)
		n.KubeadmWorker()
		kubeadmFiles(n)
		n.WriteFile("/etc/etcd/client.pem", "")
		line := slices.Concat([]string{"/usr/local/bin/etcd"}, command, []string{"--endpoints=https://10.0.0.1:2379", "--cert=/etc/etcd/client.pem", "--cert-file=/etc/etcd/p.pem"})
		n.WriteFile("/etc/systemd/system/etcd-proxy.service", "[Service]\nExecStart="+strings.Join(line, " ")+"\n")
		n.AddProcess(90, layouttest.UnitCgroup("etcd-proxy.service"), line...)
		n.AddProcess(91, layouttest.UnitCgroup("wrapped.service"), append([]string{"/opt/start", "--"}, line...)...)
		n.AddProcess(92, layouttest.UnitCgroup("script.service"), "sh", "-c", "exec "+strings.Join(line, " "))
		l := DiscoverNode(n.Root, Options{})
		if c := l.Node.ComponentOf(certs.Etcd); c != nil || l.Node.ControlPlane() {
			t.Errorf("%q is component %+v", command, c)
		}
		if users := l.OtherUsers(n.Root, inventory.Store{Cert: "/etc/etcd/client.pem"}); len(users) != 1 || users[0].Name != "etcd-proxy.service" {
			t.Errorf("%q: its certificate is used by %+v", command, users)
		}
	}
}

// TestClustersInContainersAreNotTheNodes: the nodes of test clusters are containers, whose
// components run on this node as well.
func TestClustersInContainersAreNotTheNodes(t *testing.T) {
	const control = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + "00112233445566778899aabbccddeeff" + ".slice/cri-containerd-"
	id := strings.Repeat("e", 64)
	for name, machine := range map[string]string{
		"Docker":                     "/system.slice/docker-" + id + ".scope",
		"Docker, cgroup v1":          "/docker/" + id,
		"podman":                     "/machine.slice/libpod-" + id + ".scope/container",
		"Docker in a pod":            layouttest.PodCgroup("0a1b2c3d-0001-4002-8003-0000000000aa") + "/docker/" + id,
		"a pod that starts units":    layouttest.PodCgroup("0a1b2c3d-0001-4002-8003-0000000000aa"),
		"a machine of LXC":           "/lxc.payload.c1",
		"a machine of systemd":       "/machine.slice/machine-c1.scope/payload",
		"a machine of nspawn's unit": "/machine.slice/systemd-nspawn@c1.service/payload",
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.KubeadmWorker()
			kubeadmFiles(n)
			before := DiscoverNode(n.Root, Options{})
			n.AddProcess(200, machine+"/system.slice/kubelet.service", "/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/x.yaml")
			n.AddProcess(201, machine+control+id+".scope", "kube-apiserver", "--tls-cert-file=/x.crt", "--tls-private-key-file=/x.key")
			n.AddProcess(202, machine+"/system.slice/etcd.service", memberArgs("test", "2379")...)
			l := DiscoverNode(n.Root, Options{})
			if len(l.Node.Components) != len(before.Node.Components) || l.Node.ControlPlane() || l.Node.ComponentOf(certs.Kubelet).PID != 300 {
				t.Errorf("components %+v", l.Node.Components)
			}
			expectInspected(t, l)
		})
	}
}

// TestTenantsK3sIsNotTheNodes: a virtual cluster runs K3s in a pod.
func TestTenantsK3sIsNotTheNodes(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	n.AddProcess(200, layouttest.PodCgroup("0a1b2c3d-0001-4002-8003-0000000000aa"), "/bin/k3s", "server")
	if l := DiscoverNode(n.Root, Options{}); len(l.Node.NotInspected) > 0 {
		t.Errorf("not inspected: %+v", l.Node.NotInspected)
	}
}

// TestFilesOfContainersAreTheirMounts: containers of podman in a unit, which systemd restarts, and
// of programs that are not known.
func TestFilesOfContainersAreTheirMounts(t *testing.T) {
	id := strings.Repeat("a", 64)
	for cgroup, want := range map[string]inventory.RuntimeKind{
		"/system.slice/etcd.service/libpod-payload-" + id: inventory.Systemd,
		"/machine.slice/libpod-" + id + ".scope":          inventory.None,
		"/system.slice/nerdctl-" + id + ".scope":          inventory.None,
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/proc/1/mountinfo", "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
		n.AddProcess(90, cgroup, memberArgs("pki", "2379")...)
		n.WriteFile("/proc/90/mountinfo", "40 1 0:50 / / rw - overlay overlay rw\n41 40 8:1 /srv/etcd /etc/pki rw - ext4 /dev/sda1 rw\n")
		l := DiscoverNode(n.Root, Options{})
		expectCertificates(t, l, "etcd etcd-server Pair /srv/etcd/s.crt /srv/etcd/s.key")
		if c := l.Node.ComponentOf(certs.Etcd); c.Runtime != want {
			t.Errorf("%s: runtime %s, want %s", cgroup, c.Runtime, want)
		}
	}
}
