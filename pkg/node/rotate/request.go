package rotate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

const (
	// servingSigner signs the kubelets' serving certificates.
	servingSigner = "kubernetes.io/kubelet-serving"
	// minExpiration is the shortest expiration that the certificates API accepts, in seconds.
	minExpiration = 600
)

// errSignHere means that the node cannot post a request, and that it can sign with its own CA
// key.
var errSignHere = errors.New("the authority's key is on this node")

// requestCertificate gets a certificate through the certificates API with the node's own
// identity. Where that is not possible, it signs with the CA key if that is on this node, as on
// a control-plane node whose API server is down; otherwise the plugin or the watcher, which
// follows the journal, has the request signed by a node that has the CA's key, or posts it. The
// new key is kept until then, so that a restart of this process does not void the request.
func (s *session) requestCertificate(ctx context.Context, c inventory.Certificate, old store.Content, k chosenKey, o statedir.Order, l *log) (successor, error) {
	pending := filepath.Join(s.rotation.StagedDir(), "pending-"+fileNameFor(c.ID()))
	key, before, err := pendingKey(pending, old, k)
	if err != nil {
		return successor{}, err
	}
	csr, err := newCSR(c, old, key, o)
	if err != nil {
		return successor{}, err
	}
	name, needed, err := s.findRequest(c.ID(), o.Number, before)
	if err != nil {
		return successor{}, err
	}
	if name == "" && !needed {
		name, err = s.askForSignature(ctx, csr, c, o.Compromised, l)
	}
	r := s.issueRequest(c, old, key, k, o)
	var chain []*x509.Certificate
	signedBy := ""
	switch {
	case errors.Is(err, errSignHere):
		chain, err = s.localIssuer(*localAuthority(c)).IssueSuccessor(ctx, r)
	case err == nil:
		chain, signedBy, err = s.awaitIssued(ctx, c, name, o)
		r.Now = s.now() // the wait may have been long
	}
	if err != nil {
		return successor{}, err
	}
	ca, err := s.expectedAuthority(c, signedBy, r.Now)
	if err != nil {
		return successor{}, err
	}
	if err := issue.CheckSuccessor(r, chain, ca); err != nil {
		return successor{}, err
	}
	if err := os.Remove(pending); err != nil && !errors.Is(err, os.ErrNotExist) {
		return successor{}, err
	}
	return successor{store.Material{Chain: chain, Key: key}, signedBy}, nil
}

// localAuthority returns the authority that signed a certificate if the scan found its key on
// this node; otherwise nil.
func localAuthority(c inventory.Certificate) *inventory.Issuer {
	if c.Issuer.CACert == "" || c.Issuer.CAKey == "" {
		return nil
	}
	return &inventory.Issuer{Kind: inventory.LocalCA, CACert: c.Issuer.CACert, CAKey: c.Issuer.CAKey}
}

// askForSignature requests a signature with the node's own identity, unless that identity is
// compromised, or only another node can sign.
func (s *session) askForSignature(ctx context.Context, csr nodeapi.CSR, c inventory.Certificate, distrusted bool, l *log) (name string, err error) {
	here := localAuthority(c) != nil
	if c.Issuer.Kind == inventory.OtherNode {
		return s.askElsewhere(csr, false, errors.New("the key of its CA is on another node"), l)
	}
	if distrusted {
		return s.askElsewhere(csr, here, errors.New("the node's own identity is not trusted any more"), l)
	}
	return s.postRequest(ctx, csr, here, l)
}

