package renewal

import (
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// CompromisedCertificate marks certificates as compromised, as the object of the API does.
type CompromisedCertificate struct {
	Name        string
	Service     certs.Service
	Nodes       []string // empty: every node
	Fingerprint string   // empty: all of the service
	// At is when it was created; zero: unknown. Certificates that were issued long after it do
	// not match, even if it is evaluated late: an event may be delivered again after weeks.
	At time.Time
	// Certificates are those that [MatchCompromised] returned when the watcher first saw the
	// object. Certificates that are issued later are not compromised by it. Empty: none
	// matches.
	Certificates []Ref
}

// issuedAfter is true for a certificate that was issued more than a day after the
// CompromisedCertificate. Clocks differ, and a compromised certificate may be a minute old.
func (m CompromisedCertificate) issuedAfter(c *Certificate) bool {
	return !m.At.IsZero() && c.NotBefore.After(m.At.Add(certs.Day))
}

// MatchCompromised returns the certificates that match, among those that exist now.
func MatchCompromised(m CompromisedCertificate, nodes []Node) []Ref {
	var out []Ref
	for i := range nodes {
		n := &nodes[i]
		if len(m.Nodes) > 0 && !slices.Contains(m.Nodes, n.Name) || ofControlPlane(m.Service) && !n.ControlPlane {
			continue
		}
		for j := range n.Certificates {
			c := &n.Certificates[j]
			if c.Service == m.Service && !m.issuedAfter(c) && c.Fingerprint != "" && (m.Fingerprint == "" || strings.EqualFold(m.Fingerprint, c.Fingerprint)) {
				out = append(out, refOf(n, c))
			}
		}
	}
	sortRefs(out)
	return out
}

// RemainingCertificates returns the certificates of a CompromisedCertificate that are still on
// a node. A deleted node has none; on a node without a report, all of them may remain.
func RemainingCertificates(m CompromisedCertificate, node func(name string) (Node, bool)) []Ref {
	var out []Ref
	for _, ref := range m.Certificates {
		n, ok := node(ref.Node)
		if ok && (n.Unseen || n.findCertificate(ref) != nil) {
			out = append(out, ref)
		}
	}
	return out
}

func (n *Node) findCertificate(ref Ref) *Certificate {
	for i := range n.Certificates {
		if c := &n.Certificates[i]; c.Fingerprint == ref.Fingerprint && c.Service == ref.Service {
			return c
		}
	}
	return nil
}

// compromisedProposals proposes one rotation of all compromised certificates that remain.
func (d *decider) compromisedProposals() []Proposal {
	var items []Item
	compromised := map[key][]string{}
	for _, m := range d.CompromisedCertificates {
		for _, ref := range RemainingCertificates(m, func(name string) (Node, bool) {
			n := d.lookupNode(name)
			if n == nil {
				return Node{}, false
			}
			return *n, true
		}) {
			if compromised[ref.refKey()] = append(compromised[ref.refKey()], m.Name); len(compromised[ref.refKey()]) > 1 {
				continue
			}
			if item, ok := d.compromisedItem(ref); ok {
				items = append(items, item)
			}
		}
	}
	out, items := d.repeatCompromised(items)
	for shares := d.groupShares(items, true); len(shares) > 0; {
		chosen := d.chooseCompatible(shares, MaxNodes)
		r := d.newProposal(chosen, true)
		for _, ref := range r.Certificates {
			r.CompromisedCertificates = append(r.CompromisedCertificates, compromised[ref.refKey()]...)
		}
		slices.Sort(r.CompromisedCertificates)
		r.CompromisedCertificates = slices.Compact(r.CompromisedCertificates)
		out = append(out, r)
		shares = slices.DeleteFunc(shares, func(s *share) bool { return slices.Contains(chosen, s) })
	}
	return out
}

// repeatCompromised returns earlier proposals whose certificates are all still to be replaced,
// unchanged, and the items that they do not contain.
func (d *decider) repeatCompromised(items []Item) (out []Proposal, left []Item) {
	open := map[key]bool{}
	for _, item := range items {
		open[item.refKey()] = true
	}
	for _, r := range d.Requested {
		if !r.Compromised || slices.ContainsFunc(d.History, func(p Past) bool { return p.Name == r.Name }) ||
			slices.ContainsFunc(r.Certificates, func(ref Ref) bool { return !open[ref.refKey()] }) {
			continue
		}
		for _, ref := range r.Certificates {
			open[ref.refKey()] = false
		}
		out = append(out, r)
	}
	for _, item := range items {
		if open[item.refKey()] {
			left = append(left, item)
		}
	}
	return out, left
}

// compromisedItem returns whether a compromised certificate is replaced now, and records the
// reason if not.
func (d *decider) compromisedItem(ref Ref) (Item, bool) {
	n := d.lookupNode(ref.Node)
	c := n.findCertificate(ref)
	if c == nil {
		d.addWaiting(ref, true, ReasonNodeUnavailable, "node "+quoteName(ref.Node)+" has no report of its certificates", time.Time{})
		return Item{}, false
	}
	item := Item{Ref: ref, ControlPlane: n.ControlPlane, rule: d.Policy.RuleFor(n, c), cert: *c}
	why, text := neverReason(n, c, item.rule)
	until := time.Time{}
	switch running := d.replacingRotation(ref); {
	case why != "":
	case c.unrenewableReason(item.rule.Compromise) != "":
		why = ReasonNotRenewable
		text = c.unrenewableReason(item.rule.Compromise)
	case c.KeptKey != "":
		why = ReasonNotRenewable
		text = c.KeptKey
	case running != nil && running.State == Suspended:
		why = ReasonSuspended
		text = suspendedText(running)
	case running != nil:
		why = ReasonRunning
		text = "rotation " + quoteName(running.Name) + " replaces it"
	case d.Policy.Freeze.HoldCompromised && d.Policy.Freeze.isFrozen(d.Now):
		why = ReasonFreeze
		text = d.Policy.Freeze.freezeText()
		until = d.Policy.Freeze.Until
	default:
		why, text, until = d.backOffReason(ref, item.rule, c, true)
	}
	if why != "" {
		d.addWaiting(ref, true, why, text, until)
		return Item{}, false
	}
	return item, true
}

// replacingRotation returns the rotation that already replaces a compromised certificate; nil:
// none does.
func (d *decider) replacingRotation(ref Ref) *Past {
	for i := range d.History {
		p := &d.History[i]
		if !p.IsOpen() || !p.Compromised || p.State == Suspended && !p.Automatic {
			continue
		}
		// A rotation without fingerprints replaces all certificates of its services on its nodes.
		if p.concernsCertificate(ref) || len(p.Fingerprints) == 0 && slices.Contains(p.Services, ref.Service) &&
			(len(p.Nodes) == 0 || slices.Contains(p.Nodes, ref.Node)) {
			return p
		}
	}
	return nil
}
