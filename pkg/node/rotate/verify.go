package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

const (
	// reloadTimeout is how long a component may take to re-read its files. Components that do
	// so need seconds.
	reloadTimeout = 15 * time.Second
	// silentTimeout is for endpoints that did not answer before, of components that are not
	// restarted.
	silentTimeout = 500 * time.Millisecond
)

// verifyItems verifies that certificates are in use, and records the evidence. The first error
// is a *failure. Serving certificates come first: an endpoint that does not answer accepts no
// client either, and the former is the better message.
func (c *committing) verifyItems(ctx context.Context, items []int) error {
	for _, n := range items {
		if err := c.readBack(n); err != nil {
			return err
		}
	}
	for _, verification := range []func(context.Context, item) error{c.verifyServing, c.verifyUse} {
		g, first := errgroup.WithContext(ctx)
		for _, n := range items {
			g.Go(func() (err error) {
				defer recoverAs(&err)
				return verification(first, c.t.Items[n])
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// readBack makes sure that the files hold the new certificate. A configuration manager that
// restores its own files would otherwise be noticed only by an outage.
func (c *committing) readBack(n int) error {
	i := c.t.Items[n]
	content, err := store.ReadStore(c.Root, i.Certificate.Store)
	switch {
	case err != nil:
	case content.KeyErr != nil:
		err = content.KeyErr
	case certs.Fingerprint(content.LeafCert()) != i.New.FingerprintSHA256:
		err = fmt.Errorf("it is certificate %.12s", certs.Fingerprint(content.LeafCert()))
	default:
		return nil
	}
	return &failure{service: i.Certificate.Service, cause: err,
		what: fmt.Sprintf("%s was changed by another program during the commit", i.Certificate.Name)}
}

// restartStale restarts components that were expected to re-read their files and still serve
// the old certificate after [reloadTimeout].
func (c *committing) restartStale(ctx context.Context) error {
	var mu sync.Mutex
	var stale []certs.Service
	var all sync.WaitGroup
	for _, i := range c.t.Items {
		if c.t.restartsFor(i) || len(c.t.components(i.Certificate.Service)) == 0 {
			continue
		}
		for _, served := range i.Certificate.Served {
			all.Go(func() {
				if c.verifyReload(ctx, i, served) != nil {
					mu.Lock()
					defer mu.Unlock()
					stale = append(stale, i.Certificate.Service)
				}
			})
		}
	}
	all.Wait()
	stale = certs.SortServices(stale)
	c.t.Restarts = certs.SortServices(append(stale, c.t.Restarts...))
	return c.restartServices(ctx, stale)
}

func (c *committing) verifyReload(ctx context.Context, i item, served inventory.Served) (err error) {
	defer recoverAs(&err)
	return c.awaitServed(ctx, served, reloadTimeout, i.New.FingerprintSHA256)
}

// verifyServing verifies the certificates that endpoints serve.
func (c *committing) verifyServing(ctx context.Context, i item) error {
	for _, served := range i.Certificate.Served {
		evidence, err := c.verifyServed(ctx, i, served)
		if err != nil {
			return err
		}
		if err := c.recordVerified(i, evidence); err != nil {
			return err
		}
	}
	return nil
}

// verifyUse verifies client certificates with their servers, and records weaker evidence where
// there is nothing better.
func (c *committing) verifyUse(ctx context.Context, i item) error {
	verified := len(i.Certificate.Served) > 0
	if i.Certificate.Client != nil {
		evidence, err := c.verifyClient(ctx, i)
		if err != nil {
			return err
		}
		if evidence != nil {
			if err := c.recordVerified(i, *evidence); err != nil {
				return err
			}
			verified = true
		}
	}
	if err := c.recordOtherUsers(i); err != nil {
		return err
	}
	if !c.t.isUsed(i) && len(i.Certificate.OtherUsers) > 0 {
		return nil // its other users are recorded by now
	}
	// Acceptance by a server is no evidence that the running client uses it already.
	inUse := c.t.restartsFor(i) || len(i.Certificate.Served) > 0 || !c.t.isUsed(i)
	if !verified || !inUse {
		return c.recordVerified(i, c.indirectEvidence(i))
	}
	return nil
}

func (c *committing) recordVerified(i item, e nodeapi.Evidence) error {
	e.TargetID = i.Certificate.ID()
	e.Service = i.Certificate.Service
	return c.log.write(nodeapi.Record{Kind: nodeapi.Verified, Service: e.Service, Evidence: &e})
}

// verifyServed waits until an endpoint serves the new certificate.
func (c *committing) verifyServed(ctx context.Context, i item, served inventory.Served) (nodeapi.Evidence, error) {
	want := i.New.FingerprintSHA256
	evidence := nodeapi.Evidence{Method: nodeapi.Handshake, Detail: fmt.Sprintf("%s serves %.12s", served.Address, want)}
	timeout := c.t.Timeout
	if !c.t.restartsFor(i) {
		timeout = reloadTimeout
	}
	if c.t.Restart == plan.RestartNever && served.FingerprintSHA256 == "" {
		timeout = silentTimeout
	}
	err := c.awaitServed(ctx, served, timeout, want)
	if err == nil {
		return evidence, nil
	}
	if c.t.Restart == plan.RestartNever {
		return nodeapi.Evidence{Method: nodeapi.FileOnly,
			Detail: fmt.Sprintf("%s: %v; restart %s to change that", served.Address, err, i.Certificate.Service)}, nil
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return evidence, err // another verification has failed
	}
	what := fmt.Sprintf("%s does not serve the new certificate of %s", served.Address, i.Certificate.Name)
	for _, target := range c.t.components(i.Certificate.Service) {
		return evidence, c.componentFailure(ctx, target, what, err)
	}
	return evidence, &failure{service: i.Certificate.Service, what: what, cause: err}
}

// awaitServed waits until an endpoint serves one of the certificates.
func (c *committing) awaitServed(ctx context.Context, served inventory.Served, timeout time.Duration, want ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		leaf, err := c.Prober.ServedCertificate(ctx, served.Address, served.ServerName)
		if err == nil {
			shown := certs.Fingerprint(leaf)
			if slices.Contains(want, shown) {
				return nil
			}
			err = fmt.Errorf("after %s it serves certificate %.12s, valid until %s", timeout, shown, leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		if wait.SleepFor(ctx, wait.ConnectEvery) != nil {
			return err
		}
	}
}

// verifyClient verifies that the server accepts the new client certificate. If the server could
// not be asked before the commit either, that is no failure: the evidence is nil then.
func (c *committing) verifyClient(ctx context.Context, i item) (*nodeapi.Evidence, error) {
	content, err := store.ReadStore(c.Root, i.Certificate.Store)
	if err == nil && content.KeyErr != nil {
		err = content.KeyErr
	}
	if err != nil {
		return nil, &failure{service: i.Certificate.Service, what: i.Certificate.Name + " cannot be read back", cause: err}
	}
	timeout := 5 * time.Second // the verification may never succeed
	switch {
	case i.Accepted:
		timeout = c.t.Timeout
	case c.t.Restart == plan.RestartNever:
		timeout = silentTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rejected := 0
	for {
		evidence, err := c.Prober.VerifyClient(ctx, i.Certificate, store.Material{Chain: content.Chain, Key: content.Key})
		if err == nil {
			return &evidence, nil
		}
		if errors.Is(err, component.ErrRejected) {
			// A server that has just started may not have read its own files yet.
			if rejected++; rejected > 20 && i.Accepted {
				return nil, notAccepted(i, err)
			}
		}
		if wait.SleepFor(ctx, wait.ConnectEvery) != nil {
			if i.Accepted {
				return nil, notAccepted(i, err)
			}
			return nil, nil
		}
	}
}

func notAccepted(i item, err error) error {
	what := fmt.Sprintf("%s does not accept the new certificate of %s", i.Certificate.Client.Address, i.Certificate.Name)
	if !errors.Is(err, component.ErrRejected) {
		what = fmt.Sprintf("%s no longer answers whether it accepts the new certificate of %s", i.Certificate.Client.Address, i.Certificate.Name)
	}
	return &failure{service: i.Certificate.Service, cause: err, what: what}
}

// indirectEvidence is the best evidence for a certificate that no endpoint serves or accepts.
func (c *committing) indirectEvidence(i item) nodeapi.Evidence {
	note := ""
	if i.Note != "" {
		note = " (its server did not answer: " + i.Note + ")"
	}
	reload := plan.HotReload(i.Certificate)
	switch {
	case c.t.restartsFor(i):
		return nodeapi.Evidence{Method: nodeapi.Health, Detail: fmt.Sprintf("%s is healthy after a restart with the new files%s", i.Certificate.Service, note)}
	case !c.t.isUsed(i):
		return nodeapi.Evidence{Method: nodeapi.FileOnly, Detail: "on disk, chain verified; not used by a running component" + note}
	case reload != "":
		return nodeapi.Evidence{Method: nodeapi.HotReload, Detail: reload + "; open connections keep the old certificate" + note}
	default:
		return nodeapi.Evidence{Method: nodeapi.FileOnly, Detail: fmt.Sprintf("on disk, chain verified; %s uses the old one until it is restarted%s", i.Certificate.Service, note)}
	}
}

// healthDetail describes the probe that ended the wait for a component's health.
func healthDetail(c inventory.Component, last inventory.Probe) string {
	switch {
	case !last.Healthy:
		return "running; its health is not known, as before: " + last.Message
	case last.Address != c.Health: // etcd over gRPC, see component.HealthOf
		return last.Address + " reports a leader and no errors"
	default:
		return c.Health + " answers 200"
	}
}
