package layout

import (
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

const (
	microk8sUnit = "snap.microk8s.daemon-kubelite.service"
	// microk8sUnitFile is a unit as snapd writes it.
	microk8sUnitFile = "[Unit]\nDescription=Service for snap application microk8s.daemon-kubelite\nX-Snappy=yes\n[Service]\nExecStart=/usr/bin/snap run microk8s.daemon-kubelite\n" +
		"SyslogIdentifier=microk8s.daemon-kubelite\nRestart=on-failure\nWorkingDirectory=/var/snap/microk8s/8511\nTimeoutStopSec=30\nType=simple\n"
)

// microk8sFlags are the files of flags that MicroK8s installs, shortened.
var microk8sFlags = map[string]string{
	"kube-apiserver": `--cert-dir=${SNAP_DATA}/certs
--client-ca-file=${SNAP_DATA}/certs/ca.crt
--tls-cert-file=${SNAP_DATA}/certs/server.crt
--tls-private-key-file=${SNAP_DATA}/certs/server.key
--kubelet-client-certificate=${SNAP_DATA}/certs/apiserver-kubelet-client.crt
--kubelet-client-key=${SNAP_DATA}/certs/apiserver-kubelet-client.key
--secure-port=16443
--etcd-servers="unix://${SNAP_DATA}/var/kubernetes/backend/kine.sock:12379"
--service-account-issuer='https://kubernetes.default.svc'
--service-account-key-file=${SNAP_DATA}/certs/serviceaccount.key
--service-account-signing-key-file=${SNAP_DATA}/certs/serviceaccount.key

# Enable the aggregation layer
--requestheader-client-ca-file=${SNAP_DATA}/certs/front-proxy-ca.crt
--proxy-client-cert-file=${SNAP_DATA}/certs/front-proxy-client.crt
--proxy-client-key-file=${SNAP_DATA}/certs/front-proxy-client.key
#~Enable the aggregation layer
--kubelet-certificate-authority=${SNAP_DATA}/certs/ca.crt
`,
	"kube-controller-manager": "--kubeconfig=${SNAP_DATA}/credentials/controller.config\n--cluster-signing-cert-file=${SNAP_DATA}/certs/ca.crt\n--cluster-signing-key-file=${SNAP_DATA}/certs/ca.key\n--use-service-account-credentials\n",
	"kube-scheduler":          "--kubeconfig=${SNAP_DATA}/credentials/scheduler.config\n",
	"kube-proxy":              "--kubeconfig=${SNAP_DATA}/credentials/proxy.config\n--healthz-bind-address=127.0.0.1\n",
	"kubelet": "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--cert-dir=${SNAP_DATA}/certs\n--client-ca-file=$SNAP_DATA/certs/ca.crt\n--root-dir=${SNAP_COMMON}/var/lib/kubelet\n" +
		"--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n",
}

// microk8sNode is a node of MicroK8s, with kubeconfigs that embed certificates, as since 1.28.
func microk8sNode(n *layouttest.Node, controlPlane bool) {
	const data = "/var/snap/microk8s/8511"
	n.LinkFile("/var/snap/microk8s/current", "8511")
	n.LinkFile("/snap/bin/microk8s", "/usr/bin/snap")
	n.WriteFile("/usr/bin/snap", "")
	n.WriteFile("/etc/systemd/system/"+microk8sUnit, microk8sUnitFile)
	start := "--start-control-plane=false"
	if controlPlane {
		start = "--start-control-plane=true"
	}
	argv := []string{"/snap/microk8s/8511/kubelite"}
	for setting, service := range map[string]string{"scheduler": "kube-scheduler", "controller-manager": "kube-controller-manager", "proxy": "kube-proxy", "kubelet": "kubelet", "apiserver": "kube-apiserver"} {
		argv = append(argv, "--"+setting+"-args-file="+data+"/args/"+service)
		n.WriteFile(data+"/args/"+service, microk8sFlags[service])
	}
	n.AddProcess(90, layouttest.UnitCgroup(microk8sUnit), append(argv, "--kubeconfig-file="+data+"/credentials/client.config", start)...)
	for name, user := range map[string]string{"client": "admin", "controller": "system:kube-controller-manager", "scheduler": "system:kube-scheduler", "proxy": "system:kube-proxy", "kubelet": "system:node:n1"} {
		n.WriteFile(data+"/credentials/"+name+".config", embeddedKubeconfig(user))
	}
	n.WriteFile(data+"/certs/kubelet.crt", "")
	n.WriteFile(data+"/certs/server.crt", "")
	n.WriteFile(data+"/var/kubernetes/backend/cluster.crt", "")
}

// TestComponentsOfMicroK8sShareItsProcess finds the components of a node, with the certificates
// that the files of flags name.
func TestComponentsOfMicroK8sShareItsProcess(t *testing.T) {
	const dir = "/var/snap/microk8s/current/"
	n := layouttest.NewNode(t)
	microk8sNode(n, true)
	l := DiscoverNode(n.Root, Options{})
	expectCertificates(t, l,
		"kubelet kubelet-client Kubeconfig "+dir+"credentials/kubelet.config #system:node:n1",
		"kubelet kubelet-server Pair "+dir+"certs/kubelet.crt "+dir+"certs/kubelet.key",
		"kube-apiserver apiserver Pair "+dir+"certs/server.crt "+dir+"certs/server.key",
		"kube-apiserver apiserver-kubelet-client Pair "+dir+"certs/apiserver-kubelet-client.crt "+dir+"certs/apiserver-kubelet-client.key",
		"kube-apiserver front-proxy-client Pair "+dir+"certs/front-proxy-client.crt "+dir+"certs/front-proxy-client.key",
		"kube-proxy kube-proxy.conf Kubeconfig "+dir+"credentials/proxy.config #system:kube-proxy",
		"kube-scheduler scheduler.conf Kubeconfig "+dir+"credentials/scheduler.config #system:kube-scheduler",
		"kube-controller-manager controller-manager.conf Kubeconfig "+dir+"credentials/controller.config #system:kube-controller-manager",
		"admin client.config Kubeconfig "+dir+"credentials/client.config #admin",
	)
	parts := map[string]string{"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}
	for _, c := range l.Node.Certificates {
		want := inventory.Issuer{Kind: inventory.NoIssuer}
		reason := "only together with its CA"
		if part := parts[c.Name]; part != "" {
			want = inventory.Issuer{Kind: inventory.RestartCommand, Unit: microk8sUnit, Command: "/snap/bin/microk8s refresh-certs", Part: part}
			reason = ""
		}
		if c.Issuer != want || (c.Reason == "") != (reason == "") || !strings.Contains(c.Reason, reason) {
			t.Errorf("%s: %+v %q, want %+v %q", c.Name, c.Issuer, c.Reason, want, reason)
		}
	}
	health := map[certs.Service]string{
		certs.KubeAPIServer: "https://127.0.0.1:16443/readyz", certs.KubeControllerManager: "https://127.0.0.1:10257/healthz", certs.KubeScheduler: "https://127.0.0.1:10259/healthz",
		certs.Kubelet: "http://127.0.0.1:10248/healthz", certs.KubeProxy: "http://127.0.0.1:10256/healthz",
	}
	for _, c := range l.Node.Components {
		if c.Runtime != inventory.Supervised || c.Unit != microk8sUnit || c.PID != 90 || c.GraceSeconds != 30 || c.Health != health[c.Service] {
			t.Errorf("%s: %+v", c.Service, c)
		}
	}
	server := l.Node.ComponentOf(certs.KubeAPIServer)
	if len(l.Node.Components) != len(health) || server.APIServer != "127.0.0.1:16443" || len(server.ClientURLs) > 0 {
		t.Errorf("components: %+v", l.Node.Components)
	}
	missed := l.Node.NotInspected
	if len(missed) != 1 || missed[0].Path != dir+"var/kubernetes/backend/cluster.crt" || !missed[0].Informational || !strings.Contains(missed[0].Reason, "dqlite") {
		t.Errorf("not inspected: %+v", missed)
	}
}

func TestWorkerOfMicroK8sHasNoControlPlane(t *testing.T) {
	n := layouttest.NewNode(t)
	microk8sNode(n, false)
	l := DiscoverNode(n.Root, Options{})
	if len(l.Node.Components) != 2 || len(l.Node.Certificates) != 3 || l.Node.ControlPlane() {
		t.Errorf("components %+v, certificates %+v", l.Node.Components, l.Node.Certificates)
	}
	for _, c := range l.Node.Certificates {
		if c.Issuer.Kind != inventory.NoIssuer || c.Name != "kubelet-server" && !strings.Contains(c.Reason, "microk8s leave") {
			t.Errorf("%s: %+v %q", c.Name, c.Issuer, c.Reason)
		}
	}
}

// TestSettingsOfMicroK8sAreFollowed: another place of the snap's programs, other files, and flags
// that the operator has changed.
func TestSettingsOfMicroK8sAreFollowed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(n *layouttest.Node)
		cert   string
		issuer inventory.IssuerKind
		reason string
	}{
		"programs elsewhere": {func(n *layouttest.Node) {
			n.LinkFile("/var/lib/snapd/snap/bin/microk8s", "/usr/bin/snap")
			removeFile(t, n, "/snap/bin/microk8s")
		}, "/var/snap/microk8s/current/certs/server.crt", inventory.RestartCommand, ""},
		"no program": {func(n *layouttest.Node) { removeFile(t, n, "/snap/bin/microk8s") },
			"/var/snap/microk8s/current/certs/server.crt", inventory.NoIssuer, "the program microk8s was found neither"},
		"a certificate of the operator's": {func(n *layouttest.Node) {
			n.WriteFile("/var/snap/microk8s/8511/args/kube-apiserver", "--tls-cert-file=/own.crt\n--tls-private-key-file /own.key\n--secure-port=16443\n--etcd-servers unix:///kine.sock\n")
		}, "/own.crt", inventory.NoIssuer, "only together with its CA"},
		"a revision that is not the current one": {func(n *layouttest.Node) {
			removeFile(t, n, "/var/snap/microk8s/current")
			n.LinkFile("/var/snap/microk8s/current", "8600")
		}, "/var/snap/microk8s/8511/certs/server.crt", inventory.RestartCommand, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			microk8sNode(n, true)
			tt.change(n)
			l := DiscoverNode(n.Root, Options{})
			c := findCertificate(t, l, "apiserver")
			if c.Store.Cert != tt.cert || c.Issuer.Kind != tt.issuer || !strings.Contains(c.Reason, tt.reason) || len(l.Node.ComponentOf(certs.KubeAPIServer).ClientURLs) > 0 {
				t.Errorf("%s: %+v %q", c.Store.Cert, c.Issuer, c.Reason)
			}
		})
	}
}

