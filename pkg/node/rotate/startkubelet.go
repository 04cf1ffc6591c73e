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

// prepareKubelet makes sure that the kubelet can start static pods. A kubelet that is down, or
// whose client certificate has expired, starts none: it is restarted first, on the certificates
// that are on disk now. A running kubelet is not restarted, since it starts pods sooner than one that has
// just come up, see [coldStart].
//
// It also sets how much longer static pods may take to be started. A rotation by hand always
// adds it, since the state of the kubelet is not known then.
func (c *committing) prepareKubelet(ctx context.Context) {
	for _, kubelet := range c.t.components(certs.Kubelet) {
		if kubelet.Runtime != inventory.Systemd {
			continue
		}
		now, err := c.Restarter.CurrentInstance(ctx, kubelet)
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
		c.noteInstances(ctx)
		// An error here shows later: the pods do not start.
		if r, err := c.stopComponent(ctx, kubelet, "so that it starts static pods"); err == nil && !c.undoing {
			c.early = r
		}
	}
}

// noteInstances notes which instances run while every file is new, before the kubelet starts others.
// A service of which one cannot be asked is not noted.
func (c *committing) noteInstances(ctx context.Context) {
	c.atReplaced = map[certs.Service][]string{}
	for _, service := range c.t.Restarts {
		ids := []string{}
		for _, target := range c.t.components(service) {
			i, err := c.Restarter.CurrentInstance(ctx, target)
			if err != nil {
				ids = nil
				break
			}
			ids = append(ids, i.ID)
		}
		if ids != nil {
			c.atReplaced[service] = ids
		}
	}
}

// kubeletExpired reports whether the kubelet's client certificate had expired when the commit
// began. An older certificate in its kubeconfig does not count, see Certificate.Pinned.
func (c *committing) kubeletExpired() bool {
	return slices.ContainsFunc(c.t.Node.Certificates, func(cert inventory.Certificate) bool {
		return cert.Service == certs.Kubelet && !cert.Pinned && cert.Client != nil &&
			cert.Client.Kind == inventory.ToAPIServer && !c.t.Began.Before(cert.NotAfter)
	})
}

// startTimeout is how long a component may take to be started and healthy: its own time, the
// pause of its supervisor, and the time that a kubelet needs after its own start.
func (c *committing) startTimeout(target inventory.Component, backOff time.Duration) time.Duration {
	allowed := c.t.Timeout + backOff
	if target.Runtime == inventory.StaticPod || target.Runtime == inventory.DaemonSet {
		allowed += c.cold
	}
	switch {
	case c.t.UnitCommand != "":
		// The unit is stopped while the command runs. RKE2 then removes all static pods before
		// it starts them one after the other.
		allowed += 5 * time.Minute
	case c.t.Unit != "":
		allowed += unitStart
	}
	return allowed
}

// explainWait records the reason for a wait that may be long although the component is not at
// fault.
func (c *committing) explainWait(r *restarting, timeout time.Duration) error {
	pod := r.component.Runtime == inventory.StaticPod || r.component.Runtime == inventory.DaemonSet
	if !pod || r.old.BackOff < 2*time.Second {
		// A pause of a moment needs no explanation, and systemd restarts a unit at once when it
		// is asked to.
		return nil
	}
	return c.log.write(nodeapi.Record{Kind: nodeapi.Waiting, Service: r.component.Service, WithinSeconds: timeout.Seconds(),
		Message: fmt.Sprintf("%s may be started again only after a pause of up to %.0fs, since it had restarted a short while ago", r.component.Service, r.old.BackOff.Seconds())})
}
