package plan

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// sharedKeyObstacle is the reason why a certificate cannot be renewed together with those whose
// key is in the same file. They must be renewed together, since they all get one new key; if
// the key is kept, they need not.
func sharedKeyObstacle(n *inventory.Node, c inventory.Certificate) Obstacle {
	others := n.SharingKey(c)
	if len(others) == 0 || n.KeptKey(c) != "" {
		return Obstacle{}
	}
	for _, one := range append([]inventory.Certificate{c}, others...) {
		if why := newFileOfItsOwn(one); why != "" {
			return Obstacle{Reason: fmt.Sprintf("its key lies in %q together with that of %s, and %s: give each a key file of its own", c.KeyFile, sharedNames(n, c), why)}
		}
	}
	var worst Obstacle
	for _, other := range others {
		o := ownObstacle(n, other)
		if o.Reason == "" {
			continue
		}
		o.Reason = fmt.Sprintf("its key lies in %q together with that of %s %q, which cannot be renewed: %s", c.KeyFile, other.Name, other.Store.Cert, o.Reason)
		worst = stricterOf(worst, o)
	}
	return worst
}

// stricterOf returns the obstacle that blocks more.
func stricterOf(a, b Obstacle) Obstacle {
	rank := func(o Obstacle) int {
		switch {
		case o.Reason == "":
			return 0
		case o.MaxRestart == RestartIfNeeded:
			return 1
		case o.MaxRestart != "":
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// newFileOfItsOwn returns the reason why a certificate's new key is not written to the old
// key's file, or is not made with others; empty: it is.
func newFileOfItsOwn(c inventory.Certificate) string {
	switch {
	case c.Store.Kind == inventory.Combined && c.Store.Cert != c.KeyFile:
		return c.Name + " gets a new file with every renewal"
	case c.Issuer.Kind == inventory.KubernetesCSR, c.Issuer.Kind == inventory.OtherNode:
		return c.Name + " is signed on request for a key of its own"
	}
	return ""
}

// sharedNames lists the certificates that share a certificate's key file.
func sharedNames(n *inventory.Node, c inventory.Certificate) string {
	text := ""
	for i, other := range n.SharingKey(c) {
		if i > 0 {
			text += ", "
		}
		text += other.Name
	}
	return text
}

// addSharing adds the certificates that must get the same new key to the targets, also those
// outside of the scope, and notes their shared key file.
func (b *builder) addSharing(c inventory.Certificate) {
	if kept := b.node.KeptKey(c); kept != "" {
		b.step.targetOf(c.ID()).KeptKey = kept
		return
	}
	for _, other := range b.node.SharingKey(c) {
		b.step.targetOf(c.ID()).SharedKeyFile = c.KeyFile
		if b.step.addTarget(other) {
			b.restarts = append(b.restarts, needRestart(b.node, other, other.Service, b.req.Restart)...)
		}
		b.step.targetOf(other.ID()).SharedKeyFile = c.KeyFile
		known := slices.ContainsFunc(b.step.Services, func(s Service) bool { return s.Service == other.Service })
		if !known && !slices.Contains(b.req.Services, other.Service) {
			b.step.Services = append(b.step.Services, Service{Service: other.Service,
				Because: fmt.Sprintf("the key of %s lies in %s, with that of %s", other.Name, c.KeyFile, c.Name)})
		}
	}
}

// targetOf returns a target of the step, or nil.
func (s *Step) targetOf(id string) *Target {
	for i := range s.Targets {
		if s.Targets[i].ID == id {
			return &s.Targets[i]
		}
	}
	return nil
}
