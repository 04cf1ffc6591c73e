package controller

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Picture holds the state of every node as decisions need it: its Node object and the report
// of its agent. It remembers which nodes have changed.
type Picture struct {
	mu    sync.Mutex
	nodes map[string]*knownNode
	dirty map[string]bool
	keys  map[string]bool // the ids of the CAs whose key a control-plane node has
	// renewed are certificates that were replaced since the last TakeChanges.
	renewed []renewed
}

// renewed is a replaced certificate. Only the leader publishes it. A new leader publishes
// those of the last hour, which the previous leader may not have published.
type renewed struct {
	at    time.Time
	event event.CertificateRenewed
}

const maxRenewed = 5000

// knownNode is the state of one node.
type knownNode struct {
	node     renewal.Node
	exists   bool   // there is a Node object
	foreign  bool   // no agent can run there
	reported bool   // there is a report
	leftOut  string // the malformed entries of the report
	observed time.Time
}

// NewPicture returns an empty picture.
func NewPicture() *Picture {
	return &Picture{nodes: map[string]*knownNode{}, dirty: map[string]bool{}}
}

func (p *Picture) stateOf(name string) *knownNode {
	s := p.nodes[name]
	if s == nil {
		s = &knownNode{node: renewal.Node{Name: name, Unseen: true}}
		p.nodes[name] = s
	}
	return s
}

// forgetUnused drops a node that has neither object nor report.
func (p *Picture) forgetUnused(name string) {
	if s := p.nodes[name]; s != nil && !s.exists && !s.reported {
		delete(p.nodes, name)
	}
}

// UpdateNode stores a Node object; nil: it was deleted. It returns whether anything has
// changed that matters to decisions.
func (p *Picture) UpdateNode(name string, n *corev1.Node, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stateOf(name)
	before := s.node
	existed := s.exists
	s.exists = n != nil
	s.foreign = false
	s.node.Labels = nil
	s.node.ControlPlane = false
	s.node.Unavailable = ""
	if n != nil {
		described := kubenode.Describe(n)
		// The text of Excluded has an age, which changes all the time.
		if _, out := described.Excluded(now); out {
			s.node.Unavailable = unavailableReason(described)
		}
		s.foreign = described.Foreign()
		s.node.Labels = n.Labels
		s.node.ControlPlane = described.ControlPlane
	}
	changed := existed != s.exists || before.Unavailable != s.node.Unavailable || before.ControlPlane != s.node.ControlPlane || !maps.Equal(before.Labels, s.node.Labels)
	if changed {
		p.dirty[name] = true
	}
	if before.ControlPlane || s.node.ControlPlane {
		p.refreshKeys()
	}
	p.forgetUnused(name)
	return changed
}

func unavailableReason(n kubenode.Node) string {
	switch {
	case n.Virtual:
		return "it is virtual"
	case !n.Ready:
		return "NotReady"
	}
	return "it is " + n.OS + "/" + n.Arch
}

// UpdateReport stores the report of a node; nil: it was deleted. It returns whether anything
// has changed that matters to decisions.
func (p *Picture) UpdateReport(name string, r *v1alpha1.NodeCertificateReport) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stateOf(name)
	if r == nil {
		p.dirty[name] = true
		s.reported = false
		s.node.Unseen = true
		s.node.Certificates = nil
		s.node.Authorities = nil
		s.leftOut = ""
		p.refreshKeys()
		p.forgetUnused(name)
		return true
	}
	s.observed, _ = time.Parse(time.RFC3339, r.Summary.ObservedAt)
	certificates, authorities, leftOut := wellFormed(r)
	before := s.node
	known := s.reported
	sameLeftOut := s.leftOut == leftOut
	s.leftOut = leftOut
	// They are replaced even if they are equal, so that the old report can be freed.
	s.node.Certificates = certificates
	s.node.Authorities = authorities
	s.reported = true
	s.node.Unseen = false
	if known && sameLeftOut && slices.Equal(before.Certificates, certificates) && slices.Equal(before.Authorities, authorities) {
		return false // a heartbeat
	}
	p.dirty[name] = true
	if s.node.ControlPlane {
		p.refreshKeys()
	}
	if known && s.exists {
		for _, event := range renewalEvents(name, before.Certificates, certificates) {
			p.renewed = append(p.renewed, renewed{s.observed, event})
		}
		if len(p.renewed) > 2*maxRenewed { // another watcher leads, and takes them
			p.renewed = slices.Clone(p.renewed[len(p.renewed)-maxRenewed:])
		}
	}
	return true
}

