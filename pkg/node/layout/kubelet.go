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
	var serving verificationPlace
	if !k.program.isolated && k.port != "0" {
		serving.served = []inventory.Served{{Address: joinHostPort(k.address, k.port)}}
	}
	d.addKubeletClient(k)
	d.addKubeletFiles(k, serving)
	d.addKubeletServing(k, serving)
	d.addBootstrap(k)
}

// addBootstrap lists the client certificates of the kubeconfig with which the kubelet asked
// for its own. It uses none of them while it has a valid one. kubeadm removes the file once
// the node has joined.
func (d *discovery) addBootstrap(k *kubeletSettings) {
	conf := k.program.args.lastValue("bootstrap-kubeconfig")
	host, err := d.locatePath(k.program, conf)
	if conf == "" || err != nil || host == d.out.Node.KubeletConf {
		return
	}
	if file, err := d.kubeconfigAt(host); err == nil {
		for i := range file.Users {
			d.addUnclaimed(host, &file.Users[i], inventory.UnusedBootstrap,
				"the kubelet's --bootstrap-kubeconfig, which it uses only while it has no valid client certificate of its own")
		}
	}
}

// addKubeletClient records the client certificate that the kubelet uses, and the one
// that its kubeconfig keeps beside it where that is another.
//
// A kubelet that rotates its certificate loads, independently of its kubeconfig,
// kubelet-client-current.pem from its certificate directory, then the files that the kubeconfig
// names, then kubelet-client.crt and .key (client-go, util/certificate/certificate_store.go).
// It starts with the certificate of the kubeconfig if it finds none of them, or an expired one
// (certificate_manager.go).
func (d *discovery) addKubeletClient(k *kubeletSettings) {
	issuer := inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: KubeletClientSigner}
	r := role{name: "kubelet-client", issuer: issuer, selfManaged: k.rotateClient}
	conf := k.program.args.lastValue("kubeconfig")
	if conf == "" {
		// Standalone, or without a configured API server: no client certificate.
		return
	}
	host, ok := d.hostPath(k.program, conf)
	if ok {
		d.out.Node.KubeletConf = host
	}
	user, client := d.kubeconfigUser(k.program, conf)
	own, hasOwn := d.kubeletsOwn(k, conf, user)
	r.client = client
	switch {
	case hasOwn && user != nil && (user.EmbeddedCert || user.CertFile != ""):
		// Early versions of kubeadm wrote the first node's kubelet.conf so: a kubelet that has
		// lost its current certificate starts with this copy, which is never renewed.
		pinned := r
		pinned.name = path.Base(host)
		pinned.selfManaged = false
		pinned.pinned = true
		pinned.leftReason = "the kubelet's kubeconfig holds or names it, while the kubelet uses " + own.Cert +
			"; a kubelet that loses that one cannot start once this one has expired"
		d.addUser(k.program, conf, user, pinned)
		d.addCertificate(certs.Kubelet, own, r)
	case hasOwn:
		d.addCertificate(certs.Kubelet, own, r)
	case user != nil && !d.addUser(k.program, conf, user, r):
		k.program.component.Note = joinNotes(k.program.component.Note, "authenticates with "+user.certificateKind()+", so it has no client certificate")
	}
}

// kubeletsOwn returns the pair in its certificate directory that a kubelet uses instead of that
// of its kubeconfig; false if there is none, or if it is the same.
func (d *discovery) kubeletsOwn(k *kubeletSettings, conf string, user *KubeconfigUser) (inventory.Store, bool) {
	if !k.rotateClient {
		return inventory.Store{}, false
	}
	current := path.Join(k.certDir, currentClient)
	own := inventory.Store{Kind: inventory.Combined, Cert: current}
	if !d.fileExists(current) {
		stem := path.Join(k.certDir, "kubelet-client")
		own = inventory.Store{Kind: inventory.Pair, Cert: stem + ".crt", Key: stem + ".key"}
		if d.namesFiles(k, conf, user) || !d.fileExists(own.Cert) || !d.fileExists(own.Key) {
			return inventory.Store{}, false
		}
	}
	if user != nil && !user.EmbeddedCert && user.CertFile != "" {
		named, err := k.program.files.hostPath(pathWithin(conf, user.CertFile))
		if err == nil && d.storeKey(inventory.Store{Cert: named}) == d.storeKey(inventory.Store{Cert: own.Cert}) {
			return inventory.Store{}, false
		}
	}
	return own, true
}

// namesFiles reports whether the kubelet's kubeconfig names an existing pair of files.
func (d *discovery) namesFiles(k *kubeletSettings, conf string, user *KubeconfigUser) bool {
	if user == nil || user.EmbeddedCert || user.CertFile == "" {
		return false
	}
	cert, noCert := k.program.files.hostPath(pathWithin(conf, user.CertFile))
	key, noKey := k.program.files.hostPath(pathWithin(conf, user.KeyFile))
	return noCert == nil && noKey == nil && d.fileExists(cert) && d.fileExists(key)
}

func (d *discovery) fileExists(host string) bool {
	_, err := d.root.Stat(host)
	return err == nil
}

// addKubeletServing records the kubelet's serving certificate: from named files, from the CSR
// API, or self-made.
func (d *discovery) addKubeletServing(k *kubeletSettings, serving verificationPlace) {
	r := role{name: "kubelet-server", served: serving.served}
	current := path.Join(k.certDir, currentServing)
	switch {
	case k.namesServing(): // see addKubeletFiles
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
		cert := path.Join(k.certDir, "kubelet.crt")
		key := path.Join(k.certDir, "kubelet.key")
		if _, err := d.root.Stat(cert); err != nil {
			d.notInspectedByDesign(certs.Kubelet, cert, "the kubelet has not made its serving certificate yet")
			return
		}
		r.issuer = inventory.Issuer{Kind: inventory.Throwaway}
		d.addPair(certs.Kubelet, cert, key, r)
	}
}

// kubeletAddress is the address of this node's kubelet; empty if there is none.
func (d *discovery) kubeletAddress() string {
	if d.kubelet == nil || d.kubelet.port == "0" {
		return ""
	}
	return joinHostPort(d.kubelet.address, d.kubelet.port)
}
