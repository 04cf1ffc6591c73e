package plugin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
)

// byHand is what to do when the cluster cannot be asked, since its certificates may be
// the very reason.
const byHand = "if its certificates have expired: as root on a control-plane node, rotate-certs-node rotate --all"

// explain is an error as it is shown: with a hint where the cause is a connection,
// a credential or a kubeconfig. Empty means that everything has been said.
func explain(err error) string {
	if errors.Is(err, errAttention) || errors.Is(err, errLeftOut) {
		return ""
	}
	text := err.Error()
	server := ""
	var request *url.Error
	if errors.As(err, &request) {
		if u, parseErr := url.Parse(request.URL); parseErr == nil {
			server = u.Scheme + "://" + u.Host
		}
		// The whole request line helps nobody; what was tried and why it failed does.
		text = strings.Replace(text, request.Error(), request.Err.Error(), 1)
	}
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	switch {
	case clientcmd.IsEmptyConfig(err), strings.HasSuffix(server, "://localhost:8080"):
		return "no kubeconfig says where the cluster is\nset KUBECONFIG, or give --kubeconfig or --context"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the API server at %s shows a certificate that has expired or is not valid yet: %v\n%s", server, invalid, byHand)
	case errors.As(err, &authority):
		return fmt.Sprintf("the API server at %s shows a certificate that the kubeconfig's CA did not sign\nis it the kubeconfig of this cluster? --kubeconfig and --context choose another", server)
	case errors.As(err, &lookup):
		return fmt.Sprintf("cannot find the API server %q: %v\ncheck the server in the kubeconfig, or give --server", lookup.Name, lookup)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the API server at %s refuses the connection: is it running?\n%s", server, byHand)
	case request != nil && request.Timeout():
		return fmt.Sprintf("the API server at %s does not answer in time: %v\nis it running, and can this machine reach it?", server, request.Err)
	case apierrors.IsUnauthorized(err):
		return text + "\nthe API server does not know these credentials: has your client certificate or token expired?"
	case strings.Contains(text, "tls: expired certificate"), strings.Contains(text, "tls: certificate has expired"):
		return text + "\nyour kubeconfig's client certificate has expired: copy a new admin.conf from a control-plane node; " + byHand
	}
	return text
}
