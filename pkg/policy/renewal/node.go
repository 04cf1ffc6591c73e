package renewal

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Node is what is known of one node.
type Node struct {
	Name   string
	Labels map[string]string // of the Node object
	// ControlPlane comes from the Node object, never from a report: a worker's report
	// must not start a rotation of the control plane.
	ControlPlane bool
	// Away says why no pod of ours can work on the node now ("NotReady for 14m").
	Away string
	// Unseen says that the node exists and that nothing is known of its certificates, as
	// before its agent's first report.
	Unseen       bool
	Certificates []Certificate
	Authorities  []Authority
}

// Certificate is one certificate with its key on a node.
type Certificate struct {
	Service     certs.Service
	Name        string // its role: "apiserver", "etcd-peer", "admin.conf"
	Path        string
	User        string // the entry in a kubeconfig
	Subject     string
	Issuer      string // distinguished name
	Serial      string // lower-case hex
	Fingerprint string // SHA-256, hex; empty: it cannot be parsed
	NotBefore   time.Time
	NotAfter    time.Time
	SelfManaged bool // its component renews it by itself too
	// NotRenewable says why it cannot be renewed on its node; empty: it can. MaxRestart is
	// the restart policy with which it can all the same, see [plan.Obstacle].
	NotRenewable string
	MaxRestart   plan.RestartPolicy
	// KeptKey says why a renewal keeps its key; empty: it gets a new one.
	KeptKey string
}

func (c *Certificate) life() time.Duration { return c.NotAfter.Sub(c.NotBefore) }

// unrenewable is why a rotation with a restart policy does not renew the certificate;
// empty: it does.
func (c *Certificate) unrenewable(restart plan.RestartPolicy) string {
	if o := (plan.Obstacle{Reason: c.NotRenewable, MaxRestart: c.MaxRestart}); o.BlocksRenewal(restart) {
		return "it cannot be renewed here: " + o.Reason
	}
	return ""
}

// Authority is the certificate of a CA on a node.
type Authority struct {
	Name        string // its common name
	Subject     string
	Path        string
	Serial      string
	Fingerprint string
	NotBefore   time.Time
	NotAfter    time.Time
	HasKey      bool
}

// Ref names one certificate, and tells it from those that come after it in its place.
type Ref struct {
	Node        string
	Service     certs.Service
	Name        string
	Fingerprint string
	NotAfter    time.Time
}

// key is what two refs to one certificate have in common; times may differ in how they
// are written.
type key struct {
	node        string
	service     certs.Service
	name        string
	fingerprint string
}

func (r Ref) key() key { return key{r.Node, r.Service, r.Name, r.Fingerprint} }

func refOf(n *Node, c *Certificate) Ref {
	return Ref{Node: n.Name, Service: c.Service, Name: c.Name, Fingerprint: c.Fingerprint, NotAfter: c.NotAfter}
}

// ofControlPlane says whether a service's keys open the control plane: they are counted
// only on nodes that the API knows as its members.
func ofControlPlane(s certs.Service) bool {
	return s != certs.Kubelet && s != certs.KubeProxy
}

// issuer returns the CA that would sign a certificate's successor, where it is known:
// among several of the same name one with a key, and of those the one that lasts.
func (n *Node) issuer(c *Certificate, now time.Time) *Authority {
	var of, withKey []*Authority
	for i := range n.Authorities {
		a := &n.Authorities[i]
		if a.Subject != c.Issuer || a.Fingerprint == "" {
			continue
		}
		of = append(of, a)
		if a.HasKey {
			withKey = append(withKey, a)
		}
	}
	if len(withKey) > 0 {
		of = withKey
	}
	i := certs.LastingOf(of, now, func(a *Authority) (time.Time, time.Time) { return a.NotBefore, a.NotAfter })
	if i < 0 {
		return nil
	}
	return of[i]
}
