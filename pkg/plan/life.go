package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// SuccessorValidity returns how long a certificate's successor is valid from its signing on: as
// requested, otherwise (0) so that it has the same life as the certificate.
func SuccessorValidity(c inventory.Certificate, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	return certs.ValidityFor(lifeOf(c))
}

// lifeOf is for how long a certificate was made to be valid.
func lifeOf(c inventory.Certificate) time.Duration {
	if c.LifeSeconds > 0 {
		return time.Duration(c.LifeSeconds) * time.Second
	}
	return certs.LifeOf(c.NotBefore, c.NotAfter, c.NotBefore, false)
}

// LifeChanges reports whether two lifetimes differ by more than a tenth.
func LifeChanges(was, is time.Duration) bool { return IsShorterLife(was, is) || is-was > was/10 }

// IsShorterLife reports whether a lifetime is shorter than another one by more than a tenth. A
// product of a lifetime of 30 years is more than a Duration holds.
func IsShorterLife(was, is time.Duration) bool { return is < was-was/10 }

// predictExpiry fills in the expiry of the targets' successors, as far as it is known before
// they are signed, and the reason if their life changes. granted is the longest life that the
// cluster's signers grant.
func (b *builder) predictExpiry(granted time.Duration) {
	for _, c := range b.node.Certificates {
		t := b.step.targetOf(c.ID())
		if t == nil || b.node.Time.IsZero() {
			continue
		}
		was := lifeOf(c)
		end, reason := successorEnd(b.node, c, b.req, granted)
		t.LifeSeconds = int64(was / time.Second)
		t.NewNotAfter = end
		if LifeChanges(was, end.Sub(b.node.Time.Add(-certs.Backdate))) {
			t.LifeReason = reason
		}
	}
}

// successorEnd returns the expiry of a successor that is signed now, and the reason if its life
// differs from that of the old one.
func successorEnd(n *inventory.Node, c inventory.Certificate, req Request, granted time.Duration) (end time.Time, reason string) {
	asked := req.Validity
	if c.Issuer.IsByUnit() {
		asked = 0 // the unit's program decides it
	}
	if c.Issuer.Kind == inventory.RestartCommand {
		asked = certs.DefaultLifetime
	}
	validity := SuccessorValidity(c, asked)
	if asked > 0 {
		reason = "as requested"
		if req.ValidityFrom != "" {
			reason = req.ValidityFrom
		}
		if c.Issuer.Kind == inventory.RestartCommand {
			reason = WhereValidityIs(c.Issuer.Kind)
		}
	}
	if c.Issuer.Kind == inventory.KubernetesCSR && validity > granted {
		validity = granted
		reason = "the cluster's signer grants no more (--cluster-signing-duration)"
	}
	end = n.Time.Add(validity).UTC().Truncate(time.Second)
	if asked == 0 && reason == "" && certs.IsUnlimited(c.NotBefore, c.NotAfter) && c.NotAfter.After(end) {
		end = c.NotAfter
	}
	if ca := issuerOf(n, c); ca != nil && end.After(ca.NotAfter) {
		end = ca.NotAfter
		reason = fmt.Sprintf("its CA %q expires then", ca.Name)
	}
	return end, reason
}

// issuerOf is the CA that bounds a certificate's successor, where it is known.
func issuerOf(n *inventory.Node, c inventory.Certificate) *inventory.Authority {
	if c.Issuer.Kind == inventory.Throwaway {
		return nil
	}
	var of []*inventory.Authority
	for i := range n.Authorities {
		a := &n.Authorities[i]
		here := c.Issuer.CAKey == "" || a.KeyOn == c.Issuer.CAKey && slices.Contains(a.Paths, c.Issuer.CACert)
		if a.Subject == c.Facts.Issuer && !a.Renewed && here {
			of = append(of, a)
		}
	}
	i := certs.LastingOf(of, n.Time, func(a *inventory.Authority) (time.Time, time.Time) { return a.NotBefore, a.NotAfter })
	if i < 0 {
		return nil
	}
	return of[i]
}

// signingDuration is the longest life that the signers of the cluster's controller managers
// grant: a year, unless a flag changes it.
func signingDuration(nodes []inventory.Node) time.Duration {
	const flag = "--cluster-signing-duration"
	var out time.Duration
	for i := range nodes {
		component := nodes[i].ComponentOf(certs.KubeControllerManager)
		if component == nil {
			continue
		}
		for k, arg := range component.Args {
			name, value, inline := strings.Cut(arg, "=")
			if name != flag {
				continue
			}
			if !inline && k+1 < len(component.Args) {
				value = component.Args[k+1]
			}
			if d, err := time.ParseDuration(value); err == nil && d > 0 && (out == 0 || d < out) {
				out = d
			}
		}
	}
	if out == 0 {
		return certs.DefaultLifetime
	}
	return out
}
