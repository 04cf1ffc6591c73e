// Package units makes a Kubernetes cluster whose components are all systemd
// units, in a layout of its own, without kubeadm: the files of every node, with
// its certificates, and what the cluster needs besides once its API answers.
//
// It is unlike kubeadm's in whatever certificates have to do with. The cluster's
// CA is an issuing one below a root whose key is on no node, files hold a leaf
// with that CA, and keys are of two algorithms. etcd has its settings in
// variables, the API server its flags in an EnvironmentFile, the scheduler, the
// kubelet and kube-proxy are configured by files. Kubeconfigs hold certificates,
// or name the files with them. kube-proxy has a certificate, and is on all nodes.
package units

import (
	"embed"
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/pki"
)

// Cluster is what all nodes have in common.
type Cluster struct {
	Config     kubeadm.Cluster // settings of the kubelet and kube-proxy, and the endpoint
	Members    []kubeadm.Member
	BalancerIP string

	issuing, frontProxy pki.Pair
	trust               string // PEM
	accountKey          pki.Pair
}

// The directories of the layout.
const (
	sslDir   = "/etc/kubernetes/ssl"
	etcdDir  = "/etc/etcd"
	stateDir = "/var/lib/kubernetes"
	proxyDir = "/var/lib/kube-proxy"
	apiPort  = 6443
	dnsIP    = "10.96.0.10"
	apiIP    = "10.96.0.1"
	services = "10.96.0.0/12"
)

// AdminKubeconfig is where control planes have the administrator's kubeconfig.
const AdminKubeconfig = stateDir + "/admin.kubeconfig"

//go:embed files
var files embed.FS

// New makes the CAs of a new cluster.
func New(config kubeadm.Cluster, members []kubeadm.Member, balancerIP string) (*Cluster, error) {
	c := &Cluster{Config: config, Members: members, BalancerIP: balancerIP}
	root, err := pki.NewAuthority("lab root CA", pki.RSA, nil)
	if err != nil {
		return nil, err
	}
	if c.issuing, err = pki.NewAuthority("lab issuing CA", pki.ECDSA, &root); err != nil {
		return nil, err
	}
	if c.frontProxy, err = pki.NewAuthority("lab front-proxy CA", pki.ECDSA, nil); err != nil {
		return nil, err
	}
	if c.accountKey.Key, err = pki.NewKey(pki.RSA); err != nil {
		return nil, err
	}
	c.trust = pki.CertificatePEM(c.issuing.Certificate, root.Certificate)
	return c, nil
}

// nodeFiles collects the files of a node and keeps the first error.
type nodeFiles struct {
	cluster *Cluster
	member  kubeadm.Member
	files   []node.File
	units   []string
	err     error
}

// Node returns the files of a node, and the units that start with it.
func (c *Cluster) Node(m kubeadm.Member) ([]node.File, []string, error) {
	n := &nodeFiles{cluster: c, member: m}
	n.file(sslDir+"/ca.pem", c.trust)
	if m.ControlPlane {
		n.addCAs()
		n.addEtcd()
		n.addAPIServer()
		n.addControllerManager()
		n.addScheduler()
		n.addAdmin()
	}
	n.addKubelet()
	n.addProxy()
	return n.files, n.units, n.err
}

// Addons are the objects that the cluster needs to run pods, as YAML. image is
// that of CoreDNS.
func (c *Cluster) Addons(image string) (string, error) {
	text, err := files.ReadFile("files/addons.yaml")
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("DNS_IMAGE", image, "DNS_IP", dnsIP).Replace(string(text)), nil
}

func (n *nodeFiles) fail(err error) {
	if n.err == nil && err != nil {
		n.err = fmt.Errorf("make the files of node %q: %w", n.member.Name, err)
	}
}

func (n *nodeFiles) file(path, text string) {
	n.files = append(n.files, node.File{Path: path, Text: text})
}

func (n *nodeFiles) secret(path, text string) {
	n.files = append(n.files, node.File{Path: path, Text: text, Secret: true})
}

// unit adds a unit that starts with the node. Its lines are those of [Service]
// that differ from the others'.
func (n *nodeFiles) unit(name, after string, lines ...string) {
	path := "/etc/systemd/system/" + name + ".service"
	n.file(path, fmt.Sprintf(`[Unit]
Description=%s
After=network.target %s
StartLimitIntervalSec=0

[Service]
%s
Restart=always
RestartSec=5
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`, name, after, strings.Join(lines, "\n")))
	n.units = append(n.units, path)
}

// command is an ExecStart with one argument in each line.
func command(program string, arguments ...string) string {
	return "ExecStart=" + strings.Join(append([]string{program}, arguments...), " \\\n  ")
}

func (n *nodeFiles) issue(r pki.Request) pki.Pair { return n.issueBy(n.cluster.issuing, r) }

func (n *nodeFiles) issueBy(ca pki.Pair, r pki.Request) pki.Pair {
	pair, err := ca.Issue(r)
	n.fail(err)
	return pair
}

func (n *nodeFiles) keyPEM(pair pki.Pair) string {
	if n.err != nil {
		return ""
	}
	text, err := pki.KeyPEM(pair.Key)
	n.fail(err)
	return text
}

// chain is a leaf with the issuing CA.
func (n *nodeFiles) chain(pair pki.Pair) string {
	if n.err != nil {
		return ""
	}
	return pki.CertificatePEM(pair.Certificate, n.cluster.issuing.Certificate)
}

// pair issues a certificate and adds it as NAME.pem and NAME-key.pem; it
// returns both paths.
func (n *nodeFiles) pair(stem string, r pki.Request) (cert, key string) {
	issued := n.issue(r)
	cert, key = stem+".pem", stem+"-key.pem"
	n.file(cert, n.chain(issued))
	n.secret(key, n.keyPEM(issued))
	return cert, key
}
