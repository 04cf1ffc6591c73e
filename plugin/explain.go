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

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// recoverHint is the hint where the API server cannot be reached: its certificates may have expired.
const recoverHint = "if its certificates have expired, this brings the cluster back over ssh: " + displayName + " " + recoverName + " --host [USER@]NODE[,…]"

// errorText is an error as it is printed: with a hint where the cause is a connection, a
// credential, a kubeconfig or the lock. Empty: the output has said it already.
func errorText(err error) string {
	if errors.Is(err, errAttention) || errors.Is(err, errLeftOut) {
		return ""
	}
	text := err.Error()
	var held *kube.HeldError
	if errors.As(err, &held) {
		return text + "\nhint: " + held.Hint()
	}
	var unknown *plan.RollbackError
	if errors.As(err, &unknown) {
		return text + "\nhint: " + displayName + " " + historyName + " lists the rotations that the nodes keep"
	}
	var refused *plan.RefusedError
	if errors.As(err, &refused) && refused.Rollback {
		return text + "\nhint: issue new certificates instead: " + displayName + " --service NAME"
	}
	server := ""
	var request *url.Error
	if errors.As(err, &request) {
		if u, parseErr := url.Parse(request.URL); parseErr == nil {
			server = u.Scheme + "://" + u.Host
		}
		// The URL of the request is too long for a line.
		text = strings.Replace(text, request.Error(), request.Err.Error(), 1)
	}
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	switch {
	case clientcmd.IsEmptyConfig(err), strings.HasSuffix(server, "://localhost:8080"):
		return "no kubeconfig has a cluster\nhint: set KUBECONFIG, or give --kubeconfig or --context"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the API server at %s serves a certificate that has expired or is not valid yet: %v\nhint: %s", server, invalid, recoverHint)
	case errors.As(err, &authority):
		return fmt.Sprintf("the API server at %s serves a certificate that was not signed by the kubeconfig's CA\nhint: is it the kubeconfig of this cluster? --kubeconfig and --context choose another", server)
	case errors.As(err, &lookup):
		return fmt.Sprintf("resolve the API server %q: %v\nhint: check the server in the kubeconfig, or give --server", lookup.Name, lookup)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the API server at %s refuses the connection\nhint: is it running? %s", server, recoverHint)
	case request != nil && request.Timeout():
		return fmt.Sprintf("the API server at %s does not answer in time: %v\nhint: is it running, and can this machine reach it?", server, request.Err)
	case apierrors.IsUnauthorized(err):
		return text + "\nhint: the API server does not accept these credentials; has your client certificate or token expired?"
	case strings.Contains(text, "tls: expired certificate"), strings.Contains(text, "tls: certificate has expired"):
		return text + "\nhint: the client certificate in your kubeconfig has expired: copy a new admin.conf from a control-plane node; " + recoverHint
	}
	return text
}
