package issue_test

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
)

var now = certstest.Now

// requestFor requests the successor of a chain, with a new key of the same kind.
func requestFor(t *testing.T, old ...*x509.Certificate) issue.Request {
	t.Helper()
	key, err := certs.NewKeyLike(old[0].PublicKey, "")
	require.NoError(t, err)
	return issue.Request{Old: old, Key: key, Now: now}
}

// onDisk writes a CA below a new root, with the certificates that shall lie in its file.
func onDisk(t *testing.T, key certs.Key, cas ...*x509.Certificate) issue.LocalCA {
	t.Helper()
	tree := certstest.Tree{Root: hostfs.Root(t.TempDir())}
	s := tree.WritePair(t, "/pki/ca", certstest.Pair{Chain: cas, Key: key})
	return issue.LocalCA{Root: tree.Root, CACert: s.Cert, CAKey: s.Key}
}

// TestIssuers is the contract of every issuer.
func TestIssuers(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	intermediate := certstest.NewCA(t, "root").Intermediate(t, "intermediate")
	for _, test := range []struct {
		name   string
		old    []*x509.Certificate
		issuer issue.Issuer
	}{
		{"CA on this node", ca.Leaf(t).Chain, onDisk(t, ca.Key, ca.Cert)},
		{"intermediate CA on this node", intermediate.Leaf(t).Chain, onDisk(t, intermediate.Key, intermediate.Cert)},
		{"throwaway CA", certstest.SelfMade(t, "n1").Chain, issue.Throwaway{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := requestFor(t, test.old...)
			r.Validity = 90 * 24 * time.Hour
			chain, err := test.issuer.IssueSuccessor(t.Context(), r)
			require.NoError(t, err)
			require.Len(t, chain, len(test.old))
			assert.True(t, r.Key.FitsCert(chain[0]))
			assert.NotEqual(t, test.old[0].SerialNumber, chain[0].SerialNumber)
			assert.Empty(t, certs.Compare(test.old[0], chain[0]))
			assert.Equal(t, now.Add(r.Validity), chain[0].NotAfter)
			assert.NoError(t, issue.CheckSuccessor(r, chain, nil))

			for name, bad := range map[string]issue.Request{
				"no certificate": {Key: r.Key, Now: now},
				"no key":         {Old: test.old, Now: now},
				"no time":        {Old: test.old, Key: r.Key},
			} {
				_, err := test.issuer.IssueSuccessor(t.Context(), bad)
				assert.Error(t, err, name)
			}
		})
	}
}

func TestLocalCAKeepsIntermediates(t *testing.T) {
	root := certstest.NewCA(t, "root")
	middle := root.Intermediate(t, "middle")
	lower := middle.Intermediate(t, "lower")
	old := lower.Leaf(t)
	ofLower := onDisk(t, lower.Key, lower.Cert, middle.Cert)

	t.Run("as they were", func(t *testing.T) {
		chain, err := ofLower.IssueSuccessor(t.Context(), requestFor(t, old.Chain...))
		require.NoError(t, err)
		assert.Equal(t, []*x509.Certificate{lower.Cert, middle.Cert}, chain[1:])
	})
	t.Run("in whatever order they were", func(t *testing.T) {
		chain, err := ofLower.IssueSuccessor(t.Context(), requestFor(t, old.Leaf(), middle.Cert, lower.Cert))
		require.NoError(t, err)
		assert.Equal(t, []*x509.Certificate{middle.Cert, lower.Cert}, chain[1:])
	})
	t.Run("none where there were none", func(t *testing.T) {
		chain, err := ofLower.IssueSuccessor(t.Context(), requestFor(t, old.Leaf()))
		require.NoError(t, err)
		assert.Len(t, chain, 1)
	})
	t.Run("renewed where one had run out", func(t *testing.T) {
		expired := middle.Intermediate(t, "lower", certstest.OfKey(lower.Key), certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
		chain, err := ofLower.IssueSuccessor(t.Context(), requestFor(t, old.Leaf(), expired.Cert))
		require.NoError(t, err)
		assert.Equal(t, []*x509.Certificate{lower.Cert}, chain[1:])
	})
}

func TestLocalCAPicksOfSeveralTheOneWithTheKey(t *testing.T) {
	newCA := certstest.NewCA(t, "kubernetes")
	oldCA := certstest.NewCA(t, "kubernetes")
	chain, err := onDisk(t, oldCA.Key, newCA.Cert, oldCA.Cert).IssueSuccessor(t.Context(), requestFor(t, oldCA.Leaf(t).Chain...))
	require.NoError(t, err)
	assert.NoError(t, chain[0].CheckSignatureFrom(oldCA.Cert))
}

func TestLocalCARefusals(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	other := certstest.NewCA(t, "kubernetes")
	expired := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	mute := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Template(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }))
	old := ca.Leaf(t, certstest.SANs("in.example")).Leaf()
	narrow := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedDNSDomains = []string{"elsewhere.example"}
	}))
	good := onDisk(t, ca.Key, ca.Cert)
	damaged := certstest.Tree{Root: good.Root}
	damaged.Write(t, "/pki/not.pem", []byte("nothing"), 0o600)

	for _, test := range []struct {
		name   string
		issuer issue.LocalCA
		err    string
	}{
		{"key of another CA", onDisk(t, other.Key, ca.Cert), `the key in "/pki/ca.key" does not fit the certificate in "/pki/ca.crt"`},
		{"namesake of the CA", onDisk(t, other.Key, other.Cert), "did not issue the old one"},
		{"expired CA", onDisk(t, ca.Key, expired.Cert), "expired"},
		{"CA that may not sign", onDisk(t, ca.Key, mute.Cert), "may not sign certificates"},
		{"CA that may not sign this name", onDisk(t, ca.Key, narrow.Cert), "does not verify"},
		{"no certificate", issue.LocalCA{Root: good.Root, CACert: "/pki/none.crt", CAKey: "/pki/ca.key"}, `read "/pki/none.crt": no such file`},
		{"no key", issue.LocalCA{Root: good.Root, CACert: "/pki/ca.crt", CAKey: "/pki/none.key"}, `read "/pki/none.key": no such file`},
		{"damaged certificate", issue.LocalCA{Root: good.Root, CACert: "/pki/not.pem", CAKey: "/pki/ca.key"}, `"/pki/not.pem": no CERTIFICATE block`},
		{"damaged key", issue.LocalCA{Root: good.Root, CACert: "/pki/ca.crt", CAKey: "/pki/not.pem"}, `from "/pki/not.pem": no private key block`},
	} {
		t.Run(test.name, func(t *testing.T) {
			chain, err := test.issuer.IssueSuccessor(t.Context(), requestFor(t, old))
			require.ErrorContains(t, err, test.err)
			assert.Nil(t, chain)
			assert.NotContains(t, err.Error(), string(good.Root), "people know host paths")
		})
	}
	before, err := filepath.Glob(filepath.Join(string(good.Root), "pki", "*"))
	require.NoError(t, err)
	assert.Len(t, before, 3, "issuing writes no files")
}

