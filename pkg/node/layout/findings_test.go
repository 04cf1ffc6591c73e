package layout

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// reasonOf returns why a path was not inspected, or "".
func reasonOf(l Layout, path string) string {
	for _, x := range l.Node.NotInspected {
		if x.Path == path {
			return x.Reason
		}
	}
	return ""
}

// TestBrokenFilesAreFindings breaks one file after the other: each is named with a
// reason, and everything else is found all the same.
func TestBrokenFilesAreFindings(t *testing.T) {
	for _, tt := range []struct {
		name, path, reason string
		spoil              func(t *testing.T, local string)
		lost               string // the certificate that cannot be found then
	}{
		{"manifest with a slip", "/etc/kubernetes/manifests/etcd.yaml", "parse manifest", textOf("kind: Pod\n\tspec: {"), "etcd-server"},
		{"manifest that is a directory", "/etc/kubernetes/manifests/etcd.yaml", "", makeDirectory, "etcd-server"},
		{"manifest that is a FIFO", "/etc/kubernetes/manifests/etcd.yaml", "not a regular file", makeFIFO, "etcd-server"},
		{"huge manifest", "/etc/kubernetes/manifests/etcd.yaml", "larger than", textOf(strings.Repeat("#", 5<<20)), "etcd-server"},
		{"kubeconfig that is none", "/etc/kubernetes/scheduler.conf", "parse kubeconfig", textOf("hello"), "scheduler.conf"},
		{"missing kubeconfig", "/etc/kubernetes/scheduler.conf", "no such file", removePath, "scheduler.conf"},
		{"kubeconfig of another user", "/etc/kubernetes/scheduler.conf", "current context", textOf("kind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {user: y}}]\nusers: [{name: z, user: {token: t}}]\n"), "scheduler.conf"},
		{"kubeconfig without a key", "/etc/kubernetes/scheduler.conf", "not its key", textOf("kind: Config\nusers: [{name: z, user: {client-certificate-data: Q0E=}}]\n"), "scheduler.conf"},
		{"serving certificate not made yet", "/var/lib/kubelet/pki/kubelet.crt", "not made", removePath, "kubelet-server"},
		{"broken admin kubeconfig", "/etc/kubernetes/admin.conf", "parse kubeconfig", textOf("clusters: client-certificate"), "admin.conf"},
		{"empty admin kubeconfig", "/etc/kubernetes/super-admin.conf", "parse kubeconfig", textOf(""), "super-admin.conf"},
		{"admin kubeconfig that is a FIFO", "/etc/kubernetes/admin.conf", "not a regular file", makeFIFO, "admin.conf"},
		{"link of an admin kubeconfig that leads nowhere", "/etc/kubernetes/admin.conf", "no such file", linkToNowhere, "admin.conf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.AddKubeadm("/etc/kubernetes/pki")
			kubeadmFiles(n)
			before := len(DiscoverNode(n.Root, Options{}).Node.Certificates)
			tt.spoil(t, n.LocalPath(tt.path))
			l := DiscoverNode(n.Root, Options{})
			if got := reasonOf(l, tt.path); tt.reason != "" && !strings.Contains(got, tt.reason) {
				t.Errorf("reason %q, want one that says %q", got, tt.reason)
			}
			missing := before - len(l.Node.Certificates)
			for _, c := range l.Node.Certificates {
				if c.Name == tt.lost {
					t.Errorf("%s was found in a broken file", tt.lost)
				}
			}
			if missing < 1 || missing > 2 {
				t.Errorf("%d certificates are missing, not just what the file held", missing)
			}
		})
	}
}

