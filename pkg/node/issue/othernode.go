package issue

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

const (
	// maxChainText limits the PEM text of the chain that another node sends, and maxChain the
	// certificates in it.
	maxChainText = 256 << 10
	maxChain     = 10
)

// SignForNode signs the successor of another node's certificate with the key of a CA on this
// node. It refuses everything that [CheckForeignRequest] or [LocalCA] refuses, and a CA that did
// not sign the old certificate.
func SignForNode(ctx context.Context, root hostfs.Root, r nodeapi.SignRequest, now time.Time) ([]*x509.Certificate, error) {
	request, err := CheckForeignRequest(r, now)
	if err != nil {
		return nil, fmt.Errorf("refuse to sign for node %q: %w", r.Node, err)
	}
	local := LocalCA{Root: root, CACert: r.CACert, CAKey: r.CAKey}
	ca, _, _, err := local.loadCA(request)
	if err == nil && certs.AuthorityID(ca) != r.CSR.Authority {
		err = fmt.Errorf("certificate authority %q in %q is not the one that was requested", ca.Subject, r.CACert)
	}
	if err != nil {
		return nil, fmt.Errorf("refuse to sign for node %q: %w", r.Node, err)
	}
	return local.IssueSuccessor(ctx, request)
}

// CheckForeignRequest refuses a request of another node unless it asks for the successor of a
// certificate and is signed with the private key of that certificate: the same subject and
// names, a key of its own, no CA, and no identity that [certs.CheckIdentity] refuses. Usages and
// all else are not requested but copied from the old certificate, and so is its life where no
// validity was ordered. Its dates are not judged: a node with an expired certificate is recovered
// so.
func CheckForeignRequest(r nodeapi.SignRequest, now time.Time) (Request, error) {
	if len(r.CSR.Chain) > maxChainText {
		return Request{}, fmt.Errorf("its old certificate and chain are longer than %d bytes", maxChainText)
	}
	old, err := certs.ParsePEM([]byte(r.CSR.Chain))
	if err != nil {
		return Request{}, fmt.Errorf("read its old certificate: %w", err)
	}
	if len(old) > maxChain {
		return Request{}, fmt.Errorf("its old certificate has a chain of more than %d", maxChain)
	}
	csr, err := certs.ParseCSR([]byte(r.CSR.PEM))
	if err != nil {
		return Request{}, err
	}
	leaf := old[0]
	request := Request{Old: old, Key: certs.Key{Signer: publicKey{csr.PublicKey}}, KeepKey: r.KeepKey, Now: now,
		Validity: time.Duration(r.ValiditySeconds) * time.Second}
	if err := certs.CheckIdentity(leaf.Subject.String(), r.Node, r.ControlPlane); err != nil {
		return Request{}, err
	}
	switch kept := request.Key.FitsCert(leaf); {
	case leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0:
		return Request{}, fmt.Errorf("its old certificate %q is that of a CA", leaf.Subject)
	case kept && !r.KeepKey:
		return Request{}, errors.New("its key is the old one")
	case !kept && r.KeepKey:
		return Request{}, errors.New("its key is not the old one, which has to be kept")
	case r.ValiditySeconds < 0:
		return Request{}, fmt.Errorf("it requests a validity of %d seconds", r.ValiditySeconds)
	}
	if err := certs.FitsRequest(leaf, csr); err != nil {
		return Request{}, err
	}
	if err := certs.VerifyPossession(leaf, csr.Raw, r.CSR.Possession); err != nil {
		return Request{}, err
	}
	return request, nil
}

// publicKey is the key of a request. Its private half is on another node.
type publicKey struct{ key crypto.PublicKey }

// Public implements [crypto.Signer].
func (p publicKey) Public() crypto.PublicKey { return p.key }

// Sign implements [crypto.Signer]. It always fails.
func (publicKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the private key is on another node")
}
