package rotate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// prepareKubelet sees to it that a kubelet runs which can start static pods. One that is
// down, or whose client certificate has expired, starts none: it is restarted first, on
// the certificates that are on disk now. A running one is left alone, since one that finds
// no API server when it starts waits for it, see [coldStart].
//
// It also sets how much longer static pods may take to be started. By hand that is always
// added, as nobody knows then what the kubelet is doing.
func (c *committing) prepareKubelet(ctx context.Context) {
	for _, kubelet := range c.t.components(certs.Kubelet) {
		if kubelet.Runtime != inventory.Systemd {
			continue
		}
		now, err := c.Restarter.Current(ctx, kubelet)
		if err != nil {
			continue
		}
		down := !now.Running || c.kubeletExpired()
		if down || c.Alone || !c.kubeletFindsAPI(ctx) {
			c.cold = coldStart + now.BackOff
		}
		if !down {
			continue
		}
		// What fails here is told by the pods that do not start.
		if r, err := c.stop(ctx, kubelet, "so that it starts static pods"); err == nil && !c.undoing {
			c.early = r
		}
	}
}

// kubeletExpired says whether the kubelet's client certificate had expired when the commit
// began. An older one that its kubeconfig holds does not count, see Certificate.Pinned.
func (c *committing) kubeletExpired() bool {
	return slices.ContainsFunc(c.t.Node.Certificates, func(cert inventory.Certificate) bool {
		return cert.Service == certs.Kubelet && !cert.Pinned && cert.Client != nil &&
			cert.Client.Kind == inventory.ToAPIServer && !c.t.Began.Before(cert.NotAfter)
	})
}

// allowance is how long a component may take to be started and healthy: its own time, its
// supervisor's pause, and what a kubelet needs that has just been started.
func (c *committing) allowance(target inventory.Component, backOff time.Duration) time.Duration {
	allowed := c.t.Timeout + backOff
	if target.Runtime == inventory.StaticPod || target.Runtime == inventory.DaemonSet {
		allowed += c.cold
	}
	if c.t.Unit != "" {
		allowed += unitStart
	}
	return allowed
}

// shortPause is a supervisor's pause that nobody needs an explanation for.
const shortPause = 2 * time.Second

// sayWhy says what is waited for, where that may take long by no fault of the component.
func (c *committing) sayWhy(r *restarting, timeout time.Duration) error {
	pod := r.component.Runtime == inventory.StaticPod || r.component.Runtime == inventory.DaemonSet
	if !pod || r.old.BackOff < shortPause {
		return nil // a unit is restarted at once, whatever it waits for when it fails
	}
	return c.log.write(nodeapi.Record{Kind: nodeapi.Waiting, Service: r.component.Service, WithinSeconds: timeout.Seconds(),
		Message: fmt.Sprintf("%s may be started again only after a pause of up to %.0fs, since it had restarted a short while ago", r.component.Service, r.old.BackOff.Seconds())})
}