// TestCheck refuses certificates that a careless or malicious signer might return.
func TestCheck(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	other := certstest.NewCA(t, "ca")
	client := certstest.Usages(x509.ExtKeyUsageClientAuth)
	name := certstest.Name("system:node:n1", "system:nodes")
	old := ca.Leaf(t, name, client, certstest.SANs("n1")).Leaf()
	r := requestFor(t, old)
	mine := certstest.OfKey(r.Key)

	for _, test := range []struct {
		name string
		ca   certstest.CA
		is   []certstest.Option
		err  string
	}{
		{"as asked", ca, []certstest.Option{mine, name, client, certstest.SANs("n1")}, ""},
		{"with more names than asked", ca, []certstest.Option{mine, name, client, certstest.SANs("n1", "n1.example")}, ""},
		{"for another key", ca, []certstest.Option{name, client, certstest.SANs("n1")}, "not for the new key"},
		{"for another user", ca, []certstest.Option{mine, certstest.Name("system:node:n2", "system:nodes"), client, certstest.SANs("n1")}, "subject"},
		{"without a name", ca, []certstest.Option{mine, name, client}, `names: "DNS:n1" → "" (lost DNS:n1)`},
		{"without its usage", ca, []certstest.Option{mine, name, certstest.Usages(x509.ExtKeyUsageServerAuth), certstest.SANs("n1")}, "(lost client auth)"},
		{"as a CA", ca, []certstest.Option{mine, name, client, certstest.SANs("n1"), certstest.Template(func(c *x509.Certificate) { c.IsCA = true })}, "certificate authority"},
		{"by another CA", other, []certstest.Option{mine, name, client, certstest.SANs("n1")}, "does not verify"},
		{"expired", ca, []certstest.Option{mine, name, client, certstest.SANs("n1"), certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))}, "expired"},
		{"not yet valid", ca, []certstest.Option{mine, name, client, certstest.SANs("n1"), certstest.Valid(now.Add(time.Hour), now.Add(2*time.Hour))}, "valid only from"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := issue.CheckSuccessor(r, test.ca.Leaf(t, test.is...).Chain, ca.Cert)
			if test.err == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.err)
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		assert.ErrorContains(t, issue.CheckSuccessor(r, nil, ca.Cert), "there is none")
	})
	t.Run("the old key again", func(t *testing.T) {
		p := ca.Leaf(t)
		err := issue.CheckSuccessor(issue.Request{Old: p.Chain, Key: p.Key, Now: now}, p.Chain, ca.Cert)
		assert.ErrorContains(t, err, "its key is the old one")
	})
	t.Run("the old key, which is to be kept", func(t *testing.T) {
		p := ca.Leaf(t)
		assert.NoError(t, issue.CheckSuccessor(issue.Request{Old: p.Chain, Key: p.Key, KeepKey: true, Now: now}, p.Chain, ca.Cert))
		fresh := requestFor(t, p.Chain...)
		fresh.KeepKey = true
		err := issue.CheckSuccessor(fresh, ca.Leaf(t, certstest.OfKey(fresh.Key)).Chain, ca.Cert)
		assert.ErrorContains(t, err, "has to be kept")
	})
	t.Run("a critical extension that Go does not know, as before", func(t *testing.T) {
		odd := certstest.Extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 3}, true, []byte{5, 0})
		r := requestFor(t, ca.Leaf(t, odd).Leaf())
		assert.NoError(t, issue.CheckSuccessor(r, ca.Leaf(t, odd, certstest.OfKey(r.Key)).Chain, ca.Cert))
		plain := requestFor(t, ca.Leaf(t).Leaf())
		assert.ErrorContains(t, issue.CheckSuccessor(plain, ca.Leaf(t, odd, certstest.OfKey(plain.Key)).Chain, ca.Cert), "does not verify")
	})
}

func TestIssueHonoursACancelledContext(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, issuer := range []issue.Issuer{onDisk(t, ca.Key, ca.Cert), issue.Throwaway{}} {
		_, err := issuer.IssueSuccessor(ctx, requestFor(t, ca.Leaf(t).Chain...))
		assert.ErrorIs(t, err, context.Canceled)
	}
}
