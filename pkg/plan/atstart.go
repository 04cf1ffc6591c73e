package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// notByRestart returns the reason why the unit that renews a certificate at its start cannot be
// restarted; empty: it can be.
func notByRestart(n *inventory.Node, c inventory.Certificate) string {
	unit := c.Issuer.Unit
	runs := runBy(n, c.Issuer.Unit)
	if n.DBusSocket == "" && !n.SocketsHidden {
		return fmt.Sprintf("a restart of %s renews it, and systemd cannot be reached on this node: there is no D-Bus socket", unit)
	}
	for i := range n.Certificates {
		other := &n.Certificates[i]
		if other.Issuer.Unit == unit && other.Issuer.Kind == inventory.NoIssuer {
			return fmt.Sprintf("a restart of %s renews it, and must not be done because of %s %q: %s", unit, other.Name, other.Store.Cert, other.Reason)
		}
		uses := slices.ContainsFunc(usersOf(*other), func(s certs.Service) bool { return slices.Contains(runs, s) })
		if other.Issuer.Unit != unit && uses && isLoaded(*other) && isDamaged(n, other) {
			return fmt.Sprintf("a restart of %s renews it, and %s could not start again with %s %q: %s",
				unit, usersOf(*other)[0], other.Name, other.Store.Cert, cmp.Or(other.Reason, string(other.Status)))
		}
	}
	if kept := n.KeptKey(c); kept != "" {
		return fmt.Sprintf("its key also %s, and a restart of %s makes a new key", kept, unit)
	}
	for _, other := range n.SharingKey(c) {
		if other.Issuer.Unit != unit {
			return fmt.Sprintf("its key lies in %q together with that of %s %q, which a restart of %s does not renew: give each a key file of its own",
				c.KeyFile, other.Name, other.Store.Cert, unit)
		}
	}
	return ""
}

// reasonByUnit is why a request leaves a certificate out because of a unit whose start renews
// certificates: its own, or that of others in scope. Empty: it does not.
func reasonByUnit(n *inventory.Node, c inventory.Certificate, req Request) string {
	if c.Issuer.Kind != inventory.UnitStart {
		if unit := unitInScope(n, req); unit != "" {
			return fmt.Sprintf("renew it in a rotation of its own, without the services of %s: a restart of that unit renews theirs and cannot be rolled back", unit)
		}
		return ""
	}
	switch {
	case req.Restart == RestartNever:
		return fmt.Sprintf("only a restart of %s renews it, and --restart=never forbids that", c.Issuer.Unit)
	case req.Validity > 0 && req.ValidityFrom == "":
		return fmt.Sprintf("a restart of %s renews it, and its validity cannot be chosen here: rotate without a validity; k0s has spec.api.ca.certificatesExpireAfter in its configuration", c.Issuer.Unit)
	}
	return ""
}

// unitInScope is the unit that a request restarts on a node to renew certificates, or "".
func unitInScope(n *inventory.Node, req Request) string {
	for _, s := range req.Services {
		for _, c := range certificatesOf(n, s) {
			if c.Issuer.Kind == inventory.UnitStart && ObstacleTo(n, c).Reason == "" && reasonByUnit(n, c, req) == "" {
				return c.Issuer.Unit
			}
		}
	}
	return ""
}

// runBy are the services that a unit runs on a node.
func runBy(n *inventory.Node, unit string) (out []certs.Service) {
	for _, c := range n.Components {
		if c.Runtime == inventory.Supervised && c.Unit == unit && c.PID != 0 {
			out = append(out, c.Service)
		}
	}
	return out
}

// addUnit adds all certificates that a restart of the certificate's unit renews to the targets,
// also those outside of the scope, and all components of the unit to the restarts.
func (b *builder) addUnit(c inventory.Certificate) {
	unit := c.Issuer.Unit
	if c.Issuer.Kind != inventory.UnitStart || b.step.RestartUnit != "" {
		return
	}
	b.step.RestartUnit = unit
	b.restarts = append(b.restarts, runBy(b.node, unit)...)
	for _, other := range b.node.Certificates {
		if other.Issuer.Kind != inventory.UnitStart || other.Issuer.Unit != unit || reasonToLeave(b.node, other, b.req) != "" {
			continue
		}
		b.step.addTarget(other)
		known := slices.ContainsFunc(b.step.Services, func(s Service) bool { return s.Service == other.Service })
		if !known && !slices.Contains(b.req.Services, other.Service) {
			b.step.Services = append(b.step.Services, Service{Service: other.Service,
				Because: fmt.Sprintf("a restart of %s renews its certificates too", unit)})
		}
	}
}
