package plan

import (
	"path"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addTarget adds the certificate to the targets, once, and reports whether it was new.
func (s *Step) addTarget(c inventory.Certificate) bool {
	id := c.ID()
	if slices.ContainsFunc(s.Targets, func(t Target) bool { return t.ID == id }) {
		return false
	}
	s.Targets = append(s.Targets, Target{
		ID: id, Service: c.Service, Name: c.Name, Path: c.Store.Cert, Issuer: string(c.Issuer.Kind),
		SignedBy: c.Signers, OldFingerprint: c.FingerprintSHA256, OldNotAfter: c.NotAfter,
	})
	if c.Issuer.IsByUnit() {
		return true // the step writes none of its files
	}
	dirs := c.Store.Directories
	if len(dirs) == 0 {
		dirs = []string{path.Dir(c.Store.Cert)}
		if c.Store.Key != "" {
			dirs = append(dirs, path.Dir(c.Store.Key))
		}
	}
	for _, d := range dirs {
		if !slices.Contains(s.Directories, d) {
			s.Directories = append(s.Directories, d)
		}
	}
	slices.Sort(s.Directories)
	return true
}

// Renewer names the action that renews the targets of a step with a RestartUnit, see
// [inventory.Issuer.Renewer].
func (s *Step) Renewer() string {
	return inventory.Issuer{Kind: s.renewedBy(), Unit: s.RestartUnit, Command: s.UnitCommand}.Renewer()
}

// RestartsItself reports whether the step's UnitCommand restarts its RestartUnit itself.
func (s *Step) RestartsItself() bool { return s.renewedBy() == inventory.RestartCommand }

// renewedBy is the kind of issuer of a step with a RestartUnit, which all targets have in common.
func (s *Step) renewedBy() inventory.IssuerKind {
	if len(s.Targets) == 0 {
		return inventory.NoIssuer
	}
	return inventory.IssuerKind(s.Targets[0].Issuer)
}

// setSockets asks for exactly the sockets that the restarts need.
func (s *Step) setSockets(n *inventory.Node) {
	if s.RestartUnit != "" {
		s.DBusSocket = n.DBusSocket
	}
	for _, r := range s.Restarts {
		component := n.ComponentOf(r)
		if component.IsRunByUnit(s.RestartUnit) {
			continue // the unit starts it
		}
		switch component.Runtime {
		case inventory.StaticPod, inventory.DaemonSet:
			s.CRISocket = n.CRISocket
		case inventory.Systemd:
			s.DBusSocket = n.DBusSocket
		case inventory.Docker:
			s.DockerSocket = n.DockerSocket
		case inventory.None, inventory.Supervised:
		}
	}
}

// setUnitDirectory adds the directory of the recovery unit to the writable ones if files are
// replaced on a node with systemd.
func (s *Step) setUnitDirectory(n *inventory.Node) {
	bySystemd := func(c inventory.Component) bool {
		return c.Runtime == inventory.Systemd || c.Runtime == inventory.Docker && c.Unit != ""
	}
	if len(s.Targets) > 0 && slices.ContainsFunc(n.Components, bySystemd) {
		s.Directories = append(s.Directories, UnitDirectory)
		slices.Sort(s.Directories)
	}
}
