package controller

import (
	"maps"
	"slices"
	"sync"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Picture is what is known of every node: its Node object and its agent's report, as the
// decisions want it. Whoever changes it is told which nodes are to be judged anew.
type Picture struct {
	mu    sync.Mutex
	nodes map[string]*seen
	dirty map[string]bool
	// renewed are certificates that took another's place since they were last asked for.
	renewed []renewed
}

// renewed is told by the leader. One that becomes it tells what its predecessor may not
// have come to, and not all that was renewed since it is on standby.
type renewed struct {
	at    time.Time
	event event.CertificateRenewed
}

const (
	maxRenewed = 5000
	renewedFor = time.Hour
)

// seen is one node.
type seen struct {
	node     renewal.Node
	exists   bool   // there is a Node object
	foreign  bool   // no agent can run there
	reported bool   // there is a report
	leftOut  string // what of the report is not well-formed
	observed time.Time
}

// NewPicture returns an empty picture.
func NewPicture() *Picture {
	return &Picture{nodes: map[string]*seen{}, dirty: map[string]bool{}}
}

func (p *Picture) of(name string) *seen {
	s := p.nodes[name]
	if s == nil {
		s = &seen{node: renewal.Node{Name: name, Unseen: true}}
		p.nodes[name] = s
	}
	return s
}

// forget drops what has neither object nor report.
func (p *Picture) forget(name string) {
	if s := p.nodes[name]; s != nil && !s.exists && !s.reported {
		delete(p.nodes, name)
	}
}

// Node takes in a Node object; nil: it was deleted. It says whether anything that
// decisions look at has changed.
func (p *Picture) Node(name string, n *corev1.Node, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.of(name)
	before := s.node
	existed := s.exists
	s.exists, s.foreign, s.node.Labels, s.node.ControlPlane, s.node.Away = n != nil, false, nil, false, ""
	if n != nil {
		described := kubenode.Describe(n)
		// Not Excluded's text: it grows older by the minute, and nothing else has changed.
		if _, out := described.Excluded(now); out {
			s.node.Away = away(described)
		}
		s.foreign, s.node.Labels, s.node.ControlPlane = described.Foreign(), n.Labels, described.ControlPlane
	}
	changed := existed != s.exists || before.Away != s.node.Away || before.ControlPlane != s.node.ControlPlane || !maps.Equal(before.Labels, s.node.Labels)
	if changed {
		p.dirty[name] = true
	}
	p.forget(name)
	return changed
}

func away(n kubenode.Node) string {
	switch {
	case n.Virtual:
		return "it is virtual"
	case !n.Ready:
		return "NotReady"
	}
	return "it is " + n.OS + "/" + n.Arch
}

// Report takes in a node's report; nil: it was deleted. It says whether anything that
// decisions look at has changed.
func (p *Picture) Report(name string, r *v1alpha1.NodeCertificateReport) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.of(name)
	if r == nil {
		p.dirty[name] = true
		s.reported, s.node.Unseen, s.node.Certificates, s.node.Authorities, s.leftOut = false, true, nil, nil, ""
		p.forget(name)
		return true
	}
	s.observed, _ = time.Parse(time.RFC3339, r.Summary.ObservedAt)
	certificates, authorities, leftOut := wellFormed(r)
	before, known := s.node, s.reported
	sameLeftOut := s.leftOut == leftOut
	s.leftOut = leftOut
	// Taken over even where they are the same: the texts are those of the new report, and
	// the old one's can go.
	s.node.Certificates, s.node.Authorities = certificates, authorities
	s.reported, s.node.Unseen = true, false
	if known && sameLeftOut && slices.Equal(before.Certificates, certificates) && slices.Equal(before.Authorities, authorities) {
		return false // a sign of life, every hour
	}
	p.dirty[name] = true
	if known && s.exists {
		for _, event := range renewals(name, before.Certificates, certificates) {
			p.renewed = append(p.renewed, renewed{s.observed, event})
		}
		if len(p.renewed) > 2*maxRenewed { // nobody asks: another watcher leads
			p.renewed = slices.Clone(p.renewed[len(p.renewed)-maxRenewed:])
		}
	}
	return true
}