func removeFile(t *testing.T, n *layouttest.Node, path string) {
	t.Helper()
	if err := os.Remove(n.LocalPath(path)); err != nil {
		t.Fatal(err)
	}
}

// TestAgentsDoNotSeeMicroK8s: its data is no directory that they may be given.
func TestAgentsDoNotSeeMicroK8s(t *testing.T) {
	n := layouttest.NewNode(t)
	microk8sNode(n, true)
	if err := os.RemoveAll(n.LocalPath("/var/snap")); err != nil {
		t.Fatal(err)
	}
	l := DiscoverNode(n.Root, Options{})
	missed := l.Node.NotInspected
	if len(missed) != 1 || !missed[0].Informational || !strings.Contains(missed[0].Reason, "agents do not see them") || len(l.Node.Components) > 0 {
		t.Errorf("not inspected: %+v, components %+v", missed, l.Node.Components)
	}
}

// TestFlagsOfMicroK8sThatCannotBeRead are reported: nothing else shows the certificates.
func TestFlagsOfMicroK8sThatCannotBeRead(t *testing.T) {
	n := layouttest.NewNode(t)
	microk8sNode(n, true)
	removeFile(t, n, "/var/snap/microk8s/8511/args/kube-scheduler")
	l := DiscoverNode(n.Root, Options{})
	missed := l.Node.NotInspected
	if len(missed) != 2 || missed[0].Service != certs.KubeScheduler || missed[0].Informational || !strings.Contains(missed[0].Reason, "read its flags") || l.Node.ComponentOf(certs.KubeScheduler) != nil {
		t.Errorf("not inspected: %+v", missed)
	}
}

// TestKubeliteOutsideOfTheSnapIsNotInspected: nothing is known of its certificates.
func TestKubeliteOutsideOfTheSnapIsNotInspected(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(40, "/user.slice/user-0.slice/session-1.scope", "/snap/microk8s/8511/kubelite")
	l := DiscoverNode(n.Root, Options{})
	if len(l.Node.NotInspected) != 1 || !strings.Contains(l.Node.NotInspected[0].Reason, "microk8s refresh-certs") || len(l.Node.Components) > 0 {
		t.Errorf("not inspected %+v, components %+v", l.Node.NotInspected, l.Node.Components)
	}
}
