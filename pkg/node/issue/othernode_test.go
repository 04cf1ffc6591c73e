package issue_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// signRequestOf is what node w1 sends for the successor of a certificate of a CA, which is on
// this node. The new key is key, or a new one.
func signRequestOf(t testing.TB, local issue.LocalCA, ca certstest.CA, old certstest.Pair, key certs.Key) nodeapi.SignRequest {
	t.Helper()
	if key.Signer == nil {
		var err error
		key, err = certs.NewKeyLike(old.Leaf().PublicKey, "")
		require.NoError(t, err)
	}
	request, err := certs.NewCSR(old.Leaf(), key)
	require.NoError(t, err)
	r := nodeapi.SignRequest{Node: "w1", CACert: local.CACert, CAKey: local.CAKey,
		CSR: nodeapi.CSR{PEM: string(request), Authority: certs.AuthorityID(ca.Cert), Chain: string(old.CertPEM())}}
	r.CSR.Possession = possessionOf(t, old, request)
	return r
}

func possessionOf(t testing.TB, old certstest.Pair, request []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(request)
	signature, err := certs.SignPossession(old.Leaf(), old.Key, block.Bytes)
	require.NoError(t, err)
	return signature
}

func TestSignForNode(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	intermediate := certstest.NewCA(t, "root").Intermediate(t, "issuing")
	expired := certstest.Valid(now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	for name, tt := range map[string]struct {
		ca      certstest.CA
		old     certstest.Pair
		keepKey bool
		ask     time.Duration // validity
		want    time.Duration // life from now on, but for the five minutes of the start
	}{
		"a client":                   {ca: ca, old: ca.Leaf(t, certstest.Name("system:kube-proxy"), certstest.SANs("w1")), want: 367 * 24 * time.Hour},
		"an RSA key":                 {ca: ca, old: ca.Leaf(t, certstest.WithKey(certstest.RSA2048, "")), want: 367 * 24 * time.Hour},
		"an Ed25519 key":             {ca: ca, old: ca.Leaf(t, certstest.WithKey(certstest.Ed25519, "")), want: 367 * 24 * time.Hour},
		"below an issuing CA":        {ca: intermediate, old: intermediate.Leaf(t), want: 367 * 24 * time.Hour},
		"one that has expired":       {ca: ca, old: ca.Leaf(t, expired), want: 24 * time.Hour},
		"with a validity":            {ca: ca, old: ca.Leaf(t), ask: 90 * 24 * time.Hour, want: 90 * 24 * time.Hour},
		"never beyond its CA":        {ca: ca, old: ca.Leaf(t), ask: 100 * 365 * 24 * time.Hour, want: ca.Cert.NotAfter.Sub(now)},
		"for a key that is kept":     {ca: ca, old: ca.Leaf(t), keepKey: true, want: 367 * 24 * time.Hour},
		"its own kubelet's identity": {ca: ca, old: ca.Leaf(t, certstest.Name("system:node:w1", "system:nodes")), want: 367 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			local := onDisk(t, tt.ca.Key, tt.ca.Cert)
			key, err := certs.NewKeyLike(tt.old.Leaf().PublicKey, "")
			require.NoError(t, err)
			if tt.keepKey {
				key = tt.old.Key
			}
			r := signRequestOf(t, local, tt.ca, tt.old, key)
			r.KeepKey = tt.keepKey
			r.ValiditySeconds = int64(tt.ask / time.Second)

			chain, err := issue.SignForNode(t.Context(), local.Root, r, now)

			require.NoError(t, err)
			assert.True(t, key.FitsCert(chain[0]))
			assert.Empty(t, certs.Compare(tt.old.Leaf(), chain[0]))
			assert.Equal(t, tt.old.Chain[1:], chain[1:])
			assert.NoError(t, chain[0].CheckSignatureFrom(tt.ca.Cert))
			assert.WithinDuration(t, now.Add(tt.want), chain[0].NotAfter, certs.Backdate)
		})
	}
}