// renewals are the certificates that lie where others lay before.
func renewals(node string, old, now []renewal.Certificate) []event.CertificateRenewed {
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

// Changed returns the nodes that have changed since the last call, those that do not exist
// with nil, and what was renewed meanwhile.
func (p *Picture) Changed() (map[string]*renewal.Node, []event.CertificateRenewed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]*renewal.Node, len(p.dirty))
	for name := range p.dirty {
		out[name] = p.copyOf(name)
	}
	clear(p.dirty)
	var told []event.CertificateRenewed
	for _, r := range p.renewed {
		told = append(told, r.event)
	}
	p.renewed = nil
	return out, told
}

// takeOver forgets what was renewed too long ago to be told now.
func (p *Picture) takeOver(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed = slices.DeleteFunc(p.renewed, func(r renewed) bool { return !r.at.IsZero() && now.Sub(r.at) > renewedFor })
}

// Lookup returns a node as it is now; nil: there is no Node object of that name. A report
// alone is not judged: its node was removed, or never was there.
func (p *Picture) Lookup(name string) *renewal.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.copyOf(name)
}

// copyOf copies a node. Its slices are never written to, only replaced.
func (p *Picture) copyOf(name string) *renewal.Node {
	s := p.nodes[name]
	if s == nil || !s.exists {
		return nil
	}
	n := s.node
	return &n
}

// Names are the nodes, sorted.
func (p *Picture) Names() []string {
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

// Refused says which reports are not taken into account, or not all of them, and why.
func (p *Picture) Refused() map[string]Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]Refusal{}
	for name, s := range p.nodes {
		switch {
		case s.reported && !s.exists:
			out[name] = Refusal{reasonNoNode, "there is no Node of this name, so nothing on it is judged"}
		case s.leftOut != "":
			out[name] = Refusal{reasonMalformed, s.leftOut}
		}
	}
	return out
}

// Agents says of each node whether its agent has reported since a moment. A node on which no
// agent can run (Windows, another architecture, no machine) is not among them.
func (p *Picture) Agents(since time.Time) map[string]bool {
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

// Compact is the informers' transform: it drops what nobody here looks at, and keeps one
// copy of texts that thousands of nodes have in common.
func Compact(object any) (any, error) {
	switch o := object.(type) {
	case *v1alpha1.NodeCertificateReport:
		o.ManagedFields, o.Annotations, o.Labels = nil, nil, nil
		// Decoding leaves slices with room for half as many again.
		o.Certificates, o.Authorities = slices.Clone(o.Certificates), slices.Clone(o.Authorities)
		for i := range o.Certificates {
			c := &o.Certificates[i]
			c.SANs, c.Service = nil, certs.Service(one(string(c.Service)))
			c.Name, c.Path, c.User, c.Subject, c.Issuer, c.Reason = one(c.Name), one(c.Path), one(c.User), one(c.Subject), one(c.Issuer), one(c.Reason)
			c.KeptKey = one(c.KeptKey)
			if c.NotRenewable != nil {
				c.NotRenewable.Reason = one(c.NotRenewable.Reason)
			}
		}
		for i := range o.Authorities {
			a := &o.Authorities[i]
			a.Name, a.Path, a.Subject, a.SerialNumber, a.FingerprintSHA256 = one(a.Name), one(a.Path), one(a.Subject), one(a.SerialNumber), one(a.FingerprintSHA256)
		}
	case *corev1.Node:
		o.ManagedFields, o.Annotations = nil, nil
		o.Spec = corev1.NodeSpec{ProviderID: o.Spec.ProviderID, Taints: o.Spec.Taints}
		o.Status = corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: one(o.Status.NodeInfo.OperatingSystem), Architecture: one(o.Status.NodeInfo.Architecture)},
			Conditions: slices.DeleteFunc(o.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type != corev1.NodeReady }),
		}
	}
	return object, nil
}

func one(s string) string { return unique.Make(s).Value() }
