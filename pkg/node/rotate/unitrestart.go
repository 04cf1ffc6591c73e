package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// restartUnit restarts the unit and verifies the certificates that its program made. A panic is
// an error.
func (c *committing) restartUnit(ctx context.Context) (err error) {
	defer recoverAs(&err)
	defer c.closeOutages()
	var begun []*restarting
	for _, target := range c.supervisedComponents() {
		err := c.log.write(nodeapi.Record{Kind: nodeapi.Restarting, Service: target.Service, Message: "with " + c.t.Unit,
			WithinSeconds: (stopLimit(c.t.unitTarget()) + c.startTimeout(target, 0)).Seconds()})
		if err != nil {
			return err
		}
		begun = append(begun, &restarting{component: target, outage: c.watchOutage(ctx, target)})
	}
	why := "it makes new certificates when it starts"
	switch {
	case c.t.commandRestarts():
		why = fmt.Sprintf("%q signs new certificates and restarts it", inventory.CommandName(c.t.UnitCommand))
	case c.t.UnitCommand != "":
		why = fmt.Sprintf("%q is run while it is stopped, and it makes new certificates when it starts", inventory.CommandName(c.t.UnitCommand))
	}
	r, err := c.stopComponent(ctx, c.t.unitTarget(), why)
	if err != nil {
		return err
	}
	return c.verifyUnit(ctx, r, begun)
}

// errNotStopped means that the unit was never stopped.
var errNotStopped = errors.New("it was not stopped")

// awaitCommand waits until the command that renews the certificates has ended, and returns its
// error. It makes sure that the unit starts again. Without such a command it returns
// at once.
func (c *committing) awaitCommand(ctx context.Context, r *restarting) error {
	if c.t.UnitCommand == "" {
		return nil
	}
	failed := c.Commander.CommandResult(ctx)
	now, err := c.Restarter.CurrentInstance(ctx, r.component)
	switch {
	case err != nil || now.ID != r.old.ID:
	case now.Running && r.old.Running && failed != nil:
		return fmt.Errorf("%w, and %q failed: %w", errNotStopped, inventory.CommandName(c.t.UnitCommand), failed)
	case now.Running && r.old.Running && c.t.commandRestarts() && !c.late:
		return fmt.Errorf("%w by %q", errNotStopped, inventory.CommandName(c.t.UnitCommand))
	case now.Running && r.old.Running:
		return fmt.Errorf("%w, since the process ended before it asked for that", errNotStopped)
	case now.Exited:
		if err := c.Restarter.StopInstance(ctx, r.component, now); err != nil { // starts it
			return errors.Join(failed, err)
		}
	}
	return failed
}

// supervisedComponents returns the components that the unit runs, in the order of their turns.
func (c *committing) supervisedComponents() (out []inventory.Component) {
	for _, turn := range turns {
		for _, s := range turn {
			if !slices.Contains(c.t.Restarts, s) {
				continue
			}
			for _, target := range c.t.components(s) {
				if c.t.runsInUnit(target) {
					out = append(out, target)
				}
			}
		}
	}
	return out
}

// verifyUnit waits until the unit has started, every file is new, and every component runs as
// a new process and is healthy. It then verifies the new certificates like any others.
func (c *committing) verifyUnit(ctx context.Context, r *restarting, begun []*restarting) error {
	timeout := c.startTimeout(r.component, r.old.BackOff)
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	waiting, stop := c.untilCrash(waiting, r)
	defer stop()
	failed := c.awaitCommand(waiting, r)
	if errors.Is(failed, errNotStopped) {
		return &failure{what: c.t.Unit + " was not restarted", cause: failed}
	}
	fresh, err := c.Restarter.AwaitInstance(waiting, r.component, r.old)
	if err != nil {
		return c.waitFailure(ctx, waiting, r.component, c.t.Unit+" did not start again", timeout, errors.Join(failed, err))
	}
	if failed != nil {
		return &failure{what: fmt.Sprintf("%q failed, and %s was started again", inventory.CommandName(c.t.UnitCommand), c.t.Unit), cause: failed}
	}
	if err := c.awaitSuccessors(ctx, waiting, r.component, timeout); err != nil {
		return err
	}
	if err := c.log.write(nodeapi.Record{Kind: nodeapi.Replaced, Message: c.t.Unit + " made the new certificates", WithinSeconds: timeout.Seconds()}); err != nil {
		return err
	}
	if err := c.awaitProcesses(ctx, waiting, timeout); err != nil {
		return err
	}
	for _, b := range begun {
		if err := c.awaitSupervised(ctx, waiting, b, fresh, timeout); err != nil {
			return err
		}
	}
	now, err := c.Restarter.CurrentInstance(ctx, r.component)
	if err == nil && (now.ID != fresh.ID || !now.Running) {
		err = errors.New("it exited again")
	}
	if err != nil {
		return c.componentFailure(ctx, r.component, c.t.Unit+" did not stay up", err)
	}
	if err := c.restartOthers(ctx, c.t.Others); err != nil {
		return err
	}
	all := make([]int, len(c.t.Items))
	for n := range all {
		all[n] = n
	}
	return c.verifyItems(ctx, all)
}

