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
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// noKubeconfig is the error of a command that finds no cluster.
const noKubeconfig = "no kubeconfig has a cluster\nhint: set KUBECONFIG, or give --kubeconfig or --context"

// errorText is an error as it is printed: with a hint where the cause is a connection, a
// credential, a kubeconfig or the lock. recoverHint is that for an API server that cannot be
// reached. Empty: the output has said it already.
func errorText(err error, recoverHint func() string) string {
	var explained *explainedError
	if errors.As(err, &explained) {
		return explained.text
	}
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
		return noKubeconfig
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the API server at %s serves a certificate that has expired or is not valid yet: %v\nhint: %s", server, invalid, recoverHint())
	case errors.As(err, &authority):
		return fmt.Sprintf("the API server at %s serves a certificate that was not signed by the kubeconfig's CA\nhint: is it the kubeconfig of this cluster? --kubeconfig and --context choose another", server)
	case errors.As(err, &lookup):
		return fmt.Sprintf("resolve the API server %q: %v\nhint: check the server in the kubeconfig, or give --server", lookup.Name, lookup)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the API server at %s refuses the connection\nhint: is it running? %s", server, recoverHint())
	case request != nil && request.Timeout():
		return fmt.Sprintf("the API server at %s does not answer in time: %v\nhint: is it running, and can this machine reach it? %s", server, request.Err, recoverHint())
	case request != nil && noAnswer(err):
		return fmt.Sprintf("the API server at %s does not answer: %v\nhint: is it running, and can this machine reach it? %s", server, request.Err, recoverHint())
	case errors.Is(err, kube.ErrNoEtcd):
		return text + "; " + recoverHint()
	case apierrors.IsUnauthorized(err):
		return text + "\nhint: the API server does not accept these credentials; has your client certificate or token expired?"
	case strings.Contains(text, "tls: expired certificate"), strings.Contains(text, "tls: certificate has expired"):
		return text + "\nhint: the client certificate in your kubeconfig has expired: copy a new admin.conf from a control-plane node; " + recoverHint()
	}
	return text
}

// noAnswer reports whether a connection ended, or could not be made, without an answer: a load
// balancer without a server behind it, or a network without a route.
func noAnswer(err error) bool {
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}
