// Package nodecsr has a node's kubelet certificates signed through the certificates
// API with the node's own identity: the key never leaves the node, and only the
// request travels. It is for the node program, and apart from package kube so that
// neither carries the other's weight.
package nodecsr

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/issue"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
)

var _ issue.Issuer = (*Issuer)(nil)

// ErrIdentityUnusable means that the node cannot ask for itself: its identity has
// expired or is refused, or no API server can be reached. An administrator must have
// the request signed then: [Issuer.Request] is what to hand over.
var ErrIdentityUnusable = errors.New("the node's own identity cannot be used")

// reachTimeout is how long the API server may be unreachable before that counts as a
// fact: one that is being restarted is back sooner.
const reachTimeout = 30 * time.Second

// Issuer asks the certificates API for successors, as the node itself.
type Issuer struct {
	Root       hostfs.Root
	Kubeconfig string // host path of the kubelet's kubeconfig
	Node       string
	Signer     string // inventory.Issuer.Signer
	TargetID   string // inventory.Certificate.ID
	// Posted is told of the CSR object that waits for approval and signature, before
	// the wait begins; its error ends the attempt. May be nil.
	Posted func(journal.CSR) error

	client func() (*rest.RESTClient, error) // nil: from the kubeconfig
}

// Issue posts a CSR object with the node's identity and waits for the certificate
// until ctx ends. Somebody else approves it: the controller manager, or the plugin.
// Where the identity cannot be used the error is [ErrIdentityUnusable].
func (i *Issuer) Issue(ctx context.Context, r issue.Request) ([]*x509.Certificate, error) {
	csr, err := i.Request(r)
	if err != nil {
		return nil, err
	}
	csr.Name = objectName(i.Node, csr.PEM)
	connect := i.client
	if connect == nil {
		connect = func() (*rest.RESTClient, error) { return newClient(i.Root, i.Kubeconfig) }
	}
	client, err := connect()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentityUnusable, err)
	}
	if err := i.post(ctx, client, csr); err != nil {
		return nil, err
	}
	if i.Posted != nil {
		posted := csr
		posted.PEM = "" // the object has it
		if err := i.Posted(posted); err != nil {
			return nil, err
		}
	}
	issued, err := wait(ctx, client, csr.Name)
	if err != nil {
		return nil, err
	}
	chain, err := certs.ParsePEM(issued)
	if err != nil {
		return nil, fmt.Errorf("certificate signing request %q: %w", csr.Name, err)
	}
	// The signer's CA is not at hand here; what the chain brings itself is verified.
	if err := issue.Check(r, chain, nil); err != nil {
		return nil, fmt.Errorf("certificate signing request %q: %w", csr.Name, err)
	}
	return chain, nil
}

// Request is what must be signed, for a journal.CSRNeeded record: it has no Name.
func (i *Issuer) Request(r issue.Request) (journal.CSR, error) {
	if len(r.Old) == 0 {
		return journal.CSR{}, errors.New("request certificate: there is none to renew")
	}
	pem, err := certs.NewCSR(r.Old[0], r.Key)
	if err != nil {
		return journal.CSR{}, err
	}
	csr := journal.CSR{TargetID: i.TargetID, Signer: i.Signer, PEM: string(pem), Usages: usages(i.Signer, r.Old[0])}
	if r.Validity > 0 {
		csr.ExpirationSeconds = expirationSeconds(r.Validity)
	}
	return csr, nil
}

// usages are those that the kubelet itself would ask of the signer. "key encipherment"
// is for RSA keys only, as in the kubelet; kept where the old certificate has it.
func usages(signer string, old *x509.Certificate) []string {
	out := []string{string(certificatesv1.UsageDigitalSignature)}
	if old.KeyUsage&x509.KeyUsageKeyEncipherment != 0 {
		out = append(out, string(certificatesv1.UsageKeyEncipherment))
	}
	if signer == certificatesv1.KubeletServingSignerName {
		return append(out, string(certificatesv1.UsageServerAuth))
	}
	return append(out, string(certificatesv1.UsageClientAuth))
}

// expirationSeconds keeps a lifetime within what the API takes: ten minutes at least.
func expirationSeconds(d time.Duration) int32 {
	const shortest, longest = 10 * time.Minute, 20 * 365 * 24 * time.Hour
	return int32(min(longest, max(shortest, d)) / time.Second) //nolint:gosec // 20 years of seconds fit
}

var notInNames = regexp.MustCompile(`[^a-z0-9.-]+`)

// objectName names the CSR object of a request: the same for the same request, so
// that a try whose answer got lost finds its own object again.
func objectName(node, request string) string {
	sum := sha256.Sum256([]byte(request))
	readable := notInNames.ReplaceAllString(strings.ToLower(node), "-")
	return "rotate-certs-" + strings.Trim(readable[:min(len(readable), 200)], "-.") + "-" + hex.EncodeToString(sum[:5])
}

// post creates the CSR object.
func (i *Issuer) post(ctx context.Context, client *rest.RESTClient, csr journal.CSR) error {
	object := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: csr.Name},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: []byte(csr.PEM), SignerName: csr.Signer},
	}
	for _, u := range csr.Usages {
		object.Spec.Usages = append(object.Spec.Usages, certificatesv1.KeyUsage(u))
	}
	if csr.ExpirationSeconds > 0 {
		object.Spec.ExpirationSeconds = &csr.ExpirationSeconds
	}
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	for {
		err := client.Post().Resource(resource).Body(object).Do(reach).Error()
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
			return nil
		case final(err):
			return fmt.Errorf("%w: %w", ErrIdentityUnusable, err)
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			return fmt.Errorf("create certificate signing request %q: %w", csr.Name, err)
		}
		if pause(reach) == nil {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("create certificate signing request %q: %w", csr.Name, err)
		}
		return fmt.Errorf("%w: no API server can be reached: %w", ErrIdentityUnusable, err)
	}
}

// wait reads the object until it holds a certificate. It asks once a second instead
// of watching: a wait is short, and a question survives a restarted API server.
func wait(ctx context.Context, client *rest.RESTClient, name string) ([]byte, error) {
	for {
		object := &certificatesv1.CertificateSigningRequest{}
		err := client.Get().Resource(resource).Name(name).Do(ctx).Into(object)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("certificate signing request %q: somebody deleted it", name)
		case err == nil && len(object.Status.Certificate) > 0:
			return object.Status.Certificate, nil
		case err == nil:
			for _, c := range object.Status.Conditions {
				if c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed {
					return nil, fmt.Errorf("certificate signing request %q: %s: %s: %s", name, c.Type, c.Reason, c.Message)
				}
			}
			err = errors.New("it has not been signed")
		}
		if waited := pause(ctx); waited != nil {
			return nil, fmt.Errorf("wait for certificate signing request %q: %w: %w", name, waited, err)
		}
	}
}

// final says that the API server knows this identity and refuses it, or that the TLS
// handshake did so: asking again does not help.
func final(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || strings.Contains(err.Error(), "remote error: tls:")
}

func pause(ctx context.Context) error {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
