package rotate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// closeOutages ends every measurement, including those that a panic left running.
func (c *committing) closeOutages() {
	for _, o := range c.outages {
		o.stopMeasuring()
	}
	c.outages = nil
}

// outage measures for how long a component is unhealthy.
type outage struct {
	// unasked means that its health could not be requested before the commit either. The
	// component is up as soon as it runs again then.
	unasked bool
	cancel  context.CancelFunc
	changed chan struct{} // after every probe

	mu      sync.Mutex
	probes  int // number of probes
	last    inventory.Probe
	down    time.Time // zero: up
	total   time.Duration
	stopped sync.WaitGroup
}

// watchOutage starts a measurement. A component without a health endpoint is never down.
func (c *committing) watchOutage(ctx context.Context, target inventory.Component) *outage {
	// Measured beyond the stop's own deadline.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &outage{cancel: cancel, changed: make(chan struct{}, 1), unasked: slices.Contains(c.t.Unasked, target.Health)}
	c.outages = append(c.outages, o)
	if target.Health == "" {
		return o
	}
	o.stopped.Go(func() {
		// A panic ends the measurement, and the wait for good health fails with it.
		var ignored error
		defer recoverAs(&ignored)
		tick := time.NewTicker(wait.PollEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			asked := c.now()
			p := c.Prober.CheckHealth(ctx, c.t.Node, target)
			if ctx.Err() == nil {
				o.addProbe(p, asked, c.now())
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return o
}

// isUp reports whether a probe shows the best health that can be known of the component.
func (o *outage) isUp(p inventory.Probe) bool { return p.Healthy || o.unasked && p.Unasked }

// addProbe adds the time from the first unhealthy probe to the first healthy one.
func (o *outage) addProbe(p inventory.Probe, asked, answered time.Time) {
	o.mu.Lock()
	o.probes++
	o.last = p
	switch {
	case !o.isUp(p) && o.down.IsZero():
		o.down = asked
	case o.isUp(p) && !o.down.IsZero():
		o.total += answered.Sub(o.down)
		o.down = time.Time{}
	}
	o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// waitHealthy waits for a healthy probe that begins from now on, and returns it.
func (o *outage) waitHealthy(ctx context.Context) (inventory.Probe, error) {
	o.mu.Lock()
	// The current probe may have begun before the new instance ran.
	from := o.probes + 1
	o.mu.Unlock()
	for {
		o.mu.Lock()
		probes := o.probes
		last := o.last
		o.mu.Unlock()
		if probes > from && o.isUp(last) {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, errors.New(last.Message)
		case <-o.changed:
		}
	}
}

func (o *outage) downSeconds() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return float64(o.total.Milliseconds()) / 1000
}

func (o *outage) stopMeasuring() {
	o.cancel()
	o.stopped.Wait()
}
