package rotate

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// unitStart is the additional time for a unit that starts a whole control plane: etcd first,
// then the API server, then the components that need it.
const unitStart = 2 * time.Minute

// renewingUnit returns the unit that renews the certificates of a step; empty: this program
// renews them. Both in one commit is refused, since only the latter can be rolled back. The
// command that it is to be renewed by must be the one that the node itself found.
func renewingUnit(step *plan.Step, found []inventory.Certificate) (string, error) {
	const replan = "run the same command again to make a new plan"
	for _, c := range found {
		if unit := c.Issuer.Unit; unit != step.RestartUnit {
			return "", &refusal{fmt.Sprintf("%s %q is renewed by a restart of %q, and %q was planned", c.Name, c.Store.Cert, unit, step.RestartUnit), replan}
		}
	}
	if command := inventory.UnitCommandOf(found); command != step.UnitCommand {
		return "", &refusal{fmt.Sprintf("the certificates are renewed by the command %q, and %q was planned", command, step.UnitCommand), replan}
	}
	if step.RestartUnit != "" && len(found) == 0 {
		return "", &refusal{fmt.Sprintf("restart of %s without a certificate to renew", step.RestartUnit), replan}
	}
	return step.RestartUnit, nil
}

// unitComponent describes a unit as a component, for the Restarter.
func unitComponent(unit string) inventory.Component {
	return inventory.Component{Service: certs.Service(unit), Runtime: inventory.Systemd, Unit: unit}
}

// unitTarget is the commit's unit, with its grace period.
func (t *transaction) unitTarget() inventory.Component {
	target := unitComponent(t.Unit)
	for _, c := range t.Node.Components {
		if t.runsInUnit(c) {
			target.GraceSeconds = max(target.GraceSeconds, c.GraceSeconds)
		}
	}
	return target
}

// runsInUnit reports whether the commit's unit runs a component.
func (t *transaction) runsInUnit(c inventory.Component) bool {
	return c.IsRunByUnit(t.Unit)
}

// renewer names the cause of the commit's new certificates: "a restart of k0scontroller.service".
func (t *transaction) renewer() string { return t.Items[0].Certificate.Issuer.Renewer() }

// commandRestarts reports whether the commit's command restarts the unit itself.
func (t *transaction) commandRestarts() bool {
	return t.UnitCommand != "" && t.Items[0].Certificate.Issuer.Kind == inventory.RestartCommand
}

// whereEarlier is the fate of the earlier certificates; empty: a backup of this program has them.
func (t *transaction) whereEarlier() string {
	switch {
	case t.commandRestarts():
		return fmt.Sprintf("%q keeps the certificates from before its last run in a backup of its own", inventory.CommandName(t.UnitCommand))
	case t.UnitCommand != "":
		return fmt.Sprintf("%q keeps the earlier certificates in a backup of its own", inventory.CommandName(t.UnitCommand))
	case t.Unit != "":
		return t.Unit + " has overwritten the earlier certificates"
	}
	return ""
}

// supervisorOf returns the commit's unit for a component that it runs, otherwise the component
// itself.
func (t *transaction) supervisorOf(c inventory.Component) inventory.Component {
	if t.runsInUnit(c) {
		return unitComponent(t.Unit)
	}
	return c
}

// prepareUnit checks everything that can be known before the unit is restarted, and notes the
// CA of each certificate. No key is made: the unit makes the new ones, or its command keeps them.
func (s *session) prepareUnit(ctx context.Context, unit string, node inventory.Node, found []inventory.Certificate, o statedir.Order) (*transaction, error) {
	t := newTransaction(node, o, len(found))
	t.Unit = unit
	t.UnitCommand = o.Step.UnitCommand
	if err := s.refuseDependents(ctx, t); err != nil {
		return nil, err
	}
	for n, c := range found {
		old, err := store.ReadStore(s.Root, c.Store)
		if err == nil {
			err = old.KeyErr
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q cannot be renewed: %w", c.Name, c.Store.Cert, err)
		}
		ca, err := s.authorityOf(c, old)
		if err != nil {
			return nil, fmt.Errorf("%s %q cannot be renewed: %w", c.Name, c.Store.Cert, err)
		}
		t.Items[n] = item{Certificate: c, CA: ca, KeptKey: node.KeptKey(c)}
		if c.Client == nil {
			continue
		}
		// A server that accepts the old one must accept the new one afterwards.
		_, err = s.Prober.VerifyClient(ctx, c, store.Material{Chain: old.Chain, Key: old.Key})
		if t.Items[n].Accepted = err == nil; err != nil {
			t.Items[n].Note = err.Error()
		}
	}
	return t, t.saveTo(s.rotation.StagedDir())
}

// authorityOf reads the CA that signed a certificate. If the unit's program signs with a key on
// this node, authorityOf makes sure that the key exists: without it the program makes a new CA,
// which no component trusts.
func (s *session) authorityOf(c inventory.Certificate, old store.Content) (string, error) {
	data, err := s.Root.ReadFile(c.Issuer.CACert)
	if err != nil {
		return "", fmt.Errorf("read its CA: %w", err)
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return "", fmt.Errorf("read its CA %q: %w", c.Issuer.CACert, err)
	}
	fits := func(*x509.Certificate) bool { return true } // another node has the key
	if c.Issuer.CAKey != "" {
		keyPEM, err := s.Root.ReadFile(c.Issuer.CAKey)
		if err != nil {
			return "", fmt.Errorf("read the key of its CA: %w", err)
		}
		key, err := certs.ParseKeyPEM(keyPEM)
		if err != nil {
			return "", fmt.Errorf("read the key of its CA %q: %w", c.Issuer.CAKey, err)
		}
		fits = key.FitsCert
	}
	for _, ca := range chain {
		if certs.IsIssuedBy(old.LeafCert(), ca) && fits(ca) {
			return string(certs.EncodePEM(ca)), nil
		}
	}
	return "", fmt.Errorf("the CA in %q with the key in %q did not sign it", c.Issuer.CACert, c.Issuer.CAKey)
}

// refuseDependents refuses to stop a unit, for a command, that other active units need.
func (s *session) refuseDependents(ctx context.Context, t *transaction) error {
	if t.UnitCommand == "" {
		return nil
	}
	active, err := s.Commander.ActiveDependents(ctx, t.Unit)
	if err != nil || len(active) == 0 {
		return err
	}
	return &refusal{
		fmt.Sprintf("%q needs a stop of %s, which also stops %s: systemd does not start these again", inventory.CommandName(t.UnitCommand), t.Unit, strings.Join(active, ", ")),
		"stop them before the rotation and start them afterwards, or replace Requires=, BindsTo= and PartOf= in their unit files by Wants=",
	}
}

// noteUnit stores the ID of the unit's current instance in the transaction.
func (s *session) noteUnit(ctx context.Context, t *transaction) error {
	if t.Unit == "" {
		return nil
	}
	if err := s.refuseDependents(ctx, t); err != nil {
		return err
	}
	now, err := s.Restarter.CurrentInstance(ctx, unitComponent(t.Unit))
	t.UnitInstance = now.ID
	return err
}
