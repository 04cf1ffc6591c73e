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

func serviceBit(s certs.Service) set {
	return 1 << (slices.Index(certs.Services(), s) + 1) // 1: unknown service
}

func (s set) listServices() []certs.Service {
	var out []certs.Service
	for _, service := range certs.Services() {
		if s&serviceBit(service) != 0 {
			out = append(out, service)
		}
	}
	return out
}

// share is the part of one node that can go into one rotation.
type share struct {
	node         string
	controlPlane bool
	failedBefore bool // it is not combined with shares that have not
	separate     bool // its failed node is unknown: control plane and workers are not combined
	restart      plan.RestartPolicy
	validity     time.Duration
	services     set // to rotate
	forbidden    set // that must not be rotated there now
	due          bool
	earliest     time.Time
	items        []Item
}

// gatherProposal proposes one rotation of as much as can be combined: a rotation has services
// and nodes, one restart policy and one validity, and must not include anything that the
// policy holds. It begins with the certificate that expires first, and returns the due items
// that remain.
func (d *decider) gatherProposal(due, soon []Item) (Proposal, []Item) {
	shares := d.groupShares(append(slices.Clone(due), soon...), false)
	chosen := d.chooseCompatible(shares, d.Policy.Limits.NodesPerRotation)
	rotation := d.newProposal(chosen, false)
	taken := map[key]bool{}
	for _, r := range rotation.Certificates {
		taken[r.refKey()] = true
	}
	var left []Item
	for _, item := range due {
		if !taken[item.refKey()] {
			left = append(left, item)
		}
	}
	return rotation, left
}

// groupShares groups items by node, restart policy and validity. Due shares come first, then
// those that have not failed, then those that expire first.
func (d *decider) groupShares(items []Item, compromised bool) []*share {
	type kind struct {
		node     string
		restart  plan.RestartPolicy
		validity time.Duration
	}
	index := map[kind]*share{}
	var out []*share
	for _, item := range items {
		k := kind{item.Node, restartPolicyOf(item.rule, compromised), item.rule.Validity}
		s := index[k]
		if s == nil {
			s = &share{node: item.Node, controlPlane: item.ControlPlane, restart: k.restart, validity: k.validity, earliest: item.NotAfter}
			index[k] = s
			out = append(out, s)
		}
		s.services |= serviceBit(item.Service)
		s.due = s.due || !item.Soon
		before := d.attempts.failuresOf(item.Ref, compromised)
		s.failedBefore = s.failedBefore || before.failures+before.refusals > 0
		s.separate = s.separate || before.separate
		s.earliest = EarlierOf(s.earliest, item.NotAfter)
		s.items = append(s.items, item)
	}
	for _, s := range out {
		s.forbidden = d.forbiddenServices(s, compromised)
	}
	slices.SortFunc(out, func(a, b *share) int {
		return cmp.Or(trueFirst(a.due, b.due), trueFirst(!a.failedBefore, !b.failedBefore), a.earliest.Compare(b.earliest), strings.Compare(a.node, b.node), strings.Compare(string(a.restart), string(b.restart)),
			cmp.Compare(a.validity, b.validity))
	})
	return out
}

// trueFirst orders true before false.
func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func restartPolicyOf(r *Rule, compromised bool) plan.RestartPolicy {
	if compromised {
		return r.Compromise
	}
	return r.Renewal
}

// forbiddenServices are the services of a node that must not be included.
func (d *decider) forbiddenServices(s *share, compromised bool) set {
	n := d.lookupNode(s.node)
	if n == nil {
		return 0
	}
	var out set
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if s.services&serviceBit(c.Service) != 0 {
			continue // a certificate of the service is rotated, and so all of them
		}
		r := d.Policy.RuleFor(n, c)
		if c.unrenewableReason(s.restart) != "" {
			continue // the rotation leaves it out
		}
		why, _ := neverReason(n, c, r)
		if why == "" {
			why, _, _ = d.backOffReason(refOf(n, c), r, c, compromised)
		}
		if at, held := d.Policy.earliestStart(r, c, d.Now); why == "" && !compromised && (at.IsZero() || at.After(d.Now)) {
			why = held
		}
		if why != "" || r.Validity != s.validity || restartPolicyOf(r, compromised) != s.restart {
			out |= serviceBit(c.Service)
		}
	}
	return out
}

// chooseCompatible chooses the first share and all that can be combined with it, up to a
// number of nodes.
func (d *decider) chooseCompatible(shares []*share, limit int) []*share {
	head := shares[0]
	if limit <= 0 || limit > MaxNodes {
		limit = MaxNodes
	}
	services := head.services
	forbidden := head.forbidden
	fingerprints := len(head.items)
	chosen := []*share{head}
	for _, s := range shares[1:] {
		switch {
		case len(chosen) == limit:
			return chosen
		case s.restart != head.restart, s.validity != head.validity:
		case (services|s.services)&(forbidden|s.forbidden) != 0:
		case fingerprints+len(s.items) > MaxFingerprints:
		case s.failedBefore != head.failedBefore:
		case (head.separate || s.separate) && s.controlPlane != head.controlPlane:
		default:
			services = services | s.services
			forbidden = forbidden | s.forbidden
			fingerprints = fingerprints + len(s.items)
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// newProposal proposes the chosen shares.
func (d *decider) newProposal(chosen []*share, compromised bool) Proposal {
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
			r.Urgent = r.Urgent || item.rule.isUrgent(&item.cert, d.Now)
			r.Attempt = max(r.Attempt, d.attempts.highestAttempt(item.Ref))
			r.Overrides = r.Overrides || !compromised && (!openNow(item.rule.Windows, d.Now) || d.Policy.Freeze.isFrozen(d.Now))
		}
	}
	r.Services = services.listServices()
	slices.Sort(r.Nodes)
	r.Nodes = slices.Compact(r.Nodes)
	slices.Sort(r.Fingerprints)
	r.Fingerprints = slices.Compact(r.Fingerprints)
	sortRefs(r.Certificates)
	r.Attempt++
	r.Name = NameOf(r)
	return r
}

// NamePrefix begins the names of the rotations that the watcher requests, and of no others.
const NamePrefix = "auto-"

// NameOf is the name of a rotation. It follows from its services, nodes, fingerprints and
// attempt: a repeated request leads to the same object.
func NameOf(r Proposal) string {
	request := plan.Request{Services: r.Services, Nodes: r.Nodes, Compromised: r.Compromised}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s\n%s\n%d", request.ScopeText(), strings.Join(r.Fingerprints, ","), r.Attempt)))
	return NamePrefix + hex.EncodeToString(sum[:8])
}
