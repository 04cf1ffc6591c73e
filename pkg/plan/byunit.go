package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// obstacleToUnit returns the reason why the unit that renews a certificate cannot be restarted;
// empty: it can be.
func obstacleToUnit(n *inventory.Node, c inventory.Certificate) string {
	unit := c.Issuer.Unit
	by := c.Issuer.Renewer()
	runs := runBy(n, unit)
	if n.DBusSocket == "" && !n.SocketsHidden {
		return by + " renews it, and systemd cannot be reached on this node: there is no D-Bus socket"
	}
	for i := range n.Certificates {
		other := &n.Certificates[i]
		if other.Issuer.Unit == unit && other.Issuer.Kind == inventory.NoIssuer {
			return fmt.Sprintf("%s renews it, and must not be done because of %s %q: %s", by, other.Name, other.Store.Cert, other.Reason)
		}
		uses := slices.ContainsFunc(usersOf(*other), func(s certs.Service) bool { return slices.Contains(runs, s) })
		if !c.Issuer.RenewsWith(other.Issuer) && uses && isLoaded(*other) && isDamaged(n, other) {
			return fmt.Sprintf("%s renews it, and %s could not start again with %s %q: %s",
				by, usersOf(*other)[0], other.Name, other.Store.Cert, cmp.Or(other.Reason, string(other.Status)))
		}
	}
	if c.Issuer.Kind == inventory.RestartCommand {
		return "" // it makes no new key
	}
	if kept := n.KeptKey(c); kept != "" {
		return fmt.Sprintf("its key %s, and %s makes a new key", kept, by)
	}
	for _, other := range n.SharingKey(c) {
		if !c.Issuer.RenewsWith(other.Issuer) {
			return fmt.Sprintf("its key lies in %q together with that of %s %q, which %s does not renew: give each a key file of its own",
				c.KeyFile, other.Name, other.Store.Cert, by)
		}
	}
	return ""
}

// reasonByUnit is why a request leaves a certificate out because of a unit that renews
// certificates: its own, or that of others in scope. Empty: it does not.
func reasonByUnit(n *inventory.Node, c inventory.Certificate, req Request) string {
	if !c.Issuer.IsByUnit() {
		if unit := unitInScope(n, req); unit != "" {
			return fmt.Sprintf("renew it in a rotation of its own, without the services of %s: a restart of that unit renews theirs and cannot be rolled back", unit)
		}
		return ""
	}
	switch {
	case req.Restart == RestartNever:
		return fmt.Sprintf("only %s renews it, and --restart=never forbids that", c.Issuer.Renewer())
	case req.Validity > 0 && req.ValidityFrom == "":
		return fmt.Sprintf("%s renews it, and its validity cannot be chosen here: rotate without a validity; %s", c.Issuer.Renewer(), WhereValidityIs(c.Issuer.Kind))
	}
	return ""
}

// WhereValidityIs is where an operator sets the validity of what a distribution signs.
func WhereValidityIs(kind inventory.IssuerKind) string {
	switch kind {
	case inventory.RestartCommand:
		return "MicroK8s always signs for 365 days"
	case inventory.UnitCommand:
		return "RKE2 and K3s have CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS in the environment of their units"
	}
	return "k0s has spec.api.ca.certificatesExpireAfter in its configuration"
}

// unitInScope is the unit that a request restarts on a node to renew certificates, or "".
func unitInScope(n *inventory.Node, req Request) string {
	for _, s := range req.Services {
		for _, c := range certificatesOf(n, s) {
			if c.Issuer.IsByUnit() && ObstacleTo(n, c).Reason == "" && reasonByUnit(n, c, req) == "" {
				return c.Issuer.Unit
			}
		}
	}
	return ""
}

// runBy are the services that a unit runs on a node.
func runBy(n *inventory.Node, unit string) (out []certs.Service) {
	for _, c := range n.Components {
		if c.IsRunByUnit(unit) && c.PID != 0 {
			out = append(out, c.Service)
		}
	}
	return out
}

// addUnit adds all certificates that are renewed together with the certificate by its unit to
// the targets, also those outside of the scope, and all components of the unit to the restarts.
func (b *builder) addUnit(c inventory.Certificate) {
	if !c.Issuer.IsByUnit() {
		return
	}
	if b.step.RestartUnit == "" {
		b.step.RestartUnit = c.Issuer.Unit
		b.restarts = append(b.restarts, runBy(b.node, c.Issuer.Unit)...)
	}
	for _, other := range b.node.Certificates {
		if !c.Issuer.RenewsWith(other.Issuer) || reasonToLeave(b.node, other, b.req) != "" {
			continue
		}
		b.step.addTarget(other)
		known := slices.ContainsFunc(b.step.Services, func(s Service) bool { return s.Service == other.Service })
		if !known && !slices.Contains(b.req.Services, other.Service) {
			b.step.Services = append(b.step.Services, Service{Service: other.Service, Because: renewedAlong(c.Issuer)})
		}
	}
}

// renewedAlong is why the certificates of a service are renewed that was not requested.
func renewedAlong(i inventory.Issuer) string {
	if i.IsByCommand() {
		return fmt.Sprintf("%q renews certificates of both", inventory.CommandName(i.Command)+" "+i.PartOption())
	}
	return i.Renewer() + " renews its certificates too"
}

// setUnitCommand fills in the command of the distribution that renews the targets. Its
// backups must be writable if the keys in them are to be destroyed.
func (b *builder) setUnitCommand() {
	var targets []inventory.Certificate
	for _, c := range b.node.Certificates {
		if b.step.targetOf(c.ID()) != nil {
			targets = append(targets, c)
			if b.req.Compromised && c.Issuer.Backups != "" && !slices.Contains(b.step.Directories, c.Issuer.Backups) {
				b.step.Directories = append(b.step.Directories, c.Issuer.Backups)
			}
		}
	}
	b.step.UnitCommand = inventory.UnitCommandOf(targets)
}