func textOf(content string) func(*testing.T, string) {
	return func(t *testing.T, local string) {
		t.Helper()
		if err := os.WriteFile(local, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func removePath(t *testing.T, local string) {
	t.Helper()
	if err := os.Remove(local); err != nil {
		t.Fatal(err)
	}
}

func linkToNowhere(t *testing.T, local string) {
	t.Helper()
	removePath(t, local)
	if err := os.Symlink("/mnt/gone/admin.conf", local); err != nil {
		t.Fatal(err)
	}
}

func makeDirectory(t *testing.T, local string) {
	t.Helper()
	removePath(t, local)
	if err := os.Mkdir(local, 0o755); err != nil {
		t.Fatal(err)
	}
}

func makeFIFO(t *testing.T, local string) {
	t.Helper()
	removePath(t, local)
	if err := unix.Mkfifo(local, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKubeletThatPinsItsOldCertificate(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	n.WriteFile("/etc/kubernetes/kubelet.conf", embeddedKubeconfig("system:node:n1"))
	l := DiscoverNode(n.Root, Options{})
	pinned := findCertificate(t, l, "kubelet.conf")
	current := findCertificate(t, l, "kubelet-client")
	if !strings.Contains(pinned.Reason, "kubelet-client-current.pem") || pinned.SelfManaged {
		t.Errorf("the pinned copy: %+v", pinned)
	}
	if !current.SelfManaged || current.Store.Kind != inventory.Combined || current.Reason != "" {
		t.Errorf("the current one: %+v", current)
	}
}

func TestKubeletServingThroughTheCSRAPI(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	config, err := os.ReadFile(n.LocalPath("/var/lib/kubelet/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n.WriteFile("/var/lib/kubelet/config.yaml", string(config)+"serverTLSBootstrap: true\n")
	const current = "/var/lib/kubelet/pki/kubelet-server-current.pem"
	if got := reasonOf(DiscoverNode(n.Root, Options{}), current); !strings.Contains(got, "approve") {
		t.Errorf("without a certificate yet: %q", got)
	}
	n.WriteFile(current, "")
	l := DiscoverNode(n.Root, Options{})
	c := findCertificate(t, l, "kubelet-server")
	want := inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: KubeletServingSigner}
	if c.Store.Cert != current || c.Issuer != want || !c.SelfManaged {
		t.Errorf("%+v", c)
	}
}

func TestComponentsWithoutCertificatesSaySo(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(50, layouttest.UnitCgroup("kube-scheduler.service"), "kube-scheduler", "--kubeconfig=/etc/s.conf")
	n.WriteFile("/etc/s.conf", "kind: Config\nusers: [{name: z, user: {exec: {command: x}}}]\n")
	n.AddProcess(51, layouttest.UnitCgroup("etcd.service"), "etcd", "--listen-client-urls=http://127.0.0.1:2379")
	l := DiscoverNode(n.Root, Options{})
	expectCertificates(t, l)
	if got := l.Node.ComponentOf(certs.KubeScheduler).Note; !strings.Contains(got, "credential plugin") {
		t.Errorf("scheduler's note %q", got)
	}
	if got := l.Node.ComponentOf(certs.Etcd).Note; !strings.Contains(got, "without TLS") {
		t.Errorf("etcd's note %q", got)
	}
}

func TestNothingSecretIsKept(t *testing.T) {
	const canary = "CANARY-SECRET"
	n := layouttest.NewNode(t)
	n.AddProcess(60, layouttest.UnitCgroup("kube-scheduler.service"), "kube-scheduler", "--token="+canary, "--kubeconfig=/etc/s.conf")
	n.WriteFile("/etc/s.conf", "kind: Config\nusers: [{name: z, user: {token: "+canary+", client-key-data: [ "+canary+" ]}}]\n")
	l := DiscoverNode(n.Root, Options{})
	for _, x := range l.Node.NotInspected {
		if strings.Contains(x.Reason, canary) {
			t.Errorf("a reason repeats the file: %q", x.Reason)
		}
	}
	for _, a := range l.Node.ComponentOf(certs.KubeScheduler).Args {
		if strings.Contains(a, canary) {
			t.Errorf("an argument shows a secret: %q", a)
		}
	}
}

// TestStaticPodWithoutManifest: a running component must stay in the inventory although the
// kubelet's configuration cannot be read.
func TestStaticPodWithoutManifest(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	n.WriteFile("/var/lib/kubelet/config.yaml", "{")
	l := DiscoverNode(n.Root, Options{})
	if got := reasonOf(l, "/var/lib/kubelet/config.yaml"); !strings.Contains(got, "parse kubelet configuration") {
		t.Errorf("the configuration: %q", got)
	}
	unseen := map[certs.Service]bool{}
	for _, x := range l.Node.NotInspected {
		unseen[x.Service] = true
	}
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeControllerManager, certs.KubeScheduler} {
		if !unseen[s] {
			t.Errorf("%s runs, but is neither found nor listed as not inspected", s)
		}
	}
}

func TestSelfMadeAPIServerCertificate(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(70, layouttest.UnitCgroup("kube-apiserver.service"), "kube-apiserver", "--cert-dir=/srv/api")
	if l := DiscoverNode(n.Root, Options{}); len(l.Node.Certificates) != 0 || l.Node.ComponentOf(certs.KubeAPIServer).Note == "" {
		t.Errorf("in memory: %+v", l.Node)
	}
	n.WriteFile("/srv/api/apiserver.crt", "")
	l := DiscoverNode(n.Root, Options{})
	expectCertificates(t, l, "kube-apiserver apiserver Pair /srv/api/apiserver.crt /srv/api/apiserver.key")
	if got := findCertificate(t, l, "apiserver").Issuer.Kind; got != inventory.Throwaway {
		t.Errorf("issuer %q", got)
	}
}

// TestKubeProxyBetweenTwoStarts: a scan at a bad moment must not forget it.
func TestKubeProxyBetweenTwoStarts(t *testing.T) {
	n := layouttest.NewNode(t)
	n.KubeadmWorker()
	kubeadmFiles(n)
	if err := os.RemoveAll(n.LocalPath("/proc/500")); err != nil {
		t.Fatal(err)
	}
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	c := l.Node.ComponentOf(certs.KubeProxy)
	if c == nil || c.Runtime != inventory.DaemonSet || c.PID != 0 || !strings.Contains(c.Note, "ServiceAccount token") || c.PodName != "kube-proxy-abcde" {
		t.Errorf("kube-proxy: %+v", c)
	}
}

// TestPodsHidden: without access to the volumes of pods, missing ones are no finding.
func TestPodsHidden(t *testing.T) {
	for hidden, want := range map[bool]string{false: "is not to be found", true: ""} {
		n := layouttest.NewNode(t)
		n.AddKubeadm("/etc/kubernetes/pki")
		if err := os.RemoveAll(n.LocalPath("/var/lib/kubelet/pods")); err != nil {
			t.Fatal(err)
		}
		l := DiscoverNode(n.Root, Options{PodsHidden: hidden})
		got := ""
		for _, x := range l.Node.NotInspected {
			if x.Service == certs.KubeProxy {
				got = x.Reason
			}
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("hidden %v: %q, want %q", hidden, got, want)
		}
		if l.Node.ComponentOf(certs.KubeProxy) == nil {
			t.Errorf("hidden %v: kube-proxy was not found", hidden)
		}
	}
}
