package issue_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
)

// acceptsChain reports whether a peer that trusts only a root verifies a chain.
func acceptsChain(root *x509.Certificate, chain []*x509.Certificate) error {
	roots := x509.NewCertPool()
	between := x509.NewCertPool()
	roots.AddCert(root)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// TestPeersThatKnowTheRootAccept renews a certificate whose chain has expired intermediates:
// each of them is replaced, and the others stay.
func TestPeersThatKnowTheRootAccept(t *testing.T) {
	ended := certstest.Valid(now.Add(-100*time.Hour), now.Add(-time.Hour))
	root := certstest.NewCA(t, "root")
	policy := root.Intermediate(t, "policy")
	issuing := policy.Intermediate(t, "issuing")
	oldPolicy := root.Intermediate(t, "policy", certstest.OfKey(policy.Key), ended)
	oldIssuing := policy.Intermediate(t, "issuing", certstest.OfKey(issuing.Key), ended)
	other := certstest.NewCA(t, "other root")
	crossed := other.Intermediate(t, "root", certstest.OfKey(root.Key)) // the root's key, signed by another root
	oldCrossed := other.Intermediate(t, "root", certstest.OfKey(root.Key), ended)
	leaf := issuing.Leaf(t).Leaf()

	for name, test := range map[string]struct {
		old    []*x509.Certificate // after the leaf
		bundle []*x509.Certificate
		want   []*x509.Certificate
		roots  []*x509.Certificate
	}{
		"the lower one has ended": {[]*x509.Certificate{oldIssuing.Cert, policy.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert}, []*x509.Certificate{root.Cert}},
		"the upper one has ended": {[]*x509.Certificate{issuing.Cert, oldPolicy.Cert}, []*x509.Certificate{issuing.Cert, policy.Cert, root.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert}, []*x509.Certificate{root.Cert}},
		"both have ended": {[]*x509.Certificate{oldIssuing.Cert, oldPolicy.Cert}, []*x509.Certificate{root.Cert, policy.Cert, issuing.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert}, []*x509.Certificate{root.Cert}},
		"out of order": {[]*x509.Certificate{policy.Cert, oldIssuing.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{policy.Cert, issuing.Cert}, []*x509.Certificate{root.Cert}},
		"with the root at its end": {[]*x509.Certificate{oldIssuing.Cert, policy.Cert, root.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert, root.Cert}, []*x509.Certificate{root.Cert}},
		"cross-signed": {[]*x509.Certificate{oldIssuing.Cert, policy.Cert, crossed.Cert}, []*x509.Certificate{issuing.Cert, root.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert, crossed.Cert}, []*x509.Certificate{root.Cert, other.Cert}},
		"cross-signed by what has ended": {[]*x509.Certificate{issuing.Cert, policy.Cert, oldCrossed.Cert}, []*x509.Certificate{issuing.Cert, root.Cert, crossed.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert, crossed.Cert}, []*x509.Certificate{root.Cert, other.Cert}},
		"the root alone, as before": {[]*x509.Certificate{root.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{root.Cert}, []*x509.Certificate{issuing.Cert}},
		"the old and the new side by side": {[]*x509.Certificate{issuing.Cert, oldIssuing.Cert, policy.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{issuing.Cert, policy.Cert}, []*x509.Certificate{root.Cert}},
		"an upper one that has ended for good": {[]*x509.Certificate{issuing.Cert, oldPolicy.Cert}, []*x509.Certificate{issuing.Cert},
			[]*x509.Certificate{issuing.Cert, oldPolicy.Cert}, []*x509.Certificate{issuing.Cert}},
	} {
		t.Run(name, func(t *testing.T) {
			r := requestFor(t, append([]*x509.Certificate{leaf}, test.old...)...)
			chain, err := onDisk(t, issuing.Key, test.bundle...).IssueSuccessor(t.Context(), r)
			require.NoError(t, err)
			assert.Equal(t, subjectsOf(test.want), subjectsOf(chain[1:]))
			assert.Equal(t, test.want, chain[1:])
			for _, root := range test.roots {
				assert.NoError(t, acceptsChain(root, chain), root.Subject)
			}
			assert.NoError(t, issue.CheckSuccessor(r, chain, nil), "the engine's own check agrees")
		})
	}
}

func subjectsOf(chain []*x509.Certificate) (out []string) {
	for _, c := range chain {
		out = append(out, c.Subject.CommonName)
	}
	return out
}

// TestTheOldChainsAnchorMustVerifyTheNewOne: a policy CA that may not issue such names is
// noticed, although the signer itself may.
func TestTheOldChainsAnchorMustVerifyTheNewOne(t *testing.T) {
	ended := certstest.Valid(now.Add(-100*time.Hour), now.Add(-time.Hour))
	root := certstest.NewCA(t, "root")
	policy := root.Intermediate(t, "policy")
	issuing := policy.Intermediate(t, "issuing")
	narrow := root.Intermediate(t, "policy", certstest.OfKey(policy.Key), certstest.Template(func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedDNSDomains = []string{"elsewhere.example"}
	}))
	oldPolicy := root.Intermediate(t, "policy", certstest.OfKey(policy.Key), ended)
	leaf := issuing.Leaf(t, certstest.SANs("in.example")).Leaf()
	_, err := onDisk(t, issuing.Key, issuing.Cert, narrow.Cert, root.Cert).IssueSuccessor(t.Context(), requestFor(t, leaf, issuing.Cert, oldPolicy.Cert))
	assert.ErrorContains(t, err, `peers that know only "CN=root"`)
}

func TestLocalCATakesTheCertificateThatLasts(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	ended := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Valid(now.Add(-100*time.Hour), now.Add(-time.Hour)))
	ending := certstest.NewCA(t, "kubernetes", certstest.OfKey(ca.Key), certstest.Valid(now.Add(-100*time.Hour), now.Add(time.Hour)))
	renamed := certstest.NewCA(t, "renamed", certstest.OfKey(ca.Key), certstest.Valid(now.Add(-time.Hour), now.Add(90000*time.Hour)))
	for _, bundle := range [][]*x509.Certificate{
		{ended.Cert, ending.Cert, ca.Cert}, {ca.Cert, ending.Cert, ended.Cert}, {renamed.Cert, ending.Cert, ca.Cert},
	} {
		chain, err := onDisk(t, ca.Key, bundle...).IssueSuccessor(t.Context(), requestFor(t, ca.Leaf(t).Leaf()))
		require.NoError(t, err)
		assert.Greater(t, chain[0].NotAfter.Sub(now), 300*24*time.Hour)
		assert.True(t, certs.IsIssuedBy(chain[0], ca.Cert))
	}
}
