package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// turns are the services that are restarted together, in the order of their stops.
//
// The API server goes before etcd: etcd exits in a second when the API server's
// watches are gone, and takes eight otherwise; and the API server of a stacked
// control plane can do nothing without its own etcd member anyway. The others need
// the API server when they start, or they exit again and meet the kubelet's back-off.
var turns = [][]certs.Service{
	{certs.KubeAPIServer, certs.Etcd},
	{certs.KubeControllerManager, certs.KubeScheduler},
	{certs.KubeProxy},
	{certs.Kubelet},
}

const (
	// stopTimeout is how long a component may take to exit, besides an API server's
	// --shutdown-delay-duration. etcd is not killed after it;
	// the commit fails, and etcd goes on with what it has loaded.
	stopTimeout = 2 * time.Minute
	// killMargin is how long a supervisor may take beyond the grace to kill and clean up.
	killMargin = 30 * time.Second
)

// stopLimit is how long it may take until a component has exited: a static pod or unit that
// is no component may have a longer grace of its own.
func stopLimit(target inventory.Component) time.Duration {
	grace := time.Duration(target.GraceSeconds) * time.Second
	return max(stopTimeout, grace+killMargin) + target.ShutdownDelay()
}

// restarting is one component on its way from one instance to the next.
type restarting struct {
	component inventory.Component
	old       component.Instance
	outage    *outage
}

// restart restarts services and waits until each is healthy again. While undoing it
// also helps those that crash-loop, and is content when one that was not healthy
// before the commit runs.
func (c *committing) restart(ctx context.Context, services []certs.Service) error {
	why := ""
	if c.undoing {
		why = "back to its old certificates"
	}
	for _, turn := range turns {
		var begun []*restarting
		for _, service := range turn {
			if !slices.Contains(services, service) {
				continue
			}
			for _, component := range c.t.components(service) {
				if service == certs.Kubelet && c.early != nil {
					begun, c.early = append(begun, c.early), nil
					continue
				}
				r, err := c.stop(ctx, component, why)
				if r != nil {
					begun = append(begun, r)
				}
				if err != nil {
					return err
				}
			}
		}
		if c.undoing {
			c.cutBackOff(ctx, begun)
		}
		if err := c.awaitAll(ctx, begun); err != nil {
			return err
		}
	}
	return nil
}

// stop ends a component's instance. From its record on, the component may have read
// new files.
func (c *committing) stop(ctx context.Context, target inventory.Component, why string) (*restarting, error) {
	limit := stopLimit(target)
	err := c.log.write(nodeapi.Record{Kind: nodeapi.Restarting, Service: target.Service, Message: why,
		WithinSeconds: (limit + c.allowance(target, 0)).Seconds()})
	if err != nil {
		return nil, err
	}
	c.restarted = append(c.restarted, target.Service)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	old, err := c.Restarter.Current(ctx, target)
	if err != nil {
		return nil, &failure{service: target.Service, what: fmt.Sprintf("%s could not be restarted", target.Service), cause: err}
	}
	r := &restarting{component: target, old: old, outage: c.watchOutage(ctx, target)}
	if err := c.Restarter.Stop(ctx, target, old); err != nil {
		return r, &failure{service: target.Service, what: fmt.Sprintf("%s could not be stopped", target.Service), cause: err}
	}
	return r, nil
}

// awaitAll waits for all of them at the same time, each with its own deadline.
func (c *committing) awaitAll(ctx context.Context, begun []*restarting) error {
	g, first := errgroup.WithContext(ctx)
	for _, r := range begun {
		g.Go(func() (err error) {
			defer recoverAs(&err)
			return c.await(ctx, first, r)
		})
	}
	return g.Wait()
}

