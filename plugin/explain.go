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
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// errNoKubeconfig is the error of a command that finds no cluster.
var errNoKubeconfig = hint.AddTo(errors.New("no kubeconfig has a cluster"), "set KUBECONFIG, or give --kubeconfig or --context")

// explainCause returns an error as it is printed: with a hint where the cause is a connection, a
// credential, a kubeconfig or the lock. recoverHint is that for an API server that cannot be
// reached. An empty text: the output has said it already.
func explainCause(err error, recoverHint func() string) error {
	var explained *explainedError
	if errors.As(err, &explained) {
		return explained.shown
	}
	if errors.Is(err, errAttention) || errors.Is(err, errLeftOut) {
		return errors.New("")
	}
	var held *kube.HeldError
	if errors.As(err, &held) {
		return err
	}
	var unknown *plan.RollbackError
	if errors.As(err, &unknown) {
		return hint.AddTo(err, displayName+" "+historyName+" lists the rotations that the nodes keep")
	}
	var refused *plan.RefusedError
	if errors.As(err, &refused) && refused.Rollback {
		return hint.AddTo(err, "issue new certificates instead: "+displayName+" --service NAME")
	}
	return explainConnection(err, recoverHint)
}

// explainConnection is explainCause for errors of requests.
func explainConnection(err error, recoverHint func() string) error {
	shown := err
	server := ""
	var request *url.Error
	if errors.As(err, &request) {
		if u, parseErr := url.Parse(request.URL); parseErr == nil {
			server = u.Scheme + "://" + u.Host
		}
		// The URL of the request is too long for a line.
		shown = &rewordedError{err, strings.Replace(err.Error(), request.Error(), request.Err.Error(), 1)}
	}
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	switch {
	case clientcmd.IsEmptyConfig(err), strings.HasSuffix(server, "://localhost:8080"):
		return errNoKubeconfig
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.AddTo(fmt.Errorf("the API server at %s serves a certificate that has expired or is not valid yet: %w", server, invalid), "%s", recoverHint())
	case errors.As(err, &authority):
		return hint.AddTo(fmt.Errorf("the API server at %s serves a certificate that was not signed by the kubeconfig's CA", server),
			"is it the kubeconfig of this cluster? --kubeconfig and --context choose another")
	case errors.As(err, &lookup):
		return hint.AddTo(fmt.Errorf("resolve the API server %q: %w", lookup.Name, lookup), "check the server in the kubeconfig, or give --server")
	case errors.Is(err, syscall.ECONNREFUSED):
		return hint.AddTo(fmt.Errorf("the API server at %s refuses the connection", server), "is it running? %s", recoverHint())
	case request != nil && request.Timeout():
		return hint.AddTo(fmt.Errorf("the API server at %s does not answer in time: %w", server, request.Err), "is it running, and can this machine reach it? %s", recoverHint())
	case request != nil && noAnswer(err):
		return hint.AddTo(fmt.Errorf("the API server at %s does not answer: %w", server, request.Err), "is it running, and can this machine reach it? %s", recoverHint())
	case errors.Is(err, kube.ErrNoEtcd):
		return hint.AddTo(errors.New(shown.Error()), "%s", strings.Join(append(hint.AllOf(err), recoverHint()), "; "))
	case apierrors.IsUnauthorized(err):
		return hint.AddTo(shown, "the API server does not accept these credentials; has your client certificate or token expired?")
	case strings.Contains(shown.Error(), "tls: expired certificate"), strings.Contains(shown.Error(), "tls: certificate has expired"):
		return hint.AddTo(shown, "the client certificate in your kubeconfig has expired: copy a new admin.conf from a control-plane node; %s", recoverHint())
	}
	return shown
}

// explainedError is an error that is printed as another one.
type explainedError struct {
	cause error
	shown error
}

func (e *explainedError) Error() string { return e.shown.Error() }

// Unwrap returns the error that is printed: the hints are those of that one only.
func (e *explainedError) Unwrap() error { return e.shown }

// Is reports whether the cause is an error.
func (e *explainedError) Is(target error) bool { return errors.Is(e.cause, target) }

// As finds an error in the cause.
func (e *explainedError) As(target any) bool { return errors.As(e.cause, target) }

// rewordedError is an error with another text, and with the same hints.
type rewordedError struct {
	error

	text string
}

func (e *rewordedError) Error() string { return e.text }

func (e *rewordedError) Unwrap() error { return e.error }

// firstLine is the first line of an error as it is printed, without its hint.
func firstLine(err error) string {
	line, _, _ := strings.Cut(explainCause(err, func() string { return "" }).Error(), "\n")
	return line
}

// noAnswer reports whether a connection ended, or could not be made, without an answer: a load
// balancer without a server behind it, or a network without a route.
func noAnswer(err error) bool {
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}
