package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// FromBackup stands in Target.Issuer for a certificate that is put back.
const FromBackup = "Backup"

// RollbackError means that a rotation cannot be rolled back at all, so that nothing was begun.
type RollbackError struct{ ID, Reason string }

func (e *RollbackError) Error() string {
	return fmt.Sprintf("roll back rotation %q: %s; nothing was changed", e.ID, e.Reason)
}

// refuseRollback returns a [*RollbackError] if the nodes in scope keep nothing of the rotation
// that a request rolls back.
func refuseRollback(nodes []inventory.Node, req Request) error {
	if req.RollbackOf == "" {
		return nil
	}
	known := false
	for i := range nodes {
		r := rotationOf(&nodes[i], req.RollbackOf)
		if r == nil || !inScope(nodes[i].Name, req) {
			continue
		}
		known = true
		if _, _, compromised := parseScope(r.Scope); compromised {
			return &RollbackError{req.RollbackOf, "it replaced compromised keys, and the nodes have destroyed the old ones"}
		}
	}
	if !known {
		return &RollbackError{req.RollbackOf, "no node in scope has it in its journal"}
	}
	return nil
}

func rotationOf(n *inventory.Node, id string) *inventory.NodeRotation {
	for i := range n.Rotations {
		if n.Rotations[i].ID == id {
			return &n.Rotations[i]
		}
	}
	return nil
}

// restorable is a certificate that a rollback puts back.
type restorable struct {
	current inventory.Certificate
	old     certs.Facts // of the certificate to put back
}

// addRollback adds the certificates that the earlier rotation has renewed on the node. Those
// that cannot be put back are left out.
func (b *builder) addRollback() {
	past := rotationOf(b.node, b.req.RollbackOf)
	if past == nil {
		return
	}
	b.step.RollbackOf = past.ID
	switch past.State {
	case inventory.Committing, inventory.Unknown:
		b.notInspected = append(b.notInspected, NotInspected{Node: b.node.Name,
			Reason: fmt.Sprintf("rotation %s did not finish on this node (%s), so it cannot be rolled back there: the next rotation of the node completes its rollback first", past.ID, past.State)})
		return
	}
	var chosen []restorable
	for _, r := range firstToLast(past.Renewed) {
		c := certificateWith(b.node, r.ID)
		switch {
		case c == nil:
			b.left = append(b.left, leaveOutRenewal(b.node.Name, r, "it is no longer on this node"))
		case b.unfinished.isRenewed(b.node.Name, *c):
			b.addRestored(c.Service)
		case c.FingerprintSHA256 == r.Old.FingerprintSHA256: // in use already
		default:
			if reason := b.keepsFromRollback(past, *c, r); reason != "" {
				b.left = append(b.left, leaveOut(b.node, c.Service, *c, reason))
				continue
			}
			chosen = append(chosen, restorable{*c, r.Old})
		}
	}
	for _, r := range b.withoutSplitKeys(chosen) {
		b.step.addTarget(r.current)
		t := b.step.targetOf(r.current.ID())
		t.Issuer = FromBackup
		t.SignedBy = nil
		t.NewFingerprint = r.old.FingerprintSHA256
		t.NewNotAfter = r.old.NotAfter
		b.restarts = append(b.restarts, needRestart(b.node, r.current, r.current.Service, b.req.Restart)...)
		b.addRestored(r.current.Service)
	}
}

// addRestored notes that certificates of a service are put back, or were by the same rollback.
func (b *builder) addRestored(s certs.Service) {
	b.renews = true
	if !slices.ContainsFunc(b.step.Services, func(known Service) bool { return known.Service == s }) {
		b.step.Services = append(b.step.Services, Service{Service: s})
	}
}

// keepsFromRollback returns the reason why a certificate that a rotation has renewed cannot be
// put back; empty: it can be.
func (b *builder) keepsFromRollback(past *inventory.NodeRotation, c inventory.Certificate, r inventory.Renewal) string {
	switch {
	case c.Issuer.Kind == inventory.UnitStart:
		return fmt.Sprintf("a restart of %s made it and overwrote the earlier one", c.Issuer.Unit)
	case c.Issuer.IsByCommand():
		return fmt.Sprintf("%s renewed it; that command keeps the earlier one in a backup of its own", c.Issuer.Renewer())
	case c.FingerprintSHA256 != r.New.FingerprintSHA256:
		return renewedSince(b.node, c, past.ID)
	case !b.node.Time.Before(r.Old.NotAfter):
		return fmt.Sprintf("the certificate from before rotation %s expired %s", past.ID, r.Old.NotAfter.UTC().Format(time.RFC3339))
	case !past.Backup:
		return fmt.Sprintf("the node no longer keeps the files that rotation %s has replaced", past.ID)
	case isDamaged(b.node, &c):
		return cmp.Or(c.Reason, "is invalid")
	}
	if reason := withoutAuthority(b.node, c, r.Old); reason != "" {
		return reason
	}
	if o := restartObstacle(b.node, c); o.BlocksRenewal(b.req.Restart) {
		return o.Reason
	}
	return ""
}

