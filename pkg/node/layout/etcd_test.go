package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

const ssl = "/etc/ssl/etcd/ssl"

// etcdContainer is kubespray's etcd in Docker, whose settings are in its environment.
func etcdContainer(t *testing.T) *layouttest.Node {
	t.Helper()
	n := layouttest.NewNode(t)
	n.AddProcess(500, layouttest.UnitCgroup("docker-"+strings.Repeat("e", 64)+".scope"), "/usr/local/bin/etcd")
	n.WriteFile("/proc/1/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n")
	n.WriteFile("/proc/500/mountinfo", "50 1 0:44 / / rw - overlay overlay rw\n51 50 254:1 "+ssl+" "+ssl+" rw - ext4 /dev/vda1 rw\n")
	return n
}

func TestDiscoverEtcdByItsEnvironment(t *testing.T) {
	variables := []string{"SECRET_TOKEN=CANARY", "ETCD_CERT_FILE=" + ssl + "/member.pem", "ETCD_KEY_FILE=" + ssl + "/member-key.pem",
		"ETCD_PEER_CERT_FILE=" + ssl + "/member.pem", "ETCD_PEER_KEY_FILE=" + ssl + "/member-key.pem",
		"ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:2379", "ETCD_LISTEN_PEER_URLS=https://10.0.0.1:2380", "ETCD_QUOTA_BACKEND_BYTES=8589934592"}
	for name, write := range map[string]func(n *layouttest.Node){
		"of the process": func(n *layouttest.Node) {
			n.WriteFile("/proc/500/environ", strings.Join(variables, "\x00")+"\x00")
		},
		"of the container, where that of the process may not be read": func(n *layouttest.Node) {
			n.WriteFile("/var/lib/docker/containers/"+strings.Repeat("e", 64)+"/config.v2.json",
				`{"ID": "`+strings.Repeat("e", 64)+`", "Config": {"Env": ["`+strings.Join(variables, `","`)+`"]}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := etcdContainer(t)
			write(n)
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			expectCertificates(t, l, "etcd etcd-server Pair "+ssl+"/member.pem "+ssl+"/member-key.pem")
			c := l.Node.ComponentOf(certs.Etcd)
			if c.DBQuotaBytes != 8<<30 || strings.Contains(c.Note, "TLS") {
				t.Errorf("%+v", c)
			}
			if len(findCertificate(t, l, "etcd-server").Served) != 2 {
				t.Errorf("served %+v", findCertificate(t, l, "etcd-server").Served)
			}
		})
	}
}

// TestEtcdWithoutTLSIsNotedOnlyIfKnown unless it is known.
func TestEtcdWithoutTLSIsNotedOnlyIfKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		environ string
		plain   bool
	}{
		"no environment to be read":      {"", false},
		"https without a certificate":    {"ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:2379", false},
		"one of its URLs is https":       {"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:2379\x00ETCD_LISTEN_PEER_URLS=https://10.0.0.1:2380", false},
		"a configuration that is hidden": {"ETCD_CONFIG_FILE=/image/etcd.yaml", false},
		"http":                           {"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:2379", true},
		"its defaults":                   {"PATH=/bin", true},
	} {
		t.Run(name, func(t *testing.T) {
			n := etcdContainer(t)
			if tt.environ != "" {
				n.WriteFile("/proc/500/environ", tt.environ+"\x00")
			}
			l := DiscoverNode(n.Root, Options{})
			if got := strings.Contains(l.Node.ComponentOf(certs.Etcd).Note, "without TLS"); got != tt.plain {
				t.Errorf("note %q", l.Node.ComponentOf(certs.Etcd).Note)
			}
			if listed := len(l.Node.NotInspected) > 0; listed == tt.plain {
				t.Errorf("not inspected: %+v", l.Node.NotInspected)
			}
		})
	}
}

func TestDiscoverEtcdsOwnCertificates(t *testing.T) {
	for name, tt := range map[string]struct {
		args    []string
		environ string
		dir     string
	}{
		"flags":                 {[]string{"--auto-tls", "--peer-auto-tls", "--data-dir=/var/lib/etcd"}, "", "/var/lib/etcd"},
		"variables":             {nil, "ETCD_AUTO_TLS=true\x00ETCD_PEER_AUTO_TLS=1\x00ETCD_DATA_DIR=/var/lib/etcd", "/var/lib/etcd"},
		"the default directory": {[]string{"--auto-tls=true", "--peer-auto-tls=true", "--name=m1"}, "", "/srv/m1.etcd"},
		"a configuration":       {[]string{"--config-file=/srv/c.yaml"}, "", "/data"},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nWorkingDirectory=/srv\nExecStart=/usr/local/bin/etcd\n")
			n.WriteFile("/srv/c.yaml", "data-dir: /data\nclient-transport-security: {auto-tls: true}\npeer-transport-security: {auto-tls: true}\nlisten-client-urls: https://127.0.0.1:2379\nquota-backend-bytes: 4294967296\n")
			if tt.environ != "" {
				n.WriteFile("/proc/510/environ", tt.environ)
			}
			n.AddProcess(510, layouttest.UnitCgroup("etcd.service"), append([]string{"/usr/local/bin/etcd"}, tt.args...)...)
			for _, kind := range []string{"client", "peer"} {
				n.WriteFile(tt.dir+"/fixtures/"+kind+"/cert.pem", "")
			}
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			expectCertificates(t, l, "etcd etcd-server Pair "+tt.dir+"/fixtures/client/cert.pem "+tt.dir+"/fixtures/client/key.pem",
				"etcd etcd-peer Pair "+tt.dir+"/fixtures/peer/cert.pem "+tt.dir+"/fixtures/peer/key.pem")
			c := findCertificate(t, l, "etcd-server")
			if c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, "made by etcd itself") {
				t.Errorf("%+v", c)
			}
			if note := l.Node.ComponentOf(certs.Etcd).Note; strings.Contains(note, "without TLS") {
				t.Errorf("note %q", note)
			}
			if got := l.Node.ComponentOf(certs.Etcd).DBQuotaBytes; name == "a configuration" && got != 4<<30 {
				t.Errorf("quota %d", got)
			}
		})
	}
}

func TestNamedCertificateWinsOverAutoTLS(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(510, layouttest.UnitCgroup("etcd.service"), "etcd", "--auto-tls", "--cert-file=/e.pem", "--key-file=/e.key", "--data-dir=/d")
	n.WriteFile("/d/fixtures/client/cert.pem", "")
	expectCertificates(t, DiscoverNode(n.Root, Options{}), "etcd etcd-server Pair /e.pem /e.key")
}

func TestDataDirectoriesOfEtcd(t *testing.T) {
	for name, tt := range map[string]struct {
		args    []string
		environ string
		want    []string
	}{
		"a flag":                     {[]string{"--data-dir=/var/lib/etcd"}, "", []string{"/var/lib/etcd"}},
		"variables":                  {nil, "ETCD_DATA_DIR=/data\x00ETCD_WAL_DIR=/fast/wal", []string{"/data", "/fast/wal"}},
		"in its working directory":   {[]string{"--name=m1"}, "", []string{"/srv/m1.etcd"}},
		"a log of its own directory": {[]string{"--data-dir", "/data", "--wal-dir", "/fast/wal"}, "", []string{"/data", "/fast/wal"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nWorkingDirectory=/srv\nExecStart=/usr/local/bin/etcd\n")
			if tt.environ != "" {
				n.WriteFile("/proc/510/environ", tt.environ)
			}
			n.AddProcess(510, layouttest.UnitCgroup("etcd.service"), append([]string{"/usr/local/bin/etcd"}, tt.args...)...)
			if got := componentOf(n, certs.Etcd).DataDirectories; !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// TestDataOfEtcdIsWhereItsPodMountsIt: the host's directory may have another name than the pod's,
// and a directory that is not mounted is not on the host.
func TestDataOfEtcdIsWhereItsPodMountsIt(t *testing.T) {
	for mounted, want := range map[string][]string{"/data": {"/srv/etcd/member-1"}, "/elsewhere": nil} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/kubernetes/manifests/etcd.yaml", strings.NewReplacer("MOUNT", mounted).Replace(`apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec:
  hostNetwork: true
  containers:
  - name: etcd
    image: registry.k8s.io/etcd:v1
    command: [etcd, --data-dir=/data/member-1]
    volumeMounts: [{name: data, mountPath: MOUNT}]
  volumes: [{name: data, hostPath: {path: /srv/etcd}}]
`))
		n.KubeadmWorker() // its kubelet reads the manifest
		if got := componentOf(n, certs.Etcd).DataDirectories; !slices.Equal(got, want) {
			t.Errorf("mounted at %s: %v, want %v", mounted, got, want)
		}
	}
}

func TestQuotaOfEtcd(t *testing.T) {
	for args, want := range map[string]int64{"": 0, "--quota-backend-bytes=8589934592": 8 << 30, "--quota-backend-bytes=-1": -1} {
		n := layouttest.NewNode(t)
		n.AddProcess(510, layouttest.UnitCgroup("etcd.service"), append([]string{"etcd"}, strings.Fields(args)...)...)
		if got := componentOf(n, certs.Etcd).DBQuotaBytes; got != want {
			t.Errorf("%q: quota %d, want %d", args, got, want)
		}
	}
}

func TestEtcdInANetworkOfItsOwnHasNoHealthAddress(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	manifest := layouttest.ManifestFor("etcd", append(layouttest.ControlPlaneArgs(certs.Etcd, "/etc/kubernetes/pki"), "--advertise-client-urls=https://10.9.9.9:2379"), []string{"/etc/kubernetes/pki/etcd"})
	n.WriteFile("/etc/kubernetes/manifests/etcd.yaml", strings.Replace(manifest, "hostNetwork: true", "hostNetwork: false", 1))
	c := componentOf(n, certs.Etcd)
	if c.Health != "" || strings.Join(c.ClientURLs, ",") != "https://10.9.9.9:2379" {
		t.Errorf("health %q, client URLs %q", c.Health, c.ClientURLs)
	}
}

func TestKeysOfEtcdsOwnTokens(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(510, layouttest.UnitCgroup("etcd.service"), "etcd", "--auth-token=jwt,pub-key=/srv/jwt.pub,priv-key=/srv/jwt.key,sign-method=RS256")
	var got []string
	for _, u := range DiscoverNode(n.Root, Options{}).KeyUses {
		got = append(got, string(u.Kind)+" "+u.Setting+" "+u.Path)
	}
	if strings.Join(got, ", ") != "EtcdAuthKey --auth-token /srv/jwt.pub, EtcdAuthKey --auth-token /srv/jwt.key" {
		t.Errorf("uses %q", got)
	}
}

// componentOf is a component of a node.
func componentOf(n *layouttest.Node, s certs.Service) *inventory.Component {
	l := DiscoverNode(n.Root, Options{})
	return l.Node.ComponentOf(s)
}
