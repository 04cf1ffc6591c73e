package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// turns lists the services that are restarted together, in the order of their stops.
//
// The API server stops before etcd: etcd exits in a second when the API server's watches are
// closed, and takes eight otherwise. The API server of a stacked control plane cannot work
// without its own etcd member anyway. The other components need the API server when they start,
// or they exit again and run into the kubelet's back-off.
var turns = [][]certs.Service{
	{certs.KubeAPIServer, certs.Etcd},
	{certs.KubeControllerManager, certs.KubeScheduler},
	{certs.KubeProxy},
	{certs.Kubelet},
}

// stopLimit is how long a component may take to exit. Another user of a file
// may have a longer grace period of its own.
func stopLimit(target inventory.Component) time.Duration {
	grace := time.Duration(target.GraceSeconds) * time.Second
	return max(nodeapi.StopTimeout, grace+nodeapi.KillMargin) + target.ShutdownDelay()
}

// restarting is one component between its old instance and the next.
type restarting struct {
	component inventory.Component
	old       component.Instance
	outage    *outage
}

// restartServices restarts services and waits until each is healthy again. In a rollback it
// also shortens the back-off of components that crash-loop, and a component that was unhealthy
// before the commit only has to run.
func (c *committing) restartServices(ctx context.Context, services []certs.Service) error {
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
					begun = append(begun, c.early)
					c.early = nil
					continue
				}
				r, err := c.stopComponent(ctx, component, why)
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

// stopComponent stops a component's instance. From its record on, the component may have read
// new files.
func (c *committing) stopComponent(ctx context.Context, target inventory.Component, why string) (*restarting, error) {
	limit := stopLimit(target)
	err := c.log.write(nodeapi.Record{Kind: nodeapi.Restarting, Service: target.Service, Message: why,
		WithinSeconds: (limit + c.startTimeout(target, 0)).Seconds()})
	if err != nil {
		return nil, err
	}
	c.restarted = append(c.restarted, target.Service)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	old, err := c.Restarter.CurrentInstance(ctx, target)
	if err != nil {
		return nil, &failure{service: target.Service, what: fmt.Sprintf("%s could not be restarted", target.Service), cause: err}
	}
	r := &restarting{component: target, old: old, outage: c.watchOutage(ctx, target)}
	if c.startedOnNew(target.Service, old) {
		r.old = component.Instance{}
		return r, nil
	}
	if err := c.stopInstance(ctx, target, old); err != nil {
		what := "stopped"
		if target.Runtime == inventory.Docker {
			what = "restarted" // one request to dockerd is both
		}
		return r, &failure{service: target.Service, what: fmt.Sprintf("%s could not be %s", target.Service, what), cause: err}
	}
	return r, nil
}

// stopInstance stops an instance, which its supervisor replaces. The unit that renews the
// certificates after a command is started again only when the command has ended.
func (c *committing) stopInstance(ctx context.Context, target inventory.Component, old component.Instance) error {
	if c.t.UnitCommand != "" && target.Service == certs.Service(c.t.Unit) {
		renewal := component.Renewal{Commands: inventory.SplitCommands(c.t.UnitCommand), RestartsItself: c.t.commandRestarts()}
		return c.Commander.RunRenewal(ctx, target, renewal, old)
	}
	return c.Restarter.StopInstance(ctx, target, old)
}

// startedOnNew reports whether an instance has started since the files were replaced, as static
// pods do that a kubelet starts which was down. It has read the new files: it is not stopped again,
// and its supervisor's pause after another stop is not waited for. No clock is compared, since the
// node's may jump.
func (c *committing) startedOnNew(service certs.Service, i component.Instance) bool {
	before, known := c.atReplaced[service]
	return known && !c.undoing && i.Running && !slices.Contains(before, i.ID)
}

// awaitAll waits for several components at the same time, each with its own deadline.
func (c *committing) awaitAll(ctx context.Context, begun []*restarting) error {
	g, first := errgroup.WithContext(ctx)
	for _, r := range begun {
		g.Go(func() (err error) {
			defer recoverAs(&err)
			return c.awaitRestarted(ctx, first, r)
		})
	}
	return g.Wait()
}

// awaitRestarted waits for a component's next instance and for its health, until first ends.
func (c *committing) awaitRestarted(ctx, first context.Context, r *restarting) error {
	timeout := c.startTimeout(r.component, r.old.BackOff)
	if err := c.explainWait(r, timeout); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(first, timeout)
	defer cancel()
	waiting, stop := c.untilCrash(waiting, r)
	defer stop()
	service := r.component.Service
	fresh, err := c.Restarter.AwaitInstance(waiting, r.component, r.old)
	if err != nil {
		return c.waitFailure(ctx, waiting, r.component, fmt.Sprintf("%s did not start again", service), timeout, err)
	}
	detail := "running"
	if c.mustBeHealthy(r.component) {
		last, err := r.outage.waitHealthy(waiting)
		if err != nil {
			return c.waitFailure(ctx, waiting, r.component, fmt.Sprintf("%s did not become healthy", service), timeout, err)
		}
		detail = healthDetail(r.component, last)
	}
	// The healthy instance must still be the same one. A component that exits soon after each
	// start is healthy in between.
	now, err := c.Restarter.CurrentInstance(waiting, r.component)
	if err == nil && (now.ID != fresh.ID || !now.Running) {
		err = errors.New("it exited again")
	}
	if err != nil {
		return c.componentFailure(ctx, r.component, fmt.Sprintf("%s did not stay up", service), err)
	}
	r.outage.stopMeasuring()
	started := fresh.StartedAt.UTC()
	err = c.log.write(nodeapi.Record{Kind: nodeapi.Restarted, Service: service,
		UnavailableSeconds: r.outage.downSeconds(), StartedAt: &started})
	if err != nil {
		return err
	}
	return c.log.write(nodeapi.Record{Kind: nodeapi.Verified,
		Evidence: &nodeapi.Evidence{Service: service, Method: nodeapi.Health, Detail: detail}})
}

// waitFailure returns the failure of a wait: at its deadline, or earlier because of a crash.
func (c *committing) waitFailure(ctx, waiting context.Context, target inventory.Component, what string, timeout time.Duration, err error) error {
	var crash *crashError
	if errors.As(context.Cause(waiting), &crash) {
		return c.componentFailure(ctx, target, what, crash)
	}
	return c.componentFailure(ctx, target, fmt.Sprintf("%s within %.0fs", what, timeout.Seconds()), err)
}

// componentFailure returns the failure of a component, with the last lines of its log.
func (c *committing) componentFailure(ctx context.Context, target inventory.Component, what string, cause error) error {
	words := c.lastLog(ctx, target)
	return &failure{service: target.Service, what: what, cause: cause, why: strings.Join(words, " | ")}
}