// TestSignForNodeRefusals: a compromised node gets no certificate but the successor of one whose key it
// has.
func TestSignForNodeRefusals(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	namesake := certstest.NewCA(t, "kubernetes")
	local := onDisk(t, ca.Key, ca.Cert)
	old := ca.Leaf(t, certstest.Name("system:kube-proxy"), certstest.SANs("w1"))
	victim := ca.Leaf(t, certstest.Name("system:kube-proxy"), certstest.SANs("w1"))
	newKey, err := certs.NewKeyLike(old.Leaf().PublicKey, "")
	require.NoError(t, err)
	// asks replaces the request, and signs it with the old key as a node does.
	asks := func(template x509.CertificateRequest) func(*nodeapi.SignRequest) {
		return func(r *nodeapi.SignRequest) {
			der, err := x509.CreateCertificateRequest(rand.Reader, &template, newKey.Signer)
			require.NoError(t, err)
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
			r.CSR.PEM, r.CSR.Possession = string(text), possessionOf(t, old, text)
		}
	}
	// renews replaces the old certificate by another whose key the node has.
	renews := func(of certstest.Pair) func(*nodeapi.SignRequest) {
		return func(r *nodeapi.SignRequest) { *r = signRequestOf(t, local, ca, of, certs.Key{}) }
	}
	for name, tt := range map[string]struct {
		change func(*nodeapi.SignRequest)
		err    string
	}{
		"a certificate whose key it has not": {func(r *nodeapi.SignRequest) { r.CSR.Chain = string(victim.CertPEM()) }, "not signed with the key of the certificate"},
		"the signature of another request": {func(r *nodeapi.SignRequest) {
			r.CSR.Possession = signRequestOf(t, local, ca, old, certs.Key{}).CSR.Possession
		}, "not signed with the key"},
		"no signature":                      {func(r *nodeapi.SignRequest) { r.CSR.Possession = nil }, "not signed with the key"},
		"a certificate that it made itself": {renews(namesake.Leaf(t, certstest.Name("system:kube-proxy"))), "did not issue the old one"},
		"another subject":                   {asks(x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}}), "requests subject"},
		"another name":                      {asks(x509.CertificateRequest{RawSubject: old.Leaf().RawSubject, DNSNames: []string{"w1", "kubernetes"}}), "other names"},
		"the old key again":                 {func(r *nodeapi.SignRequest) { *r = signRequestOf(t, local, ca, old, old.Key) }, "its key is the old one"},
		"a new key where it is to be kept":  {func(r *nodeapi.SignRequest) { r.KeepKey = true }, "has to be kept"},
		"a weaker key":                      {func(r *nodeapi.SignRequest) { weaken(t, r, local, ca) }, `key: "ECDSA-P-384" → "ECDSA-P-256"`},
		"a CA":                              {renews(ca.Leaf(t, certstest.Template(func(c *x509.Certificate) { c.IsCA = true }))), "is that of a CA"},
		"a certificate that may sign":       {renews(ca.Leaf(t, certstest.Template(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }))), "is that of a CA"},
		"an administrator":                  {renews(ca.Leaf(t, certstest.Name("admin", "system:masters"))), `group "system:masters"`},
		"another kubelet":                   {renews(ca.Leaf(t, certstest.Name("system:node:w2", "system:nodes"))), `kubelet of node "w2"`},
		"another CA":                        {func(r *nodeapi.SignRequest) { r.CSR.Authority = certs.AuthorityID(namesake.Cert) }, "is not the one that was requested"},
		"a negative validity":               {func(r *nodeapi.SignRequest) { r.ValiditySeconds = -1 }, "validity of -1 seconds"},
		"no certificate":                    {func(r *nodeapi.SignRequest) { r.CSR.Chain = "" }, "no CERTIFICATE block"},
		"an endless chain": {func(r *nodeapi.SignRequest) {
			for range 11 {
				r.CSR.Chain += string(ca.Pair().CertPEM())
			}
		}, "chain of more than 10"},
		"an endless text":    {func(r *nodeapi.SignRequest) { r.CSR.Chain += string(make([]byte, 256<<10)) }, "longer than"},
		"no request":         {func(r *nodeapi.SignRequest) { r.CSR.PEM = "" }, "no PKCS #10 request"},
		"no key on the node": {func(r *nodeapi.SignRequest) { r.CAKey = "/pki/none.key" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signRequestOf(t, local, ca, old, newKey)
			tt.change(&r)
			chain, err := issue.SignForNode(t.Context(), local.Root, r, now)
			assert.ErrorContains(t, err, tt.err)
			assert.Nil(t, chain)
		})
	}
	t.Run("an expired CA", func(t *testing.T) {
		expired := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
		there := onDisk(t, ca.Key, expired.Cert)
		_, err := issue.SignForNode(t.Context(), there.Root, signRequestOf(t, there, ca, old, newKey), now)
		assert.ErrorContains(t, err, "expired")
	})
	t.Run("a cancelled context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := issue.SignForNode(ctx, local.Root, signRequestOf(t, local, ca, old, newKey), now)
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// weaken asks for a smaller key than the old one.
func weaken(t *testing.T, r *nodeapi.SignRequest, local issue.LocalCA, ca certstest.CA) {
	t.Helper()
	key, err := certs.NewKeyLike(certstest.ECDSAP256, "")
	require.NoError(t, err)
	*r = signRequestOf(t, local, ca, ca.Leaf(t, certstest.WithKey(certstest.ECDSAP384, "")), key)
}

// FuzzCheckForeignRequest: what another node sends breaks nothing, and what is accepted was signed by the
// key of a certificate that is no CA, for the same subject and another key.
func FuzzCheckForeignRequest(f *testing.F) {
	ca := certstest.NewCA(f, "kubernetes")
	good := signRequestOf(f, issue.LocalCA{}, ca, ca.Leaf(f, certstest.SANs("w1")), certs.Key{})
	seed, err := json.Marshal(good)
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"node":"w1","csr":{"pem":"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r nodeapi.SignRequest
		if json.Unmarshal(data, &r) != nil {
			return
		}
		request, err := issue.CheckForeignRequest(r, now)
		if err != nil {
			return
		}
		old := request.Old[0]
		csr, err := certs.ParseCSR([]byte(r.CSR.PEM))
		require.NoError(t, err)
		assert.Equal(t, old.RawSubject, csr.RawSubject)
		assert.False(t, old.IsCA)
		assert.Equal(t, r.KeepKey, request.Key.FitsCert(old))
		assert.NoError(t, certs.VerifyPossession(old, csr.Raw, r.CSR.Possession))
		assert.NoError(t, certs.CheckIdentity(old.Subject.String(), r.Node, r.ControlPlane))
	})
}
