package layout

import (
	"path"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// The signers of the kubelet's certificates, as the CSR API names them.
const (
	KubeletClientSigner  = "kubernetes.io/kube-apiserver-client-kubelet"
	KubeletServingSigner = "kubernetes.io/kubelet-serving"
)

// The files that the kubelet keeps its current certificates in.
const (
	currentClient  = "kubelet-client-current.pem"
	currentServing = "kubelet-server-current.pem"
)

// addKubelet records the kubelet's client and serving certificates.
func (d *discovery) addKubelet(p *program) {
	k := d.kubelet
	p.component.Health = k.health
	if k.clientCA != "" {
		d.addAuthorityFile(certs.Kubelet, k.clientCA, "")
	}
	d.addKubeletClient(k)
	d.addKubeletServing(k)
}

func (d *discovery) addKubeletClient(k *kubeletSettings) {
	issuer := inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: KubeletClientSigner}
	r := role{name: "kubelet-client", issuer: issuer, selfManaged: k.rotateClient}
	conf := k.program.args.value("kubeconfig")
	if conf == "" {
		// Standalone, or its API server is named by nothing: no client certificate.
		return
	}
	current := path.Join(k.certDir, currentClient)
	_, err := d.root.Stat(current)
	hasCurrent := err == nil && k.rotateClient

	host, ok := d.host(k.program, conf)
	if ok {
		d.out.Node.KubeletConf = host
	}
	user, client := d.kubeconfigUser(k.program, conf)
	if user == nil && !hasCurrent {
		return
	}
	r.client = client
	if user != nil && user.EmbeddedCert && hasCurrent {
		// kubeadm once wrote the first node's kubelet.conf so: the copy is what a
		// restarted kubelet begins with, and is never renewed by anything.
		pinned := r
		pinned.name, pinned.selfManaged = path.Base(host), false
		pinned.reason = "holds a copy of the kubelet's client certificate instead of naming " + current +
			"; a kubelet that restarts after this copy expired cannot start"
		d.addUser(k.program, conf, user, pinned)
		d.addPair(certs.Kubelet, current, current, r)
		return
	}
	switch {
	case user != nil && d.addUser(k.program, conf, user, r):
	case hasCurrent:
		d.addPair(certs.Kubelet, current, current, r)
	case user != nil:
		k.program.component.Note = "authenticates with " + user.certificateKind() + ", so it has no client certificate"
	}
}

// addKubeletServing records which of the three ways to a serving certificate this
// kubelet goes: named files, the CSR API, or one that it makes itself.
func (d *discovery) addKubeletServing(k *kubeletSettings) {
	r := role{name: "kubelet-server"}
	if !k.program.isolated && k.port != "0" {
		r.served = []inventory.Served{{Address: join(k.address, k.port)}}
	}
	current := path.Join(k.certDir, currentServing)
	switch {
	case k.cert != "" && k.key != "":
		d.addPair(certs.Kubelet, k.cert, k.key, r)
	case k.bootstrapServe:
		r.issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: KubeletServingSigner}
		r.selfManaged = true
		if _, err := d.root.Stat(current); err != nil {
			d.notInspected(certs.Kubelet, current,
				"serverTLSBootstrap is on, but the kubelet has no serving certificate yet: approve its CSR (kubectl get csr)")
			return
		}
		d.addPair(certs.Kubelet, current, current, r)
	default:
		cert, key := path.Join(k.certDir, "kubelet.crt"), path.Join(k.certDir, "kubelet.key")
		if _, err := d.root.Stat(cert); err != nil {
			d.notInspected(certs.Kubelet, cert, "the kubelet has not made its serving certificate yet")
			return
		}
		r.issuer = inventory.Issuer{Kind: inventory.Throwaway}
		d.addPair(certs.Kubelet, cert, key, r)
	}
}

// kubeletAddress is where this node's kubelet is asked; empty without one.
func (d *discovery) kubeletAddress() string {
	if d.kubelet == nil || d.kubelet.port == "0" {
		return ""
	}
	return join(d.kubelet.address, d.kubelet.port)
}
