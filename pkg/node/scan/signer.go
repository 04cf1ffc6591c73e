package scan

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// csrSigner is the signer of the CSR API that would issue this certificate again, or "".
// Signers are strict about subject and usages, so only the forms that they accept qualify; and
// only those of a kubelet, which may post requests with its own identity.
func (e *entry) csrSigner() string {
	c := e.leafCert()
	if e.Service != certs.Kubelet || e.isSelfMade() ||
		!strings.HasPrefix(c.Subject.CommonName, "system:node:") ||
		!slices.Equal(c.Subject.Organization, []string{"system:nodes"}) {
		return ""
	}
	hasNames := len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) > 0
	onlyNodeNames := len(c.EmailAddresses)+len(c.URIs) == 0
	switch {
	case e.Client != nil && onlyUsage(c, x509.ExtKeyUsageClientAuth) && !hasNames:
		return layout.KubeletClientSigner
	case e.Client == nil && onlyUsage(c, x509.ExtKeyUsageServerAuth) && hasNames && onlyNodeNames:
		return layout.KubeletServingSigner
	}
	return ""
}

func onlyUsage(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.UnknownExtKeyUsage) == 0 && slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{usage})
}

// clientCertificate reports whether a certificate is one for clients.
func clientCertificate(c *x509.Certificate) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}

// proxyTrust adds the trust bundle for the front proxy's verification: the server is this
// node's API server, whose CA is known by now.
func proxyTrust(entries []entry, known *authorities) {
	caFile := ""
	for i := range entries {
		if e := &entries[i]; e.Name == "apiserver" && len(e.chain) > 0 {
			if ca := known.issuerOf(e); ca != nil {
				caFile = ca.paths[0]
			}
		}
	}
	for i := range entries {
		if c := entries[i].Client; c != nil && c.Kind == inventory.ToAPIServerAsProxy && c.CAFile == "" {
			c.CAFile = caFile
		}
	}
}
