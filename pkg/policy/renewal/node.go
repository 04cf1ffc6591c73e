package renewal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Node is the known state of one node.
type Node struct {
	Name   string
	Labels map[string]string // of the Node object
	// ControlPlane comes from the Node object, never from a report: the report of a worker
	// must not start a rotation of the control plane.
	ControlPlane bool
	// Unavailable is why no pod can run on the node now ("NotReady for 14m").
	Unavailable string
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
	SelfManaged bool // its component renews it automatically, too
	// NotRenewable is why it cannot be renewed on its node; empty: it can. MaxRestart is the
	// restart policy with which it still can, see [plan.Obstacle].
	NotRenewable string
	MaxRestart   plan.RestartPolicy
	// Authority is the id of its CA if only the key of that CA is missing on its node, see
	// [Node.WithSigners].
	Authority string
	// KeptKey is why a renewal keeps its key; empty: it gets a new one.
	KeptKey string
}

// CertificateOf is a certificate of an inventory, without what its node says of its renewal.
func CertificateOf(c inventory.Certificate) Certificate {
	return Certificate{
		Service: c.Service, Name: c.Name, Path: c.Store.Cert, User: c.Store.User, Subject: c.Subject, Issuer: c.Facts.Issuer,
		Serial: c.SerialNumber, Fingerprint: c.FingerprintSHA256, NotBefore: c.NotBefore, NotAfter: c.NotAfter, SelfManaged: c.SelfManaged,
	}
}

// AuthorityOf is a CA of an inventory.
func AuthorityOf(a inventory.Authority) Authority {
	return Authority{
		ID: a.ID, Name: a.Name, Subject: a.Subject, Path: strings.Join(a.Paths, ", "), Serial: a.SerialNumber, Fingerprint: a.FingerprintSHA256,
		NotBefore: a.NotBefore, NotAfter: a.NotAfter, HasKey: a.KeyOn != "",
	}
}

func (c *Certificate) lifeSpan() time.Duration { return c.NotAfter.Sub(c.NotBefore) }

// unrenewableReason is why a rotation with a restart policy does not renew the certificate;
// empty: it does.
func (c *Certificate) unrenewableReason(restart plan.RestartPolicy) string {
	if o := (plan.Obstacle{Reason: c.NotRenewable, MaxRestart: c.MaxRestart}); o.BlocksRenewal(restart) {
		return "it cannot be renewed here: " + o.Reason
	}
	return ""
}

// Authority is the certificate of a CA on a node.
type Authority struct {
	ID          string // by which nodes know the same CA
	Name        string // its common name
	Subject     string
	Path        string
	Serial      string
	Fingerprint string
	NotBefore   time.Time
	NotAfter    time.Time
	HasKey      bool
}

// WithSigners returns the node with those certificates as renewable that another node can sign:
// hasKey reports whether a control-plane node has the key of a CA. A rotation scans the nodes
// before it believes that.
func (n Node) WithSigners(hasKey func(authority string) bool) Node {
	out := n
	cloned := false
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if c.Authority == "" || !hasKey(c.Authority) || certs.CheckIdentity(c.Subject, n.Name, n.ControlPlane) != nil {
			continue
		}
		if !cloned {
			out.Certificates = slices.Clone(n.Certificates)
			cloned = true
		}
		out.Certificates[i].NotRenewable = ""
		out.Certificates[i].MaxRestart = ""
	}
	return out
}

// HasKeyOf reports whether a control-plane node has the key of a CA.
func (n *Node) HasKeyOf(authority string) bool {
	return n.ControlPlane && slices.ContainsFunc(n.Authorities, func(a Authority) bool { return a.ID == authority && a.HasKey })
}

// Ref identifies one certificate, also among its successors.
type Ref struct {
	Node        string
	Service     certs.Service
	Name        string
	Fingerprint string
	NotAfter    time.Time
}

// key identifies the certificate of a ref; equal times may have different representations.
type key struct {
	node        string
	service     certs.Service
	name        string
	fingerprint string
}

func (r Ref) refKey() key { return key{r.Node, r.Service, r.Name, r.Fingerprint} }

func refOf(n *Node, c *Certificate) Ref {
	return Ref{Node: n.Name, Service: c.Service, Name: c.Name, Fingerprint: c.Fingerprint, NotAfter: c.NotAfter}
}

func sortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(string(a.Service), string(b.Service)),
			strings.Compare(a.Name, b.Name), strings.Compare(a.Fingerprint, b.Fingerprint))
	})
}

// ofControlPlane is true if the keys of a service give access to the control plane: they are
// accepted only on nodes with that role in the API.
func ofControlPlane(s certs.Service) bool {
	return s != certs.Kubelet && s != certs.KubeProxy
}

// issuerOf returns the CA that would sign the successor of a certificate, if known: among
// several of the same name one with a key, and among those the one that is valid longest.
func (n *Node) issuerOf(c *Certificate, now time.Time) *Authority {
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
