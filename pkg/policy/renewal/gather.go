package renewal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// set is a set of services.
type set uint16

func bit(s certs.Service) set {
	return 1 << (slices.Index(certs.Services(), s) + 1) // 1: a service that does not exist
}

func (s set) services() []certs.Service {
	var out []certs.Service
	for _, service := range certs.Services() {
		if s&bit(service) != 0 {
			out = append(out, service)
		}
	}
	return out
}

// share is what of one node can go into one rotation.
type share struct {
	node         string
	controlPlane bool
	blamed       bool // it has failed before, and goes apart from what has not
	apart        bool // it is not known on which node it failed
	restart      plan.RestartPolicy
	validity     time.Duration
	services     set // to rotate
	forbidden    set // must not be rotated there now
	due          bool
	earliest     time.Time
	items        []Item
}

// gather makes one rotation of as much as goes together: a rotation is services × nodes
// with one way to restart and one validity, and must touch nothing that the policy holds
// back. It begins with what ends first and returns what is due and left.
func (d *decider) gather(due, soon []Item) (Proposal, []Item) {
	shares := d.shares(append(slices.Clone(due), soon...), false)
	chosen := d.compatible(shares, d.Policy.Limits.NodesPerRotation)
	rotation := d.rotation(chosen, false)
	taken := map[key]bool{}
	for _, r := range rotation.Certificates {
		taken[r.key()] = true
	}
	var left []Item
	for _, item := range due {
		if !taken[item.key()] {
			left = append(left, item)
		}
	}
	return rotation, left
}

// shares sorts items by node and by how they are rotated: what is due in front, then what
// has not failed before, then what ends first.
func (d *decider) shares(items []Item, compromised bool) []*share {
	type kind struct {
		node     string
		restart  plan.RestartPolicy
		validity time.Duration
	}
	index := map[kind]*share{}
	var out []*share
	for _, item := range items {
		k := kind{item.Node, restart(item.rule, compromised), item.rule.Validity}
		s := index[k]
		if s == nil {
			s = &share{node: item.Node, controlPlane: item.ControlPlane, restart: k.restart, validity: k.validity, earliest: item.NotAfter}
			index[k] = s
			out = append(out, s)
		}
		s.services |= bit(item.Service)
		s.due = s.due || !item.Soon
		before := d.record.trouble(item.Ref, compromised)
		s.blamed, s.apart = s.blamed || before.failures+before.refusals > 0, s.apart || before.apart
		s.earliest = earlier(s.earliest, item.NotAfter)
		s.items = append(s.items, item)
	}
	for _, s := range out {
		s.forbidden = d.forbidden(s, compromised)
	}
	slices.SortFunc(out, func(a, b *share) int {
		return cmp.Or(first(a.due, b.due), first(!a.blamed, !b.blamed), a.earliest.Compare(b.earliest), strings.Compare(a.node, b.node), strings.Compare(string(a.restart), string(b.restart)),
			cmp.Compare(a.validity, b.validity))
	})
	return out
}

// first orders what something is true of before what it is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func restart(r *Rule, compromised bool) plan.RestartPolicy {
	if compromised {
		return r.Compromise
	}
	return r.Renewal
}

// forbidden are the services of a node that must not come along.
func (d *decider) forbidden(s *share, compromised bool) set {
	n := d.node(s.node)
	if n == nil {
		return 0
	}
	var out set
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if s.services&bit(c.Service) != 0 {
			continue // something of it is to be rotated, and so all of it
		}
		r := d.Policy.RuleFor(n, c)
		if c.unrenewable(s.restart) != "" {
			continue // it is left out of whatever comes along
		}
		why, _ := standing(n, c, r)
		if why == "" {
			why, _, _ = d.failed(refOf(n, c), r, c, compromised)
		}
		if at, held := d.Policy.start(r, c, d.Now); why == "" && !compromised && (at.IsZero() || at.After(d.Now)) {
			why = held
		}
		if why != "" || r.Validity != s.validity || restart(r, compromised) != s.restart {
			out |= bit(c.Service)
		}
	}
	return out
}

// compatible chooses the first share and all that can go with it, up to so many nodes.
func (d *decider) compatible(shares []*share, limit int) []*share {
	head := shares[0]
	if limit <= 0 || limit > MaxNodes {
		limit = MaxNodes
	}
	services, forbidden, fingerprints := head.services, head.forbidden, len(head.items)
	chosen := []*share{head}
	for _, s := range shares[1:] {
		switch {
		case len(chosen) == limit:
			return chosen
		case s.restart != head.restart, s.validity != head.validity:
		case (services|s.services)&(forbidden|s.forbidden) != 0:
		case fingerprints+len(s.items) > MaxFingerprints:
		case s.blamed != head.blamed:
		case (head.apart || s.apart) && s.controlPlane != head.controlPlane:
		default:
			services, forbidden, fingerprints = services|s.services, forbidden|s.forbidden, fingerprints+len(s.items)
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// rotation makes a request of what was chosen.
func (d *decider) rotation(chosen []*share, compromised bool) Proposal {
	r := Proposal{
		Compromised: compromised, Restart: chosen[0].restart, Validity: chosen[0].validity,
		MaxUnavailable: d.Policy.Limits.MaxUnavailable,
	}
	var services set
	for _, s := range chosen {
		services |= s.services
		r.Nodes = append(r.Nodes, s.node)
		for _, item := range s.items {
			r.Certificates = append(r.Certificates, item.Ref)
			r.Fingerprints = append(r.Fingerprints, item.Fingerprint)
			r.Urgent = r.Urgent || item.rule.urgent(&item.cert, d.Now)
			r.Attempt = max(r.Attempt, d.record.attempts(item.Ref))
			r.Overrides = r.Overrides || !compromised && (!openNow(item.rule.Windows, d.Now) || d.Policy.Freeze.holds(d.Now))
		}
	}
	r.Services = services.services()
	slices.Sort(r.Nodes)
	r.Nodes = slices.Compact(r.Nodes)
	slices.Sort(r.Fingerprints)
	r.Fingerprints = slices.Compact(r.Fingerprints)
	sortRefs(r.Certificates)
	r.Attempt++
	r.Name = NameOf(r)
	return r
}

// NamePrefix begins the names of the rotations that a decision asks for, and of no others.
const NamePrefix = "auto-"

// NameOf is the name of a rotation. It follows from its services, nodes, fingerprints and
// attempt: the same work has the same name, so that a request that is made twice is one object.
func NameOf(r Proposal) string {
	request := plan.Request{Services: r.Services, Nodes: r.Nodes, Compromised: r.Compromised}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s\n%s\n%d", request.ScopeText(), strings.Join(r.Fingerprints, ","), r.Attempt)))
	return NamePrefix + hex.EncodeToString(sum[:8])
}
