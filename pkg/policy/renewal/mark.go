package renewal

import (
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// compromisedPause is the pause after the first failure to replace compromised keys,
// where that of the policy is longer.
const compromisedPause = 5 * time.Minute

// Mark says that keys are in wrong hands.
type Mark struct {
	Name        string
	Service     certs.Service
	Nodes       []string // empty: every node
	Fingerprint string   // empty: all of the service
	// At is when it was made; zero: not known. What was issued long after it is not meant,
	// however late it is looked for: an event may be handed out again after weeks.
	At time.Time
	// Certificates are what [ResolveMark] returned when the mark was seen first. What is
	// issued later is not compromised by it. Without any, the mark means nothing.
	Certificates []Ref
}

// longestCompromised is the longest pause between two such attempts: each touches a node or
// is refused, and the key stays in wrong hands meanwhile.
const longestCompromised = time.Hour

// issuedSince is how long after a mark a certificate must have been issued for not to be
// meant by it. Clocks differ, and what is marked may be a minute old.
const issuedSince = day

func (m Mark) before(c *Certificate) bool {
	return !m.At.IsZero() && c.NotBefore.After(m.At.Add(issuedSince))
}

// ResolveMark returns the certificates that a mark means, among those that are there now.
func ResolveMark(m Mark, nodes []Node) []Ref {
	var out []Ref
	for i := range nodes {
		n := &nodes[i]
		if len(m.Nodes) > 0 && !slices.Contains(m.Nodes, n.Name) || ofControlPlane(m.Service) && !n.ControlPlane {
			continue
		}
		for j := range n.Certificates {
			c := &n.Certificates[j]
			if c.Service == m.Service && !m.before(c) && c.Fingerprint != "" && (m.Fingerprint == "" || strings.EqualFold(m.Fingerprint, c.Fingerprint)) {
				out = append(out, refOf(n, c))
			}
		}
	}
	sortRefs(out)
	return out
}

// Remaining returns what of a mark is still on a node. A node that the cluster has no
// more has nothing; on one of which nothing is known, all of it may still be.
func Remaining(m Mark, node func(name string) (Node, bool)) []Ref {
	var out []Ref
	for _, ref := range m.Certificates {
		n, ok := node(ref.Node)
		if ok && (n.Unseen || n.find(ref) != nil) {
			out = append(out, ref)
		}
	}
	return out
}

// Replaced says that a mark meant something, and that none of it is on a node any more.
func Replaced(m Mark, node func(name string) (Node, bool)) bool {
	return len(m.Certificates) > 0 && len(Remaining(m, node)) == 0
}

func (n *Node) find(ref Ref) *Certificate {
	for i := range n.Certificates {
		if c := &n.Certificates[i]; c.Fingerprint == ref.Fingerprint && c.Service == ref.Service {
			return c
		}
	}
	return nil
}

// compromises makes one rotation of everything that marks mean and that is still there.
func (d *decider) compromises() []Proposal {
	var items []Item
	marks := map[key][]string{}
	for _, m := range d.Marks {
		for _, ref := range Remaining(m, func(name string) (Node, bool) {
			n := d.node(name)
			if n == nil {
				return Node{}, false
			}
			return *n, true
		}) {
			if marks[ref.key()] = append(marks[ref.key()], m.Name); len(marks[ref.key()]) > 1 {
				continue
			}
			if item, ok := d.compromised(ref); ok {
				items = append(items, item)
			}
		}
	}
	out, items := d.askedBefore(items)
	for shares := d.shares(items, true); len(shares) > 0; {
		chosen := d.compatible(shares, MaxNodes)
		r := d.rotation(chosen, true)
		for _, ref := range r.Certificates {
			r.Marks = append(r.Marks, marks[ref.key()]...)
		}
		slices.Sort(r.Marks)
		r.Marks = slices.Compact(r.Marks)
		out = append(out, r)
		shares = slices.DeleteFunc(shares, func(s *share) bool { return slices.Contains(chosen, s) })
	}
	return out
}

// askedBefore returns what was asked for and is still to be replaced, as it was asked for,
// and the items that it leaves.
func (d *decider) askedBefore(items []Item) (out []Proposal, left []Item) {
	open := map[key]bool{}
	for _, item := range items {
		open[item.key()] = true
	}
	for _, r := range d.Requested {
		if !r.Compromised || slices.ContainsFunc(d.History, func(p Past) bool { return p.Name == r.Name }) ||
			slices.ContainsFunc(r.Certificates, func(ref Ref) bool { return !open[ref.key()] }) {
			continue
		}
		for _, ref := range r.Certificates {
			open[ref.key()] = false
		}
		out = append(out, r)
	}
	for _, item := range items {
		if open[item.key()] {
			left = append(left, item)
		}
	}
	return out, left
}

// compromised says whether a compromised certificate is replaced now, and notes why not.
func (d *decider) compromised(ref Ref) (Item, bool) {
	n := d.node(ref.Node)
	c := n.find(ref)
	if c == nil {
		d.wait(ref, true, ReasonNodeAway, "nothing is known of the certificates of node "+quoted(ref.Node), time.Time{})
		return Item{}, false
	}
	item := Item{Ref: ref, ControlPlane: n.ControlPlane, rule: d.Policy.RuleFor(n, c), cert: *c}
	why, text := standing(n, c, item.rule)
	until := time.Time{}
	switch running := d.covering(ref); {
	case why != "":
	case c.unrenewable(item.rule.Compromise) != "":
		why, text = ReasonNotRenewable, c.unrenewable(item.rule.Compromise)
	case c.KeptKey != "":
		why, text = ReasonNotRenewable, c.KeptKey
	case running != nil && running.State == Suspended:
		why, text = ReasonSuspended, suspendedText(running)
	case running != nil:
		why, text = ReasonRunning, "rotation "+quoted(running.Name)+" replaces it"
	case d.Policy.Freeze.HoldCompromised && d.Policy.Freeze.holds(d.Now):
		why, text, until = ReasonFreeze, d.Policy.Freeze.text(), d.Policy.Freeze.Until
	default:
		why, text, until = d.failed(ref, item.rule, c, true)
	}
	if why != "" {
		d.wait(ref, true, why, text, until)
		return Item{}, false
	}
	return item, true
}

// covering returns the running rotation that replaces a compromised certificate already;
// nil: none does.
func (d *decider) covering(ref Ref) *Past {
	for i := range d.History {
		p := &d.History[i]
		if !p.Open() || !p.Compromised || p.State == Suspended && !p.Automatic {
			continue
		}
		// One that names no certificates replaces all of its services on its nodes.
		if p.about(ref) || len(p.Fingerprints) == 0 && slices.Contains(p.Services, ref.Service) &&
			(len(p.Nodes) == 0 || slices.Contains(p.Nodes, ref.Node)) {
			return p
		}
	}
	return nil
}