// postRequest posts a request with the node's own identity and returns its name. If that fails
// it returns errSignHere where the node can sign; otherwise it records CSRNeeded, and the name
// is empty.
func (s *session) postRequest(ctx context.Context, csr nodeapi.CSR, here bool, l *log) (name string, err error) {
	cause := errors.New("the node has no identity to ask with")
	if s.Requests != nil {
		asking := ctx
		cancel := context.CancelFunc(func() {})
		if here {
			// The node can sign as well, and does not wait long for the API server.
			asking, cancel = context.WithTimeout(ctx, wait.AttemptTimeout)
		}
		defer cancel()
		posted := csr
		if posted.Name, cause = s.Requests.PostCSR(asking, csr); cause == nil {
			posted = nodeapi.CSR{TargetID: csr.TargetID, Name: posted.Name, Signer: csr.Signer, Usages: csr.Usages, ExpirationSeconds: csr.ExpirationSeconds}
			return posted.Name, l.write(nodeapi.Record{Kind: nodeapi.CSRPosted, CSR: &posted})
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return s.askElsewhere(csr, here, cause, l)
}

// askElsewhere has the request signed without the node's own identity: with the CA key if that
// is on this node, otherwise through the plugin or the watcher.
func (s *session) askElsewhere(csr nodeapi.CSR, here bool, cause error, l *log) (name string, err error) {
	if here {
		return "", errSignHere
	}
	if s.Alone {
		return "", fmt.Errorf("could not request a certificate from the cluster: %w", cause)
	}
	return "", l.write(nodeapi.Record{Kind: nodeapi.CSRNeeded, CSR: &csr, Message: cause.Error()})
}

// awaitIssued returns the issued chain: from the API, or from an order of kind Issued, which
// names the node that signed it.
func (s *session) awaitIssued(ctx context.Context, c inventory.Certificate, name string, o statedir.Order) (chain []*x509.Certificate, signedBy string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, nodeapi.SignatureTimeout, issuedTooLate(c))
	defer cancel()
	for {
		orders, err := s.rotation.OrdersAfter(o.Number)
		if err != nil {
			return nil, "", err
		}
		for _, next := range orders {
			switch {
			case next.Token < o.Token: // fenced
			case next.Kind == nodeapi.OrderKeepAlive: // the sender still waits
			case next.Kind != nodeapi.OrderIssued:
				return nil, "", fmt.Errorf("order %q came before a certificate was issued", next.Kind)
			case next.Issued == nil || next.Issued.TargetID != c.ID():
			case next.Issued.Error != "":
				return nil, "", fmt.Errorf("have a certificate issued: %w", hint.FromText(next.Issued.Error))
			default:
				chain, err := certs.ParsePEM([]byte(next.Issued.PEM))
				return chain, next.Issued.SignedBy, err
			}
		}
		if name != "" {
			pem, denied, err := s.Requests.GetIssued(ctx, name)
			switch {
			case err != nil: // the API server may be restarting
			case denied != "":
				return nil, "", fmt.Errorf("certificate signing request %q was refused: %s", name, denied)
			case len(pem) > 0:
				chain, err := certs.ParsePEM(pem)
				return chain, "", err
			}
		}
		if wait.SleepFor(ctx, 500*time.Millisecond) != nil {
			return nil, "", context.Cause(ctx)
		}
	}
}

// findRequest returns the request that an earlier process has already made for a certificate.
func (s *session) findRequest(id string, order int64, before bool) (name string, needed bool, err error) {
	if !before {
		return "", false, nil
	}
	records, err := s.rotation.ReadRecords()
	for _, rec := range records {
		if rec.Order != order || rec.CSR == nil || rec.CSR.TargetID != id {
			continue
		}
		name = rec.CSR.Name
		needed = rec.Kind == nodeapi.CSRNeeded
	}
	return name, needed, err
}

// pendingKey returns the key that waits for its certificate, and makes it if there is none. A
// key that is kept stays in its own file.
func pendingKey(path string, old store.Content, k chosenKey) (key certs.Key, before bool, err error) {
	if k.kept != "" {
		return old.Key, true, nil
	}
	data, err := os.ReadFile(path)
	if err == nil {
		key, err = certs.ParseKeyPEM(data)
		return key, true, err
	}
	if !errors.Is(err, os.ErrNotExist) {
		return key, false, err
	}
	key, err = certs.NewKeyLike(old.LeafCert().PublicKey, old.Key.BlockType)
	if err != nil {
		return key, false, err
	}
	data, err = key.PEM()
	if err != nil {
		return key, false, err
	}
	return key, false, store.WriteFile(path, data, 0o600)
}

func newCSR(c inventory.Certificate, old store.Content, key certs.Key, o statedir.Order) (nodeapi.CSR, error) {
	pem, err := certs.NewCSR(old.LeafCert(), key)
	if err != nil {
		return nodeapi.CSR{}, err
	}
	csr := nodeapi.CSR{TargetID: c.ID(), Signer: c.Issuer.Signer, PEM: string(pem)}
	if c.Issuer.Authority != "" {
		if err := addPossession(&csr, c.Issuer.Authority, old); err != nil {
			return nodeapi.CSR{}, err
		}
	}
	if csr.Signer == "" {
		return csr, nil
	}
	csr.Usages = usagesFor(csr.Signer, old.LeafCert())
	if seconds := expiration(c, time.Duration(o.ValiditySeconds)*time.Second) / time.Second; seconds > 0 {
		csr.ExpirationSeconds = int32(min(max(int64(seconds), minExpiration), math.MaxInt32))
	}
	return csr, nil
}

// expiration is the lifetime to request of a signer; 0: the signer's default. The signers of
// Kubernetes (pkg/controller/certificates/authority, PermissiveSigningPolicy) count it from
// five minutes ago on, or from now where it is below eight hours, and may cut it.
func expiration(c inventory.Certificate, asked time.Duration) time.Duration {
	const short = 8 * time.Hour
	life := time.Duration(c.LifeSeconds) * time.Second
	switch {
	case asked > 0:
		return asked
	case life >= short || life == 0:
		return life
	}
	return plan.SuccessorValidity(c, 0)
}

// usagesFor returns the usages that the kubelet itself requests, in the names of the
// certificates API. "key encipherment" is for RSA keys; it is kept where the old certificate
// has it.
func usagesFor(signer string, old *x509.Certificate) []string {
	out := []string{"digital signature"}
	if old.KeyUsage&x509.KeyUsageKeyEncipherment != 0 {
		out = append(out, "key encipherment")
	}
	if signer == servingSigner {
		return append(out, "server auth")
	}
	return append(out, "client auth")
}

// fileNameFor makes a file name of any ID.
func fileNameFor(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}
