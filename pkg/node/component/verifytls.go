package component

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// prepareTLS prepares the verification of the server. The client certificate is sent even if
// its issuer is not in the list of CAs that the server announces: the server's answer to it is
// the verification.
func (p *verifier) prepareTLS(root hostfs.Root) error {
	if p.pair.PrivateKey == nil || len(p.pair.Certificate) == 0 {
		return errors.New("there is no key for the client certificate")
	}
	if p.pair.Leaf == nil {
		leaf, err := x509.ParseCertificate(p.pair.Certificate[0])
		if err != nil {
			return fmt.Errorf("parse client certificate: %w", err)
		}
		p.pair.Leaf = leaf
	}
	p.conf = &tls.Config{
		ServerName: p.target.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			p.asked.Store(true)
			return &p.pair, nil
		},
	}
	roots, insecure, err := trustBundle(root, p.target.CAFile)
	switch {
	case err != nil:
		return err
	case insecure:
		p.conf.InsecureSkipVerify = true // as the component itself does; no secret is sent
	case p.target.Kind == inventory.ToAPIServer:
		p.conf.RootCAs = roots
	default:
		// A component of this node at an address that its certificate need not include: its CA
		// must have signed it, the name is not verified.
		p.conf.InsecureSkipVerify = true
		p.conf.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	}
	return nil
}

// trustBundle reads a bundle of CAs, from PEM or from a kubeconfig. Without a file, and with an
// insecure kubeconfig, the server is not verified. Nil roots are the system's.
func trustBundle(root hostfs.Root, file string) (roots *x509.CertPool, insecure bool, err error) {
	if file == "" {
		return nil, true, nil
	}
	data, err := root.ReadFile(file)
	if err != nil {
		return nil, false, err
	}
	pool := x509.NewCertPool()
	if pool.AppendCertsFromPEM(data) {
		return pool, false, nil
	}
	k, err := layout.ParseKubeconfig(data)
	if err != nil {
		return nil, false, fmt.Errorf("%q holds no CA certificate", file)
	}
	user := k.CurrentUser()
	if user == nil && len(k.Users) > 0 {
		user = &k.Users[0]
	}
	switch {
	case user == nil:
		return nil, false, fmt.Errorf("%q holds no CA certificate", file)
	case len(user.Cluster.CAData) > 0:
		if !pool.AppendCertsFromPEM(user.Cluster.CAData) {
			return nil, false, fmt.Errorf("the CA certificate in %q cannot be parsed", file)
		}
		return pool, false, nil
	default:
		return nil, user.Cluster.Insecure, nil
	}
}

// verifyChain checks a server's chain without its name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}
