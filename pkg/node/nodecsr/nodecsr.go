// Package nodecsr asks the certificates API for kubelet certificates with the node's own
// identity: the key never leaves the node, only the request travels. It is separate from
// package kube, so that the plugin does not depend on host files and the node program does not
// depend on the whole clientset.
package nodecsr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Requests makes CSR objects in the node's own name. It may be used concurrently.
type Requests struct {
	Root       hostfs.Root
	Kubeconfig string // host path of the kubelet's kubeconfig
	Node       string

	mu     sync.Mutex
	client *rest.RESTClient
}

// PostCSR creates the CSR object of a request and returns its name; if an earlier attempt has
// created it, that one is used. An error means that this identity cannot: it has expired, it is
// refused, or no API server is reachable. The plugin or the watcher must post the request then.
func (r *Requests) PostCSR(ctx context.Context, csr nodeapi.CSR) (name string, err error) {
	object := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: objectName(r.Node, csr.PEM)},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: []byte(csr.PEM), SignerName: csr.Signer},
	}
	for _, u := range csr.Usages {
		object.Spec.Usages = append(object.Spec.Usages, certificatesv1.KeyUsage(u))
	}
	if csr.ExpirationSeconds > 0 {
		object.Spec.ExpirationSeconds = &csr.ExpirationSeconds
	}
	// A restart of the API server takes less.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		client, err := r.connect()
		if err != nil {
			return "", fmt.Errorf("use the node's own identity: %w", err)
		}
		err = client.Post().Resource(resource).Body(object).Do(ctx).Error()
		if err == nil || apierrors.IsAlreadyExists(err) {
			return object.Name, nil
		}
		r.disconnect()
		if isRefused(err) || wait.SleepFor(ctx, time.Second) != nil {
			return "", fmt.Errorf("create certificate signing request %q as node %q: %w", object.Name, r.Node, err)
		}
	}
}

// GetIssued returns the issued chain as PEM, or nil while the request is pending. denied is the
// reason of a refusal, which is final. An error means that the API server did not answer.
func (r *Requests) GetIssued(ctx context.Context, name string) (pem []byte, denied string, err error) {
	client, err := r.connect()
	if err != nil {
		return nil, "", fmt.Errorf("use the node's own identity: %w", err)
	}
	object := &certificatesv1.CertificateSigningRequest{}
	err = client.Get().Resource(resource).Name(name).Do(ctx).Into(object)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("certificate signing request %q was deleted", name), nil
	}
	if err != nil {
		r.disconnect()
		return nil, "", fmt.Errorf("read certificate signing request %q: %w", name, err)
	}
	for _, c := range object.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateDenied:
			return nil, fmt.Sprintf("certificate signing request %q was denied: %s: %s", name, c.Reason, c.Message), nil
		case certificatesv1.CertificateFailed:
			return nil, fmt.Sprintf("the signer could not sign certificate signing request %q: %s: %s", name, c.Reason, c.Message), nil
		}
	}
	if len(object.Status.Certificate) == 0 {
		return nil, "", nil
	}
	return object.Status.Certificate, "", nil
}

// connect makes a client once. After disconnect the next call makes a new one, with the
// kubeconfig as it is then and on a new connection.
func (r *Requests) connect() (*rest.RESTClient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	client, err := newClient(r.Root, r.Kubeconfig)
	r.client = client
	return client, err
}

func (r *Requests) disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && r.client.Client != nil {
		r.client.Client.CloseIdleConnections()
	}
	r.client = nil
}

// isRefused reports whether another attempt is useless: the API server does not accept the
// identity or the request, or the TLS handshake failed on the client certificate.
func isRefused(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) ||
		apierrors.IsBadRequest(err) || strings.Contains(err.Error(), "remote error: tls:")
}

var notInNames = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[^a-z0-9.-]+`)
})

// objectName names the CSR object of a request: always the same for the same request, so that
// an attempt after a lost answer finds the existing object.
func objectName(node, request string) string {
	sum := sha256.Sum256([]byte(request))
	readable := notInNames().ReplaceAllString(strings.ToLower(node), "-")
	return "rotate-certs-" + strings.Trim(readable[:min(len(readable), 200)], "-.") + "-" + hex.EncodeToString(sum[:5])
}
