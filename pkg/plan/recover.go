package plan

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// needsRecovery reports whether a recovery renews a certificate: it has expired, or it expires
// soon and another one of the node has expired.
func needsRecovery(n *inventory.Node, c inventory.Certificate) bool {
	return c.Status == certs.Expired || c.Status == certs.Expiring && HasExpired(*n)
}

// HasExpired reports whether a certificate of a node's components has expired.
func HasExpired(n inventory.Node) bool {
	return slices.ContainsFunc(n.Certificates, func(c inventory.Certificate) bool { return c.Status == certs.Expired })
}

// restartStuck adds the restart of every component of a control-plane node to a recovery that
// renews what etcd, the API server or the kubelet cannot work without. The others wait for
// these, and their supervisor starts them again only after minutes.
func (b *builder) restartStuck() {
	stuck := slices.ContainsFunc(b.step.Targets, func(t Target) bool {
		vital := t.Service == certs.Etcd || t.Service == certs.KubeAPIServer || t.Service == certs.Kubelet
		return vital && !b.node.Time.Before(t.OldNotAfter)
	})
	if !b.req.Recover || !b.step.ControlPlane || !stuck {
		return
	}
	for i := range b.node.Components {
		c := &b.node.Components[i]
		if c.IsRestartable() && withoutSocket(b.node, c) == "" {
			b.restarts = append(b.restarts, c.Service)
		}
	}
}
