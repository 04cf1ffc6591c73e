package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// settleUnit ends a commit by the restart of a unit that failed or was interrupted. The restart
// cannot be rolled back. settleUnit inspects the result and answers with Committed (all new and
// verified), RolledBack (all old and verified) or Unknown. Its only error is that nothing can
// be recorded any more.
func (c *committing) settleUnit(ctx context.Context, f *failure) error {
	c.log.lenient = true
	_ = c.log.write(c.unitOutcome(ctx, f))
	if c.log.failed != nil {
		return c.log.failed
	}
	return c.cleanUp()
}

func (c *committing) unitOutcome(ctx context.Context, f *failure) nodeapi.Record {
	if c.late && c.wasRestarted(ctx) {
		err := c.verifyLate(ctx)
		if err == nil {
			return nodeapi.Record{Kind: nodeapi.Committed, Renewals: c.t.renewals(),
				Message: fmt.Sprintf("%s; %s was restarted, and its new certificates are verified", f.Error(), c.t.Unit)}
		}
		f = asFailure(err)
	}
	rec := nodeapi.Record{Kind: nodeapi.Unknown, Service: f.service, Message: withLastLog(f)}
	pending := c.withdrawCommand(ctx)
	stillOld := c.stillOld()
	switch {
	case pending != nil:
		rec.Message += fmt.Sprintf("; %d of %d certificates are new, and %q may still be run: %v", len(c.t.Items)-len(stillOld), len(c.t.Items), inventory.CommandName(c.t.UnitCommand), pending)
	case len(stillOld) == len(c.t.Items):
		c.undoing = true // components that were unhealthy before need not be healthy now
		_, err := c.verifyInUse(ctx, unitStart)
		if err == nil {
			rec.Kind = nodeapi.RolledBack
			rec.Message += "; no certificate was renewed, and the old ones are verified"
			return rec
		}
		rec.Message += "; no certificate was renewed, and the old ones are not verified: " + err.Error()
	default:
		rec.Message += fmt.Sprintf("; %d of %d certificates are new", len(c.t.Items)-len(stillOld), len(c.t.Items))
		if len(stillOld) > 0 {
			rec.Message += ", not " + strings.Join(stillOld, ", ")
		}
	}
	rec.Hint = fmt.Sprintf("a restart of %[1]s cannot be rolled back, and it keeps no earlier certificates: see \"journalctl -u %[1]s\" on this node, then restart it and run \"kubectl rotate-certs check\"", c.t.Unit)
	switch {
	case c.t.commandRestarts():
		rec.Hint = fmt.Sprintf("see \"journalctl -u %s -u %s\" on this node; \"%s --undo\" puts the certificates from before its last run back",
			component.RenewalUnit, c.t.Unit, inventory.CommandName(c.t.UnitCommand))
	case c.t.UnitCommand != "":
		rec.Hint = fmt.Sprintf("see \"journalctl -u %s -u %s\" on this node; the earlier certificates and keys are in the newest %s, the backup of %q",
			component.RenewalUnit, c.t.Unit, c.t.Items[0].Certificate.Issuer.BackupPattern(), inventory.CommandName(c.t.UnitCommand))
	}
	return rec
}

// withdrawCommand makes sure that systemd does not run the command after the outcome is known. A
// unit may take longer to stop than its commit waits.
func (c *committing) withdrawCommand(ctx context.Context) error {
	if c.t.UnitCommand == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, unitStart)
	defer cancel()
	return c.Commander.WithdrawCommand(ctx, c.t.unitTarget())
}

func withLastLog(f *failure) string {
	if f.why == "" {
		return f.Error()
	}
	return fmt.Sprintf("%s; last log lines: %s", f.Error(), f.why)
}

// wasRestarted reports whether the unit was restarted since the commit began, or was about to
// be when the process ended. The restart may still be in progress then.
func (c *committing) wasRestarted(ctx context.Context) bool {
	now, err := c.Restarter.CurrentInstance(ctx, unitComponent(c.t.Unit))
	return slices.Contains(c.restarted, certs.Service(c.t.Unit)) || err == nil && now.ID != c.t.UnitInstance
}

// verifyLate verifies the result of a restart that an earlier process began.
func (c *committing) verifyLate(ctx context.Context) (err error) {
	defer recoverAs(&err)
	defer c.closeOutages()
	var begun []*restarting
	for _, target := range c.supervisedComponents() {
		begun = append(begun, &restarting{component: target, outage: c.watchOutage(ctx, target)})
	}
	old := component.Instance{ID: c.t.UnitInstance, Running: true}
	return c.verifyUnit(ctx, &restarting{component: c.t.unitTarget(), old: old}, begun)
}

// stillOld names the certificates whose files are unchanged since before the commit.
func (c *committing) stillOld() (names []string) {
	for _, i := range c.t.Items {
		content, err := store.ReadStore(c.Root, i.Certificate.Store)
		if err == nil && content.KeyErr == nil && certs.Fingerprint(content.LeafCert()) == i.Certificate.FingerprintSHA256 {
			names = append(names, i.Certificate.Name)
		}
	}
	return names
}