// renewedSince describes the replacement of a certificate after a rotation.
func renewedSince(n *inventory.Node, c inventory.Certificate, past string) string {
	for _, later := range n.Rotations {
		isIt := func(r inventory.Renewal) bool {
			return r.ID == c.ID() && r.New.FingerprintSHA256 == c.FingerprintSHA256
		}
		if later.ID != past && slices.ContainsFunc(later.Renewed, isIt) {
			return fmt.Sprintf("rotation %s has replaced it since: roll that one back first", later.ID)
		}
	}
	return fmt.Sprintf("another program has replaced it since rotation %s: it is now certificate %s, valid until %s",
		past, c.SerialNumber, c.NotAfter.UTC().Format(time.RFC3339))
}

// withoutAuthority returns the reason why the CA of an old certificate is no longer accepted, as
// far as names and dates show it; the node also verifies the signature.
func withoutAuthority(n *inventory.Node, c inventory.Certificate, old certs.Facts) string {
	if c.Issuer.Kind == inventory.Throwaway {
		return ""
	}
	named := func(subject string) bool {
		return slices.ContainsFunc(n.Authorities, func(a inventory.Authority) bool { return a.Subject == subject })
	}
	if old.Issuer != c.Facts.Issuer && named(c.Facts.Issuer) && !named(old.Issuer) {
		return fmt.Sprintf("the CA of the earlier certificate, %q, is no longer on this node", old.Issuer)
	}
	return ""
}

// withoutSplitKeys leaves out the certificates whose key lies in one file with that of a
// certificate which is not put back: the file holds one key.
func (b *builder) withoutSplitKeys(chosen []restorable) []restorable {
	for {
		at := slices.IndexFunc(chosen, func(r restorable) bool { return b.splitFrom(r.current, chosen) != nil })
		if at < 0 {
			return chosen
		}
		c := chosen[at].current
		other := b.splitFrom(c, chosen)
		b.left = append(b.left, leaveOut(b.node, c.Service, c,
			fmt.Sprintf("its key lies in %q together with that of %s %q, which is not put back", c.KeyFile, other.Name, other.Store.Cert)))
		chosen = slices.Delete(chosen, at, at+1)
	}
}

// splitFrom returns a certificate that shares the key's file and is not among the chosen, or
// nil.
func (b *builder) splitFrom(c inventory.Certificate, chosen []restorable) *inventory.Certificate {
	if b.node.KeptKey(c) != "" {
		return nil // the file keeps its key
	}
	for _, other := range b.node.SharingKey(c) {
		if !slices.ContainsFunc(chosen, func(r restorable) bool { return r.current.ID() == other.ID() }) {
			return &other
		}
	}
	return nil
}

// firstToLast joins the renewals of one certificate, of which a rotation has several if it was
// continued: from the first old to the last new certificate.
func firstToLast(renewals []inventory.Renewal) []inventory.Renewal {
	var out []inventory.Renewal
	for _, r := range renewals {
		if i := slices.IndexFunc(out, func(o inventory.Renewal) bool { return o.ID == r.ID }); i >= 0 {
			out[i].New = r.New
			continue
		}
		out = append(out, r)
	}
	return out
}

func certificateWith(n *inventory.Node, id string) *inventory.Certificate {
	for i := range n.Certificates {
		if n.Certificates[i].ID() == id {
			return &n.Certificates[i]
		}
	}
	return nil
}

// leaveOutRenewal is leaveOut for a certificate that is not on the node any more.
func leaveOutRenewal(node string, r inventory.Renewal, reason string) LeftOut {
	service, rest, _ := strings.Cut(r.ID, "/")
	name, place, _ := strings.Cut(rest, "@")
	path, user, _ := strings.Cut(place, "#")
	return LeftOut{Node: node, Service: certs.Service(service), Name: name, Path: path, User: user, NotAfter: r.New.NotAfter, Reason: reason}
}

// IsRollbackScope reports whether a scope is that of a rollback.
func IsRollbackScope(scope string) bool { return strings.HasPrefix(scope, rollbackScope) }

// addRollback fills in the parts of the scope of a rollback, and the services of the nodes' parts.
func (p *Past) addRollback(scope string, nodes []inventory.Node) {
	rest, is := strings.CutPrefix(scope, rollbackScope)
	if !is {
		return
	}
	id, only, restricted := strings.Cut(rest, ";nodes=")
	if !IsRotationID(id) {
		return
	}
	if restricted {
		if p.Only = strings.Split(only, ","); slices.ContainsFunc(p.Only, func(n string) bool { return !nodeName().MatchString(n) }) {
			p.Only = nil
			return
		}
	}
	p.RollbackOf = id
	for i := range nodes {
		if r := rotationOf(&nodes[i], p.ID); r != nil {
			p.Services = append(p.Services, r.Services...)
		}
	}
	p.Services = certs.SortServices(p.Services)
}