// await waits for a component's next instance and for its health, until first ends.
func (c *committing) await(ctx, first context.Context, r *restarting) error {
	timeout := c.allowance(r.component, r.old.BackOff)
	if err := c.sayWhy(r, timeout); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(first, timeout)
	defer cancel()
	waiting, stop := c.untilCrash(waiting, r)
	defer stop()
	service := r.component.Service
	fresh, err := c.Restarter.Await(waiting, r.component, r.old)
	if err != nil {
		return c.gaveUp(ctx, waiting, r.component, fmt.Sprintf("%s did not start again", service), timeout, err)
	}
	detail := "running"
	if c.mustBeHealthy(r.component) {
		last, err := r.outage.waitHealthy(waiting)
		if err != nil {
			return c.gaveUp(ctx, waiting, r.component, fmt.Sprintf("%s did not become healthy", service), timeout, err)
		}
		detail = healthDetail(r.component, last)
	}
	// Healthy, but is it still the same instance? One that exits at once and is
	// started again shows good health in between.
	now, err := c.Restarter.Current(waiting, r.component)
	if err == nil && (now.ID != fresh.ID || !now.Running) {
		err = errors.New("it exited again")
	}
	if err != nil {
		return c.unwell(ctx, r.component, fmt.Sprintf("%s did not stay up", service), err)
	}
	r.outage.close()
	started := fresh.StartedAt.UTC()
	err = c.log.write(nodeapi.Record{Kind: nodeapi.Restarted, Service: service,
		UnavailableSeconds: r.outage.seconds(), StartedAt: &started})
	if err != nil {
		return err
	}
	return c.log.write(nodeapi.Record{Kind: nodeapi.Verified,
		Evidence: &nodeapi.Evidence{Service: service, Method: nodeapi.Health, Detail: detail}})
}

// gaveUp is the failure of a wait: at its deadline, or before, because of a crash.
func (c *committing) gaveUp(ctx, waiting context.Context, target inventory.Component, what string, timeout time.Duration, err error) error {
	var crash *crashError
	if errors.As(context.Cause(waiting), &crash) {
		return c.unwell(ctx, target, what, crash)
	}
	return c.unwell(ctx, target, fmt.Sprintf("%s within %.0fs", what, timeout.Seconds()), err)
}

// unwell is a failure of a component, with its own last words.
func (c *committing) unwell(ctx context.Context, target inventory.Component, what string, cause error) error {
	words := c.lastWords(ctx, target)
	return &failure{service: target.Service, what: what, cause: cause, why: strings.Join(words, " | ")}
}

// closeOutages ends every measurement; also those that a panic left running.
func (c *committing) closeOutages() {
	for _, o := range c.outages {
		o.close()
	}
	c.outages = nil
}

// outage measures for how long a health endpoint does not answer well.
type outage struct {
	// unasked says that its health could not be requested before the commit either. Then
	// it is up as soon as it is there again.
	unasked bool
	cancel  context.CancelFunc
	changed chan struct{} // after every look

	mu      sync.Mutex
	looks   int // how often it was looked at
	last    inventory.Probe
	down    time.Time // zero: up
	total   time.Duration
	stopped sync.WaitGroup
}

// healthEvery is how often a health endpoint is asked while its component restarts.
const healthEvery = 50 * time.Millisecond

// watchOutage begins to measure. A component without an endpoint is never down.
func (c *committing) watchOutage(ctx context.Context, target inventory.Component) *outage {
	// Measured beyond the stop's own deadline.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &outage{cancel: cancel, changed: make(chan struct{}, 1), unasked: slices.Contains(c.t.Unasked, target.Health)}
	c.outages = append(c.outages, o)
	if target.Health == "" {
		return o
	}
	o.stopped.Go(func() {
		// A panic ends the measurement, and with that the wait for good health fails.
		var ignored error
		defer recoverAs(&ignored)
		tick := time.NewTicker(healthEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			asked := c.now()
			p := c.Prober.Health(ctx, c.t.Node, target)
			if ctx.Err() == nil {
				o.note(p, asked, c.now())
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return o
}

// up says whether an answer is as good as a component's health can be known.
func (o *outage) up(p inventory.Probe) bool { return p.Healthy || o.unasked && p.Unasked }

// note counts from the first question that was not answered well to the first that was.
func (o *outage) note(p inventory.Probe, asked, answered time.Time) {
	o.mu.Lock()
	o.looks++
	o.last = p
	switch {
	case !o.up(p) && o.down.IsZero():
		o.down = asked
	case o.up(p) && !o.down.IsZero():
		o.total += answered.Sub(o.down)
		o.down = time.Time{}
	}
	o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// waitHealthy waits for a good answer to a question that is asked from now on, and returns
// it.
func (o *outage) waitHealthy(ctx context.Context) (inventory.Probe, error) {
	o.mu.Lock()
	// The look that is under way may have begun before the new instance ran.
	from := o.looks + 1
	o.mu.Unlock()
	for {
		o.mu.Lock()
		looks, last := o.looks, o.last
		o.mu.Unlock()
		if looks > from && o.up(last) {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, errors.New(last.Message)
		case <-o.changed:
		}
	}
}

func (o *outage) seconds() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return float64(o.total.Milliseconds()) / 1000
}

func (o *outage) close() {
	o.cancel()
	o.stopped.Wait()
}
