package plugin

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

const day = 24 * time.Hour

// noon is when all tests take place.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// facts are those of a certificate that ends after the given time from noon.
func facts(cn, ca string, left time.Duration) certs.Facts {
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(cn+ca+left.String())))
	return certs.Facts{
		Subject: "CN=" + cn, Issuer: "CN=" + ca, SerialNumber: hash[:8],
		FingerprintSHA256: hash[:12], // short, so that the golden files stay readable
		NotBefore:         noon.Add(left - 365*day), NotAfter: noon.Add(left), KeyAlgorithm: "RSA-2048",
		Usages: []string{"digital signature"},
	}
}

// leaf is a certificate as a scan returns it: its status follows from its dates, signed with
// the CA's key on the node.
func leaf(s certs.Service, name, ca string, left time.Duration) inventory.Certificate {
	c := inventory.Certificate{
		Service: s, UsedBy: []certs.Service{s}, Name: name, Facts: facts(name, ca, left),
		Store:  inventory.Store{Kind: inventory.Pair, Cert: "/etc/kubernetes/pki/" + name + ".crt", Key: "/etc/kubernetes/pki/" + name + ".key"},
		Issuer: inventory.Issuer{Kind: inventory.LocalCA},
	}
	c.Status, c.Reason = c.ValidityStatus(noon, 0)
	return c
}

// serving makes its endpoint show the given certificate.
func serving(c inventory.Certificate, address, fingerprint string, left time.Duration) inventory.Certificate {
	end := noon.Add(left)
	c.Served = append(c.Served, inventory.Served{Address: address, FingerprintSHA256: fingerprint, NotAfter: &end})
	if fingerprint != c.FingerprintSHA256 {
		c.Status, c.Reason = certs.NotServed, address+" shows another certificate"
	}
	return c
}

func authority(name string, left time.Duration, key string) inventory.Authority {
	a := inventory.Authority{Facts: facts(name, name, left), Name: name, Paths: []string{"/etc/kubernetes/pki/" + name + ".crt"}, KeyOn: key}
	a.NotBefore = noon.Add(left - 3650*day)
	a.Status, a.Reason = a.ValidityStatus(noon, 0)
	return a
}

func component(s certs.Service, kind inventory.RuntimeKind) inventory.Component {
	return inventory.Component{Service: s, Runtime: kind}
}

// controlPlane is a kubeadm control-plane node, all well.
func controlPlane(name string) inventory.Node {
	n := inventory.Node{
		Name: name, Time: noon, CRISocket: "/run/containerd/containerd.sock", DBusSocket: "/run/dbus/system_bus_socket",
		Components: []inventory.Component{
			component(certs.Etcd, inventory.StaticPod), component(certs.KubeAPIServer, inventory.StaticPod),
			component(certs.KubeControllerManager, inventory.StaticPod), component(certs.KubeScheduler, inventory.StaticPod),
			component(certs.Kubelet, inventory.Systemd), kubeProxy(),
		},
		Authorities: []inventory.Authority{authority("kubernetes", 3600*day, "/etc/kubernetes/pki/ca.key"), authority("etcd-ca", 3600*day, "/etc/kubernetes/pki/etcd/ca.key")},
	}
	n.Components[1].Health, n.Components[1].APIServer = "https://127.0.0.1:6443/readyz", name+":6443"
	peer, api := leaf(certs.Etcd, "etcd-peer", "etcd-ca", 300*day), leaf(certs.KubeAPIServer, "apiserver", "kubernetes", 300*day)
	api.SANs = []string{name, "kubernetes", "10.96.0.1"}
	n.Certificates = []inventory.Certificate{
		serving(peer, "10.0.0.1:2380", peer.FingerprintSHA256, 300*day),
		serving(api, "10.0.0.1:6443", api.FingerprintSHA256, 300*day),
		leaf(certs.KubeAPIServer, "apiserver-etcd-client", "etcd-ca", 300*day),
		kubelet(name, 340*day),
		leaf(certs.Admin, "admin.conf", "kubernetes", 300*day),
	}
	n.Certificates[4].Store = inventory.Store{Kind: inventory.Kubeconfig, Cert: "/etc/kubernetes/admin.conf", User: "kubernetes-admin"}
	return n
}

// worker is a kubeadm worker node, all well.
func worker(name string) inventory.Node {
	return inventory.Node{
		Name: name, Time: noon, DBusSocket: "/run/dbus/system_bus_socket",
		Components:   []inventory.Component{component(certs.Kubelet, inventory.Systemd), kubeProxy()},
		Certificates: []inventory.Certificate{kubelet(name, 340*day)},
		Authorities:  []inventory.Authority{authority("kubernetes", 3600*day, "")},
	}
}

func kubeProxy() inventory.Component {
	c := component(certs.KubeProxy, inventory.DaemonSet)
	c.Note = "authenticates with a ServiceAccount token, so it has no certificate"
	return c
}

func kubelet(node string, left time.Duration) inventory.Certificate {
	c := leaf(certs.Kubelet, "kubelet-client", "kubernetes", left)
	c.Subject, c.FingerprintSHA256 = "CN=system:node:"+node+",O=system:nodes", c.FingerprintSHA256+node
	c.Store = inventory.Store{Kind: inventory.Combined, Cert: "/var/lib/kubelet/pki/kubelet-client-current.pem"}
	c.Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR}
	return c
}
