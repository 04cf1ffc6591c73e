package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// findUnverified returns the record of a rollback at boot that was not verified since; nil:
// there is none.
func findUnverified(records []nodeapi.Record) *nodeapi.Record {
	var open *nodeapi.Record
	for n := range records {
		switch records[n].Kind {
		case nodeapi.RolledBack, nodeapi.Unknown, nodeapi.Committed:
			open = nil
			if records[n].Unverified {
				open = &records[n]
			}
		default:
		}
	}
	return open
}

// verifyRestored verifies that the node runs on the certificates that were restored at boot,
// and records it. If that cannot be verified yet, the record says why, and the next process
// tries again. Nothing is restarted for it, since no gate was passed.
func (s *session) verifyRestored(ctx context.Context, r *statedir.Rotation, current string, restored nodeapi.Record) error {
	t, err := loadTransaction(backupDir(r, restored.Order))
	if err != nil {
		return nil //nolint:nilerr // its record remains unverified
	}
	writer, err := r.OpenWriter(s.Node, s.Engine.Now)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close() }()
	l := &log{writer: writer, token: restored.Token, order: restored.Order, orderID: restored.OrderID}
	if r.ID == current {
		l.out = s.Records
	}
	older := &session{Engine: s.Engine, dir: s.dir, rotation: r, writer: writer}
	c := &committing{session: older, t: t, log: l, undoing: true}
	shown, err := c.verifyInUse(ctx, 0)
	whose := "the old certificates that were restored"
	if restored.Kind == nodeapi.Committed {
		whose = "the new certificates"
	}
	rec := nodeapi.Record{Kind: restored.Kind, Message: whose + " are verified: " + strings.Join(shown, ", ")}
	if err != nil {
		rec.Unverified = true
		rec.Hint = restored.Hint
		rec.Message = whose + " are still not verified: " + err.Error()
	}
	if err := l.write(rec); err != nil {
		return err
	}
	s.undone = append(s.undone, l.last)
	return nil
}

// verifyInUse is the verification after a rollback, for a node whose components have started
// since: keys fit, components are healthy, endpoints serve the certificates on disk. pause is
// how long a supervisor may wait before it starts a component, besides the component's own
// time.
func (c *committing) verifyInUse(ctx context.Context, pause time.Duration) (shown []string, err error) {
	defer recoverAs(&err)
	timeout := c.t.Timeout
	if timeout <= 0 {
		timeout = nodeapi.ComponentTimeout
	}
	timeout += pause
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	onDisk := make([]string, len(c.t.Items))
	for n, i := range c.t.Items {
		content, err := store.ReadStore(c.Root, i.Certificate.Store)
		if err == nil {
			err = content.KeyErr
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.Certificate.Name, err)
		}
		onDisk[n] = certs.Fingerprint(content.LeafCert())
		if onDisk[n] != i.Certificate.FingerprintSHA256 && onDisk[n] != i.New.FingerprintSHA256 {
			shown = append(shown, i.Certificate.Name+" was replaced since by another program")
		}
	}
	if c.fates == nil {
		c.fates = c.fatesOnDisk(onDisk)
	}
	for _, service := range c.changedServices() {
		for _, target := range c.t.components(service) {
			if err := c.awaitHealthy(ctx, target); err != nil {
				return nil, err
			}
			shown = append(shown, fmt.Sprintf("%s is healthy", service))
		}
	}
	for n, i := range c.t.Items {
		for _, served := range i.Certificate.Served {
			if served.FingerprintSHA256 == "" {
				continue // it did not answer before either
			}
			want := []string{onDisk[n]}
			if c.fates[n].action == restored && !c.startedSince(ctx, i.Certificate.Service) {
				want = append(want, served.FingerprintSHA256) // as before the commit
			}
			if err := c.awaitServed(ctx, served, timeout, want...); err != nil {
				return nil, fmt.Errorf("%s does not serve %s: %w", served.Address, i.Certificate.Name, err)
			}
			if len(want) > 1 {
				shown = append(shown, served.Address+" serves an old certificate, as before")
				continue
			}
			shown = append(shown, fmt.Sprintf("%s serves %.12s", served.Address, onDisk[n]))
		}
	}
	return shown, nil
}

// startedSince reports whether a service may have read its files since the commit began.
func (c *committing) startedSince(ctx context.Context, s certs.Service) bool {
	for _, target := range c.t.components(s) {
		if now, err := c.Restarter.CurrentInstance(ctx, c.t.supervisorOf(target)); err != nil || !now.Running || now.StartedAt.After(c.t.Began) {
			return true
		}
	}
	return false
}

// fatesOnDisk derives the items' fates from the certificates on disk.
func (c *committing) fatesOnDisk(onDisk []string) []fate {
	fates := make([]fate, len(c.t.Items))
	for n, i := range c.t.Items {
		fates[n] = fate{action: left, found: onDisk[n], fits: true}
		switch onDisk[n] {
		case i.Certificate.FingerprintSHA256:
			fates[n].action = restored
		case i.New.FingerprintSHA256:
			fates[n].action = kept
		}
	}
	return fates
}

// awaitHealthy waits until a component is healthy, or runs if it has no health endpoint; see
// [committing.mustBeHealthy] for components that need not be healthy.
func (c *committing) awaitHealthy(ctx context.Context, target inventory.Component) error {
	if target.Health != "" && !c.mustBeHealthy(target) {
		return nil
	}
	for {
		err := c.checkHealthy(ctx, target)
		if err == nil {
			return nil
		}
		if wait.SleepFor(ctx, wait.ConnectEvery) != nil {
			return fmt.Errorf("%s is unhealthy: %w", target.Service, err)
		}
	}
}

func (c *committing) checkHealthy(ctx context.Context, target inventory.Component) error {
	if target.Health != "" {
		p := c.Prober.CheckHealth(ctx, c.t.Node, target)
		if !p.Healthy && !(p.Unasked && slices.Contains(c.t.Unasked, target.Health)) {
			return errors.New(p.Message)
		}
		return nil
	}
	i, err := c.Restarter.CurrentInstance(ctx, c.t.supervisorOf(target))
	switch {
	case err != nil && slices.Contains(c.t.Restarts, target.Service):
		return err
	case err == nil && !i.Running:
		return errors.New("it does not run")
	}
	return nil
}

// mustBeHealthy reports whether a component has to pass its health check, instead of just
// running. One that was unhealthy before the commit must be healthy after it: the old
// certificate may have been the cause, and there is no other evidence that the new one works.
// It need not be healthy after a rollback, since the old certificates cannot make it healthier
// than it was.
func (c *committing) mustBeHealthy(target inventory.Component) bool {
	switch {
	case target.Health == "":
		return false
	case !slices.Contains(c.t.Unhealthy, target.Health), !c.undoing:
		return true
	default:
		return slices.Contains(c.usersOf(kept), target.Service) || slices.Contains(c.usersOf(left), target.Service)
	}
}
