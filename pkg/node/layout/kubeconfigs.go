package layout

import (
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// kubeconfigAt reads and parses a kubeconfig, each once.
func (d *discovery) kubeconfigAt(host string) (*KubeconfigFile, error) {
	if k, known := d.kubeconfigs[host]; known {
		return k, nil
	}
	data, err := d.root.ReadFile(host)
	if err != nil {
		return nil, err
	}
	k, err := ParseKubeconfig(data)
	if err != nil {
		return nil, err
	}
	d.kubeconfigs[host] = k
	return k, nil
}

// kubeconfigUser reads a kubeconfig that a component names and returns the user it
// authenticates as, with the API server that can verify it. An unreadable file is recorded, and
// nil returned.
func (d *discovery) kubeconfigUser(p *program, conf string) (*KubeconfigUser, *inventory.Client) {
	k, host, ok := d.readKubeconfig(p, conf)
	if !ok {
		return nil, nil
	}
	user := k.CurrentUser()
	if user == nil {
		d.notInspected(p.service, host, "the kubeconfig's current context names no user of it")
		return nil, nil
	}
	return user, d.apiClient(p, conf, host, user)
}

// apiClient returns the API server that can verify a kubeconfig's user. A CA file in the
// kubeconfig becomes a known authority.
func (d *discovery) apiClient(p *program, conf, host string, user *KubeconfigUser) *inventory.Client {
	address := user.Cluster.HostPort()
	if address == "" {
		return nil
	}
	c := &inventory.Client{Kind: inventory.ToAPIServer, Address: address, ServerName: user.Cluster.TLSServerName, CAFile: host}
	if len(user.Cluster.CAData) > 0 {
		d.out.EmbeddedCAs = append(d.out.EmbeddedCAs, user.Cluster.CAData)
	}
	if user.Cluster.CAFile != "" {
		if ca, ok := d.hostPath(p, pathWithin(conf, user.Cluster.CAFile)); ok {
			c.CAFile = ca
			d.addAuthorityFile(p.service, ca, "")
		}
	}
	return c
}

// addUser records a kubeconfig user's certificate, embedded or in a file; false if there is
// none.
func (d *discovery) addUser(p *program, conf string, user *KubeconfigUser, r role) bool {
	switch {
	case user.EmbeddedCert:
		// Embedded data takes precedence over files.
		host, ok := d.hostPath(p, conf)
		if !ok {
			return true
		}
		if !user.EmbeddedKey {
			key := pathWithin(conf, user.KeyFile)
			if key == "" {
				d.notInspected(p.service, host, "the kubeconfig holds a client certificate but not its key")
				return true
			}
			d.addKeyUse(p, inventory.KubeconfigKey, host, key)
			d.addSplit(p, inventory.Store{Kind: inventory.Kubeconfig, Cert: host, User: user.Name}, r,
				fmt.Sprintf("%q holds the certificate, and its key is in %q", host, key))
			return true
		}
		d.addCertificate(p.service, inventory.Store{Kind: inventory.Kubeconfig, Cert: host, User: user.Name}, r)
	case user.CertFile != "" && user.EmbeddedKey:
		cert, found := d.hostPath(p, pathWithin(conf, user.CertFile))
		host, ok := d.hostPath(p, conf)
		if found && ok {
			d.addSplit(p, inventory.Store{Kind: inventory.Pair, Cert: cert, Key: host}, r,
				fmt.Sprintf("the certificate is in %q, and its key in %q", cert, host))
		}
	case user.CertFile != "":
		key := ""
		if user.KeyFile != "" {
			key = pathWithin(conf, user.KeyFile)
		}
		d.addNamedPair(p, pathWithin(conf, user.CertFile), key, r)
	default:
		return false
	}
	return true
}

// addSplit records a client certificate of a kubeconfig that has only one of certificate and
// key embedded. The two cannot be replaced together, so it is never renewed.
func (d *discovery) addSplit(p *program, s inventory.Store, r role, how string) {
	r.issuer = inventory.Issuer{Kind: inventory.NoIssuer}
	r.leftReason = "cannot be renewed: " + how + "; put both into the kubeconfig, or both into files"
	before := len(d.out.Node.Certificates)
	d.addCertificate(p.service, s, r)
	for _, c := range d.out.Node.Certificates[before:] {
		d.out.Split = append(d.out.Split, c.ID())
	}
}

// addKubeconfig records the client certificate of a kubeconfig that a component is
// given, under a name. It returns how else the component authenticates where there
// is none. The server of the kubeconfig is a place of verification if it is an API server.
func (d *discovery) addKubeconfig(p *program, conf, name string, apiServer bool) (without string) {
	if conf == "" {
		return ""
	}
	user, client := d.kubeconfigUser(p, conf)
	if user == nil {
		return ""
	}
	if !apiServer {
		client = nil
	}
	if d.addUser(p, conf, user, role{name: name, client: client}) {
		return ""
	}
	return user.certificateKind()
}
