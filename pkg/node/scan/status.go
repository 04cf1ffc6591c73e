package scan

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"path"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// setStatus sets the status: the gravest finding wins. Unreadable certificates have theirs
// already. A reason from discovery comes first.
func (e *entry) setStatus(known *authorities, servesOther string, now time.Time, within time.Duration) {
	if len(e.chain) == 0 {
		return
	}
	status, why := e.ValidityStatus(now, within)
	switch {
	case e.keyErr != nil:
		status = certs.Invalid
		why = e.keyErr.Error()
	case status == certs.Expired || status == certs.NotYetValid:
		// This finding is the one to act upon, whatever the others.
	default:
		if problem := e.chainProblem(known, now); problem != "" {
			status = certs.Invalid
			why = problem
			e.BrokenChain = true
		} else if refused := e.refusal(); refused != "" {
			status = certs.Invalid
			why = refused
			e.Refused = true
		} else if servesOther != "" {
			status = certs.NotServed
			why = servesOther
		}
	}
	e.Status = status
	e.Reason = joinReasons(e.Reason, why)
}

// chainProblem returns the reason why the certificate's chain does not verify; empty if it
// does, or if its CA is not known on this node.
func (e *entry) chainProblem(known *authorities, now time.Time) string {
	if ca := known.issuerOf(e); ca != nil {
		switch {
		case !now.Before(ca.cert.NotAfter):
			return fmt.Sprintf("its CA %q expired %s", ca.displayName(), ca.cert.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(ca.cert.NotBefore):
			return fmt.Sprintf("its CA %q is valid only from %s; check this node's clock", ca.displayName(), ca.cert.NotBefore.UTC().Format(time.RFC3339))
		}
		problem := cmp.Or(certs.CanSign(ca.cert, now), certs.CheckNameConstraints(e.chain, ca.cert, now))
		if problem != nil {
			return problem.Error()
		}
		return ""
	}
	if ca := known.namesakeOf(e); ca != nil && !e.bringsIssuer() && e.refusal() == "" {
		return fmt.Sprintf("the CA %q in %s did not sign it, though it has its issuer's name", ca.displayName(), ca.paths[0])
	}
	return ""
}

// refusal returns why Go's TLS refuses the certificate because of its key or its signature; empty: it
// does not. The signature of a self-signed certificate is not verified by peers that trust it.
func (e *entry) refusal() string {
	leaf := e.leafCert()
	if key := certs.RefusedKey(leaf.PublicKey); key != "" || certs.IsIssuedBy(leaf, leaf) {
		return key
	}
	return certs.RefusedSignature(leaf)
}

// bringsIssuer reports whether the issuer's certificate follows in its own file.
func (e *entry) bringsIssuer() bool {
	return slices.ContainsFunc(e.chain, func(c *x509.Certificate) bool { return certs.IsIssuedBy(e.leafCert(), c) })
}

// isSelfMade reports whether the component made the certificate, as the kubelet does
// kubelet.crt: self-signed, or signed by a CA that follows it in the file.
func (e *entry) isSelfMade() bool {
	return slices.ContainsFunc(e.chain, func(c *x509.Certificate) bool { return certs.IsIssuedBy(e.leafCert(), c) && certs.IsIssuedBy(c, c) })
}

// selfMadeName matches the name that components give to the CA of a self-made certificate:
// "node1-ca@1700000000".
var selfMadeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`-ca@[0-9]+$`)
})

// findIssuer determines the issuer of the successor, or the reason why there is none.
func (e *entry) findIssuer(known *authorities) {
	if len(e.chain) == 0 {
		e.Issuer.Kind = cmp.Or(e.Issuer.Kind, inventory.NoIssuer)
		return
	}
	if e.Issuer.Kind == inventory.NoIssuer {
		return // discovery gave the reason
	}
	ca := known.issuerOf(e)
	if e.Issuer.IsByUnit() {
		e.checkUnit(ca, known)
		return
	}
	local := inventory.Issuer{}
	if ca != nil && ca.key != "" {
		local = inventory.Issuer{Kind: inventory.LocalCA, CACert: ca.keyCert, CAKey: ca.key}
	}
	signer := e.csrSigner()
	selfMade := selfMadeName().MatchString(e.leafCert().Issuer.CommonName)
	switch {
	case e.Issuer.Kind == inventory.NoIssuer: // discovery found the unit that renews it
	case e.Issuer.Kind == inventory.Throwaway && e.isSelfMade(), selfMade && (e.isSelfMade() || ca == nil):
		// Also where a flag names the pair: its CA's key was never kept.
		e.replaceOwnCA(known)
	case signer != "" && (e.Issuer.Kind == inventory.KubernetesCSR || local.Kind == ""):
		e.Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: signer, CACert: local.CACert, CAKey: local.CAKey}
		if ca != nil && local.Kind == "" {
			e.Issuer.Authority = certs.AuthorityID(ca.cert)
			e.Issuer.CACert = ca.paths[0]
		}
	case local.Kind != "":
		e.Issuer = local
	default:
		why := e.noIssuer(ca, known)
		e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		e.Reason = joinReasons(e.Reason, why)
		if ca != nil {
			e.Issuer.Authority = certs.AuthorityID(ca.cert)
			e.Issuer.CACert = ca.paths[0]
			e.Issuer.Reason = why
		}
	}
}

// replaceOwnCA has the successor of a self-made certificate made with another CA, unless a
// component trusts the present one: it would refuse the successor.
func (e *entry) replaceOwnCA(known *authorities) {
	e.Issuer = inventory.Issuer{Kind: inventory.Throwaway}
	if bundle := known.bundleWith(e); bundle != nil {
		e.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		e.Reason = joinReasons(e.Reason, fmt.Sprintf("cannot be renewed: its successor has another CA, and %s trusts the present one, from %q: "+
			"have it signed by a CA that remains, and name that one there", caUser(bundle), bundle.files[0]))
	}
}

// noIssuer explains why the certificate cannot be renewed on this node.
func (e *entry) noIssuer(ca *authority, known *authorities) string {
	switch by := known.replacementOf(ca); {
	case by != nil:
		return fmt.Sprintf("cannot be renewed yet: its CA %q (%s) was replaced by one of the same name with a new key, valid from %s, and only that key is here; "+
			"once all peers that verify this certificate trust the new CA, issue its successor by hand",
			ca.displayName(), ca.paths[0], by.cert.NotBefore.UTC().Format(time.DateOnly))
	case ca != nil:
		return fmt.Sprintf("cannot be renewed from this node: the key of its CA %q (%s) %s", ca.displayName(), ca.paths[0],
			cmp.Or(ca.noKey, "is not on this node: it is not in "+path.Dir(ca.paths[0])))
	case e.isSelfMade():
		return "cannot be renewed: it is self-signed, and its maker is not known"
	default:
		return fmt.Sprintf("cannot be renewed from this node: its CA %q is not here", e.leafCert().Issuer.CommonName)
	}
}

// joinReasons puts two reasons into one text.
func joinReasons(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}
