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
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// coldStart bounds how long a kubelet needs after its own start until it starts static pods.
// Measured with v1.37 without an API server: eight seconds; and three more for each control
// group of a container that no longer exists, for which its cAdvisor asks containerd again
// and again. If the only API server is down, a restart of the kubelet makes the outage longer,
// unless the back-off is longer still.
const coldStart = time.Minute

// rollBack restores the old certificates, verifies them, and answers with RolledBack; or with
// Unknown, if they cannot be verified. If every old certificate has expired the new ones stay,
// and the answer is Committed. It continues after errors as far as it can, also if nothing can
// be recorded any more, which is its only error.
func (c *committing) rollBack(ctx context.Context, f *failure) error {
	if c.t.Unit != "" {
		return c.settleUnit(ctx, f)
	}
	c.undoing = true
	c.log.lenient = true
	_ = c.log.write(nodeapi.Record{Kind: nodeapi.RollingBack, Service: f.service, Message: f.what})
	problems := c.restoreFiles()
	var unverified error
	if len(problems) == 0 && !c.boot {
		if problems = c.restartOld(ctx); len(problems) == 0 {
			unverified = c.verifyKept(ctx)
		}
	}
	problems = append(problems, c.changedSince()...)
	_ = c.log.write(c.rollBackAnswer(f, problems, unverified))
	if c.log.failed != nil {
		return c.log.failed
	}
	// A failed commit is not repeated.
	return c.cleanUp()
}

// rollBackAnswer is the record that ends a rollback.
func (c *committing) rollBackAnswer(f *failure, problems []string, unverified error) nodeapi.Record {
	if len(problems) > 0 {
		return nodeapi.Record{Kind: nodeapi.Unknown, Service: f.service, Hint: c.hintBackup(),
			Message: fmt.Sprintf("%s; the rollback failed as well: %s", f.Error(), strings.Join(problems, "; "))}
	}
	remarks := c.explainFates()
	rec := nodeapi.Record{Kind: nodeapi.RolledBack, Service: f.service, Message: f.causeText(), Unverified: c.boot || unverified != nil}
	switch {
	case len(c.namesOf(kept)) == len(c.t.Items) && len(c.t.Items) > 0:
		rec.Kind = nodeapi.Committed
		rec.Renewals = c.t.renewals()
		rec.Message = f.Error()
	case c.boot && len(c.namesOf(restored)) > 0:
		rec.Message = "the old certificates were restored before the components started, which use them at their start; not verified yet"
	}
	switch {
	case len(c.namesOf(left)) > 0:
		rec.Hint = hintLeft
	case unverified != nil && slices.Contains(c.usersOf(kept), certs.Etcd):
		rec.Hint = hintQuorum()
	case unverified != nil || rec.Kind == nodeapi.Committed && c.boot:
		rec.Hint = hintVerify()
	}
	if remarks != "" {
		rec.Message = strings.TrimPrefix(rec.Message+"; "+remarks, "; ")
	}
	if unverified != nil {
		rec.Message += "; not verified yet: " + unverified.Error()
	}
	return rec
}

const hintLeft = "check the certificates that were changed: kubectl rotate-certs check"

// hintVerify returns the two ways to verify the certificates in place.
func hintVerify() string {
	return "the next rotation on this node verifies it, and so does, as root on this node, " + version.NodeCommand("recover")
}

// hintQuorum returns what completes the rotation of an etcd that has no quorum yet.
func hintQuorum() string {
	return "one etcd member alone forms no quorum: run the same command on the other control-plane nodes; then " + hintVerify()
}

// restartOld restarts components that may have read new files, and verifies that the old
// certificates are in use.
func (c *committing) restartOld(ctx context.Context) (problems []string) {
	var err error
	func() {
		defer recoverAs(&err)
		defer c.closeOutages()
		affected := c.affectedServices(ctx)
		others := c.affectedOthers(ctx)
		if len(affected) > 0 {
			c.prepareKubelet(ctx)
		}
		if err = c.restartServices(ctx, affected); err == nil {
			err = c.restartOthers(ctx, others)
		}
		if err == nil {
			err = c.verifyOld(ctx, affected)
		}
	}()
	if err != nil {
		f := asFailure(err)
		problems = append(problems, strings.TrimSuffix(f.what+": "+f.causeText(), ": "))
	}
	return problems
}

// verifyKept verifies the certificates that are not the old ones. It restarts components whose
// new certificates stay and that were not restarted yet. An error means that they are not
// verified yet; no further action is possible here.
func (c *committing) verifyKept(ctx context.Context) (err error) {
	if len(c.namesOf(restored)) == len(c.t.Items) {
		return nil
	}
	defer recoverAs(&err)
	defer c.closeOutages()
	var pause time.Duration // the longest of their supervisors
	for _, s := range c.usersOf(kept) {
		if slices.Contains(c.restarted, s) || !slices.Contains(c.t.Restarts, s) {
			continue
		}
		for _, target := range c.t.components(s) {
			// If one cannot be restarted, the others are restarted all the same. Their health
			// is awaited together, below.
			r, failed := c.stopComponent(ctx, target, "onto its new certificates")
			if failed == nil {
				within := c.startTimeout(target, r.old.BackOff)
				pause = max(pause, within-c.t.Timeout)
				failed = c.explainWait(r, within)
			}
			err = errors.Join(err, failed)
		}
	}
	if err != nil {
		return err
	}
	_, err = c.verifyInUse(ctx, pause)
	return err
}

