package kube

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// nodeUser is the name under which a node's kubelet authenticates.
func nodeUser(node string) string { return "system:node:" + node }

const nodesGroup = "system:nodes"

// checkRequester refuses a CSR object that was not made by the node itself.
func checkRequester(csr *certificatesv1.CertificateSigningRequest, node string) error {
	if csr.Spec.Username != nodeUser(node) || !slices.Contains(csr.Spec.Groups, nodesGroup) {
		return fmt.Errorf("it was made by %q, not by node %q", csr.Spec.Username, node)
	}
	return nil
}

// checkRequest refuses a request for anything but the node's own kubelet certificate
// of that signer. all are the cluster's nodes, the one in question included.
func checkRequest(request []byte, signer string, usages []certificatesv1.KeyUsage, node string, all []kubenode.Node) error {
	r, err := certs.ParseCSR(request)
	if err != nil {
		return err
	}
	if r.Subject.CommonName != nodeUser(node) || !slices.Equal(r.Subject.Organization, []string{nodesGroup}) {
		return fmt.Errorf("it requests subject %q, not for that of node %q", r.Subject, node)
	}
	if len(r.EmailAddresses) > 0 || len(r.URIs) > 0 {
		return errors.New("it requests e-mail or URI names")
	}
	switch signer {
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		if len(r.DNSNames) > 0 || len(r.IPAddresses) > 0 {
			return errors.New("it requests names in a client certificate")
		}
		return checkUsages(usages, certificatesv1.UsageClientAuth)
	case certificatesv1.KubeletServingSignerName:
		if err := checkUsages(usages, certificatesv1.UsageServerAuth); err != nil {
			return err
		}
		return checkNames(r, node, all)
	}
	return fmt.Errorf("signer %q issues no kubelet certificates", signer)
}

// checkUsages refuses usages beyond those of the one purpose, and their lack.
func checkUsages(usages []certificatesv1.KeyUsage, purpose certificatesv1.KeyUsage) error {
	for _, u := range usages {
		if !slices.Contains([]certificatesv1.KeyUsage{purpose, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment}, u) {
			return fmt.Errorf("it requests usage %q", u)
		}
	}
	for _, u := range []certificatesv1.KeyUsage{purpose, certificatesv1.UsageDigitalSignature} {
		if !slices.Contains(usages, u) {
			return fmt.Errorf("it does not request usage %q", u)
		}
	}
	return nil
}

// checkNames refuses a serving certificate for names that are not among the addresses in the
// node's status. Without a cloud provider the kubelet sets these itself, so a name that another
// node has is refused as well: a compromised node must not get a certificate for another one.
func checkNames(r *x509.CertificateRequest, node string, all []kubenode.Node) error {
	if len(r.DNSNames) == 0 && len(r.IPAddresses) == 0 {
		return errors.New("it requests a serving certificate without names")
	}
	i := slices.IndexFunc(all, func(n kubenode.Node) bool { return n.Name == node })
	if i < 0 {
		return fmt.Errorf("there is no node %q", node)
	}
	for _, name := range r.DNSNames {
		if !hasName(all[i], name) {
			return fmt.Errorf("it requests DNS name %q, which is none of the node's addresses", name)
		}
		if other := ownerOf(all, node, func(n kubenode.Node) bool { return hasName(n, name) }); other != "" {
			return fmt.Errorf("it requests DNS name %q, which node %q has too", name, other)
		}
	}
	for _, ip := range r.IPAddresses {
		if !hasIP(all[i], ip) {
			return fmt.Errorf("it requests IP address %s, which is none of the node's addresses", ip)
		}
		if other := ownerOf(all, node, func(n kubenode.Node) bool { return hasIP(n, ip) }); other != "" {
			return fmt.Errorf("it requests IP address %s, which node %q has too", ip, other)
		}
	}
	return nil
}

func ownerOf(all []kubenode.Node, except string, has func(kubenode.Node) bool) string {
	for _, n := range all {
		if n.Name != except && has(n) {
			return n.Name
		}
	}
	return ""
}

func hasName(n kubenode.Node, name string) bool {
	if strings.EqualFold(n.Name, name) {
		return true
	}
	return slices.ContainsFunc(n.Addresses, func(a corev1.NodeAddress) bool {
		return slices.Contains([]corev1.NodeAddressType{corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalDNS}, a.Type) &&
			strings.EqualFold(a.Address, name)
	})
}

func hasIP(n kubenode.Node, ip net.IP) bool {
	return slices.ContainsFunc(n.Addresses, func(a corev1.NodeAddress) bool {
		// A node without a name of its own has its address as Hostname.
		other := net.ParseIP(a.Address)
		return other != nil && other.Equal(ip)
	})
}

// usagesOf are the usages of a journal's CSR in the API's type.
func usagesOf(csr nodeapi.CSR) []certificatesv1.KeyUsage {
	out := make([]certificatesv1.KeyUsage, len(csr.Usages))
	for i, u := range csr.Usages {
		out[i] = certificatesv1.KeyUsage(u)
	}
	return out
}