// renewalEvents are the certificates that were replaced between two reports.
func renewalEvents(node string, old, now []renewal.Certificate) []event.CertificateRenewed {
	var out []event.CertificateRenewed
	for i := range now {
		n := &now[i]
		at := slices.IndexFunc(old, func(o renewal.Certificate) bool {
			return o.Service == n.Service && o.Name == n.Name && o.Path == n.Path && o.User == n.User
		})
		if at < 0 || n.Fingerprint == "" || old[at].Fingerprint == "" || old[at].Fingerprint == n.Fingerprint {
			continue
		}
		ended := old[at].NotAfter
		out = append(out, event.CertificateRenewed{
			Certificate:          eventCertificate(node, n),
			OldFingerprintSHA256: old[at].Fingerprint, OldNotAfter: &ended,
		})
	}
	return out
}

func eventCertificate(node string, c *renewal.Certificate) event.Certificate {
	return event.Certificate{
		Node: node, Service: c.Service, Name: c.Name, Path: c.Path, Subject: c.Subject, Issuer: c.Issuer,
		SerialNumber: c.Serial, FingerprintSHA256: c.Fingerprint, NotAfter: c.NotAfter,
	}
}

// TakeChanges returns the nodes that have changed since the last call (nil: the node does not
// exist), and the certificates that were replaced.
func (p *Picture) TakeChanges() (map[string]*renewal.Node, []event.CertificateRenewed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]*renewal.Node, len(p.dirty))
	for name := range p.dirty {
		out[name] = p.copyNode(name)
	}
	clear(p.dirty)
	var replaced []event.CertificateRenewed
	for _, r := range p.renewed {
		replaced = append(replaced, r.event)
	}
	p.renewed = nil
	return out, replaced
}

// dropOldRenewals drops renewals that are too old to be published now.
func (p *Picture) dropOldRenewals(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed = slices.DeleteFunc(p.renewed, func(r renewed) bool { return !r.at.IsZero() && now.Sub(r.at) > time.Hour })
}

// LookupNode returns the current state of a node; nil: there is no Node object of that name. A
// report without Node object is ignored.
func (p *Picture) LookupNode(name string) *renewal.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.copyNode(name)
}

// copyNode copies a node. Its slices are never modified, only replaced.
func (p *Picture) copyNode(name string) *renewal.Node {
	s := p.nodes[name]
	if s == nil || !s.exists {
		return nil
	}
	n := s.node.WithSigners(func(authority string) bool { return p.keys[authority] })
	return &n
}

// NodeNames are the names of all nodes, sorted.
func (p *Picture) NodeNames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name, s := range p.nodes {
		if s.exists {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// RefusedReports returns the reports that are ignored, wholly or in part, and why.
func (p *Picture) RefusedReports() map[string]Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]Refusal{}
	for name, s := range p.nodes {
		switch {
		case s.reported && !s.exists:
			out[name] = Refusal{reasonNoNode, "there is no Node of this name: the report is ignored"}
		case s.leftOut != "":
			out[name] = Refusal{reasonMalformed, s.leftOut}
		}
	}
	return out
}

// AgentsSince returns for each node whether its agent has reported since a moment. Nodes on
// which no agent can run (Windows, another architecture, virtual) are left out.
func (p *Picture) AgentsSince(since time.Time) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]bool{}
	for name, s := range p.nodes {
		if s.exists && !s.foreign {
			out[name] = s.reported && !s.observed.Before(since)
		}
	}
	return out
}