// changedSince lists files that have changed since they were restored or left: another program
// writes them, and a restart cannot help.
func (c *committing) changedSince() (problems []string) {
	for n, i := range c.t.Items {
		want := i.Certificate.FingerprintSHA256
		if c.fates[n].action != restored {
			want = c.fates[n].found
		}
		content, err := store.ReadStore(c.Root, i.Certificate.Store)
		switch {
		case err == nil && certs.Fingerprint(content.LeafCert()) != want:
			err = fmt.Errorf("it is certificate %.12s", certs.Fingerprint(content.LeafCert()))
		case c.fates[n].action == left && want == "":
			err = nil // a kubeconfig that holds no certificate any more
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s does not hold the restored certificate, another program changes it: %v", i.Certificate.Name, err))
		}
	}
	return problems
}

// affectedServices returns the services that may have read new files whose old ones are
// restored: their restart was begun, or they have started since.
func (c *committing) affectedServices(ctx context.Context) []certs.Service {
	users := c.usersOf(restored)
	out := slices.Clone(c.restarted)
	if len(c.namesOf(restored)) < len(c.t.Items) {
		out = slices.DeleteFunc(out, func(s certs.Service) bool { return !slices.Contains(users, s) })
	}
	for _, s := range users {
		for _, target := range c.t.components(s) {
			i, err := c.Restarter.CurrentInstance(ctx, target)
			if err != nil && !slices.Contains(c.t.Restarts, s) {
				continue // the commit does not restart it, and its supervisor may not be reachable
			}
			if err != nil || !i.Running || i.StartedAt.After(c.t.Began) {
				out = append(out, s)
			}
		}
	}
	return certs.SortServices(out)
}

// changedServices returns the services whose certificates were replaced.
func (c *committing) changedServices() []certs.Service {
	var out []certs.Service
	for _, i := range c.t.Items {
		out = append(out, i.Certificate.Service)
		out = append(out, i.Certificate.UsedBy...)
	}
	return certs.SortServices(out)
}

// cutBackOff restarts the kubelet to end a long back-off: a component that crash-looped on its
// new certificate is started again after ever longer pauses, which the kubelet keeps in memory.
// Best effort: if it fails, the pause is waited for.
func (c *committing) cutBackOff(ctx context.Context, begun []*restarting) {
	bearable := component.FirstBackOff
	if !c.kubeletFindsAPI(ctx) {
		bearable += coldStart
	}
	var waiting []string
	var long []*restarting
	for _, r := range begun {
		isPod := r.component.Runtime == inventory.StaticPod || r.component.Runtime == inventory.DaemonSet
		if isPod && r.old.BackOff > bearable {
			long = append(long, r)
			waiting = append(waiting, fmt.Sprintf("%s (in up to %s)", r.component.Service, r.old.BackOff))
		}
	}
	if len(waiting) == 0 {
		return
	}
	for _, kubelet := range c.t.components(certs.Kubelet) {
		if kubelet.Runtime != inventory.Systemd {
			continue
		}
		why := "so that it starts without its back-off: " + strings.Join(waiting, ", ")
		if r, _ := c.stopComponent(ctx, kubelet, why); r != nil && c.awaitAll(ctx, []*restarting{r}) == nil {
			for _, l := range long {
				l.old.BackOff = bearable // the kubelet has forgotten the pause
			}
		}
	}
}

// kubeletFindsAPI reports whether the API server of the kubelet's kubeconfig is ready.
func (c *committing) kubeletFindsAPI(ctx context.Context) bool {
	for _, cert := range c.t.Node.Certificates {
		if cert.Service != certs.Kubelet || cert.Client == nil {
			continue
		}
		api := inventory.Component{Service: certs.KubeAPIServer, Health: "https://" + cert.Client.Address + "/readyz"}
		if c.Prober.CheckHealth(ctx, c.t.Node, api).Healthy {
			return true
		}
	}
	return false
}

// verifyOld verifies that the endpoints serve the same certificates as before.
func (c *committing) verifyOld(ctx context.Context, affected []certs.Service) error {
	for n, i := range c.t.Items {
		if c.fates[n].action != restored {
			continue
		}
		for _, served := range i.Certificate.Served {
			if served.FingerprintSHA256 == "" {
				continue // it did not answer before the commit either
			}
			want := []string{i.Certificate.FingerprintSHA256}
			if !slices.Contains(affected, i.Certificate.Service) {
				// Not restarted since, so it may still serve the certificate that it had loaded
				// then.
				want = append(want, served.FingerprintSHA256)
			}
			if err := c.awaitServed(ctx, served, c.t.Timeout, want...); err != nil {
				return fmt.Errorf("%s does not serve the old certificate of %s: %w", served.Address, i.Certificate.Name, err)
			}
		}
	}
	return nil
}