// awaitSupervised waits for the health of a component that the unit runs.
func (c *committing) awaitSupervised(ctx, waiting context.Context, b *restarting, unit component.Instance, timeout time.Duration) error {
	detail := "running"
	service := b.component.Service
	if c.mustBeHealthy(b.component) {
		last, err := b.outage.waitHealthy(waiting)
		if err != nil {
			return c.waitFailure(ctx, waiting, b.component, fmt.Sprintf("%s did not become healthy", service), timeout, err)
		}
		detail = healthDetail(b.component, last)
	}
	b.outage.stopMeasuring()
	started := unit.StartedAt.UTC()
	err := c.log.write(nodeapi.Record{Kind: nodeapi.Restarted, Service: service, UnavailableSeconds: b.outage.downSeconds(), StartedAt: &started})
	if err != nil {
		return err
	}
	return c.log.write(nodeapi.Record{Kind: nodeapi.Verified, Evidence: &nodeapi.Evidence{Service: service, Method: nodeapi.Health, Detail: detail}})
}

// awaitSuccessors waits until every file holds a new certificate, and notes them.
func (c *committing) awaitSuccessors(ctx, waiting context.Context, unit inventory.Component, timeout time.Duration) error {
	for {
		late, err := c.noteSuccessors()
		if err != nil || late == nil {
			return err
		}
		// The start of the unit takes many seconds, in which the node has no time to spare.
		if wait.SleepFor(waiting, 500*time.Millisecond) != nil {
			return c.waitFailure(ctx, waiting, unit, c.t.Unit+" made no new certificate", timeout, late)
		}
	}
}

// noteSuccessors reads the new certificates. late names one that does not exist yet; err means
// that one cannot be accepted.
func (c *committing) noteSuccessors() (late, err error) {
	for n, i := range c.t.Items {
		content, err := store.ReadStore(c.Root, i.Certificate.Store)
		if err == nil {
			err = content.KeyErr
		}
		switch {
		case err != nil: // the unit may be writing it
			return fmt.Errorf("%s: %w", i.Certificate.Name, err), nil
		case certs.Fingerprint(content.LeafCert()) == i.Certificate.FingerprintSHA256:
			return fmt.Errorf("%s %q is still the old one", i.Certificate.Name, i.Certificate.Store.Cert), nil
		}
		if err := c.checkSuccessor(i, content); err != nil {
			return nil, &failure{service: i.Certificate.Service, what: i.Certificate.Name + " was not renewed as expected", cause: err}
		}
		c.t.Items[n].New = certs.DescribeCertificate(content.LeafCert())
	}
	return nil, nil
}

// checkSuccessor checks a certificate that the unit made: it must be signed by the CA that
// signed its predecessor, and be valid now. It may expire before it, since the distribution's
// settings decide that; the report says so.
func (c *committing) checkSuccessor(i item, content store.Content) error {
	ca, err := certs.ParsePEM([]byte(i.CA))
	if err != nil {
		return fmt.Errorf("read what was noted of its CA: %w", err)
	}
	leaf := content.LeafCert()
	now := c.atLeastBegan()
	switch {
	case !certs.IsIssuedBy(leaf, ca[0]):
		return fmt.Errorf("it was signed by another CA, %q", leaf.Issuer.CommonName)
	case now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter):
		return fmt.Errorf("it is valid from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	case c.t.DestroyOldKeys && certs.PublicKeySHA256(leaf.PublicKey) == i.Certificate.PublicKeySHA256:
		return errors.New("it has the old key, which is compromised")
	}
	return nil
}

// awaitProcesses waits until none of the unit's old processes runs and all components run
// again. A process that its supervisor left running would still use its old certificate.
func (c *committing) awaitProcesses(ctx, waiting context.Context, timeout time.Duration) error {
	for {
		node, err := c.Scan(waiting)
		target := inventory.Component{}
		if err == nil {
			if target, err = c.notRestarted(node); err == nil {
				return nil
			}
		}
		if wait.SleepFor(waiting, time.Second) != nil {
			return c.waitFailure(ctx, waiting, target, "not every component was restarted", timeout, err)
		}
	}
}

// mustBeNew reports whether a component must run as a new process after the restart of the unit.
// RKE2 replaces all its static pods except kube-proxy's, which continues in some cases: that
// matters only if its certificate was renewed.
func (t *transaction) mustBeNew(c inventory.Component) bool {
	if !t.runsInUnit(c) || c.PID == 0 {
		return false
	}
	return c.Runtime != inventory.StaticPod || c.Service != certs.KubeProxy ||
		slices.ContainsFunc(t.Items, func(i item) bool { return i.Certificate.Service == c.Service })
}

func (c *committing) notRestarted(node inventory.Node) (inventory.Component, error) {
	for _, old := range c.t.Node.Components {
		if !c.t.mustBeNew(old) {
			continue
		}
		i := slices.IndexFunc(node.Components, func(now inventory.Component) bool {
			return now.Service == old.Service && c.t.runsInUnit(now) && now.PID != 0
		})
		if i < 0 {
			return old, fmt.Errorf("%s does not run", old.Service)
		}
		now := node.Components[i]
		same := now.StartedAt == nil || old.StartedAt == nil || now.StartedAt.Equal(*old.StartedAt)
		if now.PID == old.PID && same {
			return old, fmt.Errorf("%s is still process %d", old.Service, old.PID)
		}
	}
	return inventory.Component{}, nil
}
