package renewal_test

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

const day = 24 * time.Hour

// noon is a Tuesday.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// leaf is a certificate of a year's life with that much of it left at noon.
func leaf(s certs.Service, name string, left time.Duration) renewal.Certificate {
	return living(s, name, 365*day, left)
}

func living(s certs.Service, name string, life, left time.Duration) renewal.Certificate {
	c := renewal.Certificate{
		Service: s, Name: name, Path: "/etc/kubernetes/pki/" + name, Subject: "CN=" + name, Issuer: "CN=kubernetes",
		NotBefore: noon.Add(left - life), NotAfter: noon.Add(left), Fingerprint: fmt.Sprintf("%x", sha256.Sum256([]byte(name+left.String())))[:12],
	}
	if s == certs.Etcd {
		c.Issuer = "CN=etcd-ca"
	}
	return c
}

func authority(name string, left time.Duration) renewal.Authority {
	return renewal.Authority{
		Name: name, Subject: "CN=" + name, Path: "/etc/kubernetes/pki/" + name + ".crt", Fingerprint: "ca-" + name,
		NotBefore: noon.Add(left - 3650*day), NotAfter: noon.Add(left), HasKey: true,
	}
}

// own makes a certificate the node's, so that fingerprints differ.
func own(node string, in []renewal.Certificate) []renewal.Certificate {
	for i := range in {
		in[i].Fingerprint = node + "-" + in[i].Fingerprint
	}
	return in
}

func controlPlane(name string, in ...renewal.Certificate) renewal.Node {
	return renewal.Node{
		Name: name, ControlPlane: true, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}, Certificates: own(name, in),
		Authorities: []renewal.Authority{authority("kubernetes", 3000*day), authority("etcd-ca", 3000*day)},
	}
}

func worker(name string, in ...renewal.Certificate) renewal.Node {
	ca := authority("kubernetes", 3000*day)
	ca.HasKey = false
	return renewal.Node{Name: name, Certificates: own(name, in), Authorities: []renewal.Authority{ca}}
}

func labelled(n renewal.Node, label string) renewal.Node {
	n.Labels[label] = "yes"
	return n
}

// decide judges nodes as the watcher does.
func decide(now time.Time, p renewal.Policy, nodes []renewal.Node, change ...func(*renewal.Input)) renewal.Decision {
	in := renewal.Input{Now: now, Policy: &p, Node: lookup(nodes)}
	for i := range nodes {
		in.Assessments = append(in.Assessments, renewal.Assess(now, &p, &nodes[i]))
	}
	for _, f := range change {
		f(&in)
	}
	return renewal.Decide(in)
}

func lookup(nodes []renewal.Node) func(string) (renewal.Node, bool) {
	return func(name string) (renewal.Node, bool) {
		for _, n := range nodes {
			if n.Name == name {
				return n, true
			}
		}
		return renewal.Node{}, false
	}
}

// describe returns a decision as text: what starts, and what waits for what.
func describe(d renewal.Decision) []string {
	out := []string{}
	for _, r := range d.Start {
		text := fmt.Sprintf("start %v on %v", r.Services, r.Nodes)
		if r.Compromised {
			text = "replace" + text[len("start"):]
		}
		if r.Overrides {
			text += ", overriding"
		}
		if r.Attempt > 1 {
			text += fmt.Sprintf(", attempt %d", r.Attempt)
		}
		out = append(out, text)
	}
	for _, w := range d.Waiting {
		text := fmt.Sprintf("%s:", w.Reason)
		for _, c := range w.Certificates {
			text += " " + c.Node + "/" + c.Name
		}
		if !w.Until.IsZero() {
			text += " until +" + w.Until.Sub(noon).String()
		}
		out = append(out, text)
	}
	return out
}

// every is a schedule with a fixed period.
type every struct {
	first  time.Time
	period time.Duration
}

func (e every) Next(t time.Time) time.Time {
	if t.Before(e.first) {
		return e.first
	}
	return e.first.Add(t.Sub(e.first).Truncate(e.period) + e.period)
}

// nightly is open from 2 to 4 UTC.
func nightly() renewal.Window {
	return renewal.Window{Schedule: every{time.Date(2020, 1, 1, 2, 0, 0, 0, time.UTC), day}, Duration: 2 * time.Hour}
}

// weekly is open on Saturdays from 2 to 4 UTC.
func weekly() renewal.Window {
	return renewal.Window{Schedule: every{time.Date(2020, 1, 4, 2, 0, 0, 0, time.UTC), 7 * day}, Duration: 2 * time.Hour}
}
