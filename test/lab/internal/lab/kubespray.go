package lab

import (
	"path"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/pki"
)

// Kubespray is the layout of etcd hosts as kubespray makes it; the other one is
// that of kubeadm's guide, "". All certificates are in one directory: a member's,
// which is its server's and its peer's, and an administrator's on each etcd host,
// one for each node that is a client of etcd, there. The key of the CA stays on
// the first host.
const Kubespray = "kubespray"

const kubesprayDir = "/etc/ssl/etcd/ssl"

// kubesprayFiles makes the files of all machines, by their names.
func (l *Lab) kubesprayFiles() (map[string][]node.File, error) {
	ca, err := pki.NewAuthority("etcd-ca", pki.RSA, nil)
	if err != nil {
		return nil, err
	}
	out := map[string][]node.File{}
	add := func(machine, stem string, pair pki.Pair) error {
		key, err := pki.KeyPEM(pair.Key)
		if err != nil {
			return err
		}
		out[machine] = append(out[machine],
			node.File{Path: path.Join(kubesprayDir, stem+".pem"), Text: pki.CertificatePEM(pair.Certificate)},
			node.File{Path: path.Join(kubesprayDir, stem+"-key.pem"), Text: key, Secret: true})
		return nil
	}
	if err := add(l.etcdHosts()[0].Name, "ca", ca); err != nil {
		return nil, err
	}
	names, ips := l.etcdNames()
	for i := range l.Nodes {
		n := &l.Nodes[i]
		if n.Role == Worker {
			continue
		}
		if n != l.etcdHosts()[0] {
			out[n.Name] = append(out[n.Name], node.File{Path: kubesprayDir + "/ca.pem", Text: pki.CertificatePEM(ca.Certificate)})
		}
		kinds := []string{"member", "admin"}
		if n.Role == ControlPlane {
			kinds = []string{"node"}
		}
		for _, kind := range kinds {
			pair, err := ca.Issue(pki.Request{Name: "etcd-" + kind + "-" + n.Name, Names: names, IPs: ips, Server: true, Client: true, Algorithm: pki.RSA})
			if err != nil {
				return nil, err
			}
			if err := add(n.Name, kind+"-"+n.Name, pair); err != nil {
				return nil, err
			}
		}
	}
	l.shareFirstClient(out)
	return out, nil
}

// etcdNames are what every one of these certificates is for: all members.
func (l *Lab) etcdNames() (names, ips []string) {
	names, ips = []string{"localhost"}, []string{"127.0.0.1"}
	for _, host := range l.etcdHosts() {
		names, ips = append(names, host.Name), append(ips, host.IP)
	}
	return names, ips
}

// shareFirstClient gives all control planes the first one's client certificate:
// kubeadm's configuration, which they share, can name one file only.
func (l *Lab) shareFirstClient(files map[string][]node.File) {
	first := l.Nodes[0].Name
	for _, n := range l.Nodes[1:] {
		if n.Role != ControlPlane {
			continue
		}
		for _, file := range files[first] {
			if file.Path != kubesprayDir+"/ca.pem" {
				files[n.Name] = append(files[n.Name], file)
			}
		}
	}
}

// kubesprayMember names the files of a member.
func kubesprayMember(n *Node) etcdFiles {
	stem := path.Join(kubesprayDir, "member-"+n.Name)
	cert, key := stem+".pem", stem+"-key.pem"
	return etcdFiles{ca: kubesprayDir + "/ca.pem", cert: cert, key: key, peerCert: cert, peerKey: key}
}

// kubesprayClient names the files of the API servers, as clients of etcd.
func (l *Lab) kubesprayClient() kubeadm.EtcdClient {
	stem := path.Join(kubesprayDir, "node-"+l.Nodes[0].Name)
	return kubeadm.EtcdClient{CA: kubesprayDir + "/ca.pem", Cert: stem + ".pem", Key: stem + "-key.pem"}
}

// prepareKubespray writes the files of that layout, before the nodes boot.
func (l *Lab) prepareKubespray() error {
	if l.Spec.EtcdLayout != Kubespray {
		return nil
	}
	files, err := l.kubesprayFiles()
	if err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := n.WriteAll(files[n.Name]); err != nil {
			return err
		}
	}
	return nil
}
