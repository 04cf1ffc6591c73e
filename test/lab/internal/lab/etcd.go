package lab

import (
	"fmt"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
)

const (
	kubeletUnit = "/usr/lib/systemd/system/kubelet.service"
	etcdUnit    = "/etc/systemd/system/etcd.service"
	// etcdPath is where an etcd host has the configuration for its certificates. At
	// kubeadmPath it has one to become a node with, which only a test would do.
	etcdPath = "/etc/lab/etcd.yaml"
)

// etcdService is a unit as kubespray makes it: all settings are in a file of variables.
const etcdService = `[Unit]
Description=etcd
After=network.target

[Service]
Type=notify
EnvironmentFile=/etc/etcd.env
ExecStart=/usr/bin/etcd
NotifyAccess=all
Restart=always
RestartSec=10s
LimitNOFILE=40000

[Install]
WantedBy=multi-user.target
`

// etcdVariables are the settings of a member: every request needs a client's
// certificate, and there is no other URL for metrics and health.
func (l *Lab) etcdVariables(files etcdFiles, n *Node) string {
	var cluster []string
	for _, m := range l.etcdHosts() {
		cluster = append(cluster, fmt.Sprintf("%s=https://%s:2380", m.Name, m.IP))
	}
	return fmt.Sprintf(`ETCD_DATA_DIR=/var/lib/etcd
ETCD_NAME=%[1]s
ETCD_LISTEN_CLIENT_URLS=https://%[2]s:2379,https://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=https://%[2]s:2379
ETCD_LISTEN_PEER_URLS=https://%[2]s:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://%[2]s:2380
ETCD_INITIAL_CLUSTER=%[3]s
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_CERT_FILE=%[4]s
ETCD_KEY_FILE=%[5]s
ETCD_TRUSTED_CA_FILE=%[6]s
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=%[7]s
ETCD_PEER_KEY_FILE=%[8]s
ETCD_PEER_TRUSTED_CA_FILE=%[6]s
ETCD_PEER_CLIENT_CERT_AUTH=true
`, n.Name, n.IP, strings.Join(cluster, ","), files.cert, files.key, files.ca, files.peerCert, files.peerKey)
}

// etcdFiles are the files that a member uses.
type etcdFiles struct{ ca, cert, key, peerCert, peerKey string }

// kubeadmMember names those in the layout of kubeadm's guide.
func kubeadmMember(pki string) etcdFiles {
	dir := path.Join(pki, "etcd")
	return etcdFiles{ca: dir + "/ca.crt", cert: dir + "/server.crt", key: dir + "/server.key", peerCert: dir + "/peer.crt", peerKey: dir + "/peer.key"}
}

func (l *Lab) etcdHosts() []*Node {
	var hosts []*Node
	for i := range l.Nodes {
		if l.Nodes[i].Role == EtcdHost {
			hosts = append(hosts, &l.Nodes[i])
		}
	}
	return hosts
}

// prepareEtcdHost writes the files of an etcd host: those given, and its own.
func (l *Lab) prepareEtcdHost(config kubeadm.Cluster, n *Node, files map[string]string) error {
	files[etcdUnit] = etcdService
	if l.Spec.EtcdLayout == Kubespray {
		files["/etc/etcd.env"] = l.etcdVariables(kubesprayMember(n), n)
		return n.WriteFiles(files, etcdUnit)
	}
	text, err := config.EtcdHost(memberOf(n))
	if err != nil {
		return err
	}
	files[etcdPath] = text
	files["/etc/etcd.env"] = l.etcdVariables(kubeadmMember(config.CertificatesDir()), n)
	return n.WriteFiles(files)
}

// formEtcd makes the etcd hosts an etcd cluster, as kubeadm's guide for an external one
// does: the key of its CA stays on the first of them, and the control planes get a
// client's certificate and no more.
func (l *Lab) formEtcd(config kubeadm.Cluster) error {
	hosts := l.etcdHosts()
	if len(hosts) == 0 || l.Spec.EtcdLayout == Kubespray { // those start with their hosts
		return nil
	}
	l.step("starting etcd on %d hosts", len(hosts))
	first, pki := hosts[0], config.CertificatesDir()
	if err := l.etcdCertificates(first, "etcd-ca", "apiserver-etcd-client"); err != nil {
		return err
	}
	for _, n := range hosts[1:] {
		if err := l.copyFiles(first, n, pki, "etcd/ca.crt", "etcd/ca.key"); err != nil {
			return err
		}
	}
	err := l.eachNode(func(n *Node) error {
		if n.Role != EtcdHost {
			return nil
		}
		if err := l.etcdCertificates(n, "etcd-server", "etcd-peer", "etcd-healthcheck-client"); err != nil {
			return err
		}
		if n != first {
			if _, err := l.onNode(n, nil, "rm", path.Join(pki, "etcd/ca.key")); err != nil {
				return err
			}
		}
		_, err := l.onNode(n, nil, "systemctl", "enable", "--now", "etcd.service")
		return err
	})
	if err != nil {
		return err
	}
	// Control planes that join get these from the first one.
	client := []string{"apiserver-etcd-client.crt", "apiserver-etcd-client.key"}
	if err := l.copyFiles(first, &l.Nodes[0], pki, append(client, "etcd/ca.crt")...); err != nil {
		return err
	}
	_, err = l.onNode(first, nil, "sh", "-c", `cd "$1" && shift && rm "$@"`, "sh", pki, client[0], client[1])
	return err
}

// etcdCertificates has kubeadm make certificates on an etcd host.
func (l *Lab) etcdCertificates(n *Node, phases ...string) error {
	for _, phase := range phases {
		if _, err := l.onNode(n, nil, "kubeadm", "init", "phase", "certs", phase, "--config", etcdPath); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles copies files below a directory from one machine to the same place on another.
func (l *Lab) copyFiles(from, to *Node, dir string, names ...string) error {
	archive, err := l.onNode(from, nil, append([]string{"tar", "-C", dir, "-cf", "-"}, names...)...)
	if err != nil {
		return err
	}
	_, err = l.onNode(to, strings.NewReader(archive), "sh", "-c", `mkdir -p "$1" && tar -C "$1" -xf -`, "sh", dir)
	return err
}
