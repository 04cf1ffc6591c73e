package controller

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Limits of how long automatic rotations are kept. Pauses after failures and the daily limit
// are derived from these objects, so they are kept as long as either needs them.
const keepLast = 20 // of any age; others for 30 days after their end

// Pruner deletes automatic rotations that are no longer needed: every renewal creates one. A
// rotation that a user created is deleted after its ttlSecondsAfterFinished; without it, it is
// kept.
type Pruner struct {
	Client  client.Client
	Picture *Picture
	Log     *slog.Logger
	Now     func() time.Time
	// Complete waits until the picture is complete; nil: it is.
	Complete func(ctx context.Context) bool
}

// NeedLeaderElection keeps other watchers from doing the same.
func (p *Pruner) NeedLeaderElection() bool { return true }

// Start deletes rotations periodically until ctx ends.
func (p *Pruner) Start(ctx context.Context) error {
	if p.Complete != nil && !p.Complete(ctx) {
		return nil
	}
	var pruned time.Time
	for {
		p.deleteExpired(ctx)
		if now := p.Now(); now.Sub(pruned) >= 6*time.Hour {
			p.deleteOld(ctx)
			pruned = now
		}
		if wait.SleepFor(ctx, time.Minute) != nil {
			return nil
		}
	}
}

// deleteExpired deletes the rotations whose ttlSecondsAfterFinished has passed.
func (p *Pruner) deleteExpired(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := p.Client.List(ctx, &list); err != nil {
		p.Log.Error("list rotations", "error", err)
		return
	}
	for i := range list.Items {
		c := &list.Items[i]
		ttl := c.Spec.TTLSecondsAfterFinished
		end := c.Status.CompletionTime
		if ttl == nil || end == nil || !c.HasEnded() || c.DeletionTimestamp != nil || p.Now().Before(end.Add(time.Duration(*ttl)*time.Second)) {
			continue
		}
		p.deleteRotation(ctx, c, "its ttlSecondsAfterFinished has passed")
	}
}

func (p *Pruner) deleteRotation(ctx context.Context, c *v1alpha1.CertificateRotation, why string) {
	err := p.Client.Delete(ctx, c, client.Preconditions{UID: &c.UID, ResourceVersion: &c.ResourceVersion})
	if ignoreNotFound(err) != nil {
		p.Log.Warn("delete a CertificateRotation", "rotation", c.Name, "reason", why, "error", err)
		return
	}
	p.Log.Info("deleted a CertificateRotation", "rotation", c.Name, "state", c.State(), "reason", why)
}

func (p *Pruner) deleteOld(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := p.Client.List(ctx, &list); err != nil {
		p.Log.Error("list rotations", "error", err)
		return
	}
	old := oldRotations(list.Items, p.Now())
	if len(old) == 0 {
		return
	}
	present, unseen := p.Picture.presentFingerprints()
	for _, c := range old {
		if isNeeded(c, present, unseen) {
			continue
		}
		p.deleteRotation(ctx, c, "it ended long ago")
	}
}

// oldRotations are the automatic rotations that ended long ago, except for the last ones.
func oldRotations(all []v1alpha1.CertificateRotation, now time.Time) []*v1alpha1.CertificateRotation {
	var past []*v1alpha1.CertificateRotation
	for i := range all {
		if c := &all[i]; c.Spec.Trigger != nil && c.HasEnded() && c.Status.CompletionTime != nil && c.DeletionTimestamp == nil {
			past = append(past, c)
		}
	}
	slices.SortFunc(past, func(a, b *v1alpha1.CertificateRotation) int {
		return b.Status.CompletionTime.Compare(a.Status.CompletionTime.Time)
	})
	return slices.DeleteFunc(past[min(keepLast, len(past)):], func(c *v1alpha1.CertificateRotation) bool {
		return now.Sub(c.Status.CompletionTime.Time) < 30*certs.Day
	})
}

// isNeeded returns whether a certificate of a rotation may still be on a node: then the
// rotation counts as a failed attempt.
func isNeeded(c *v1alpha1.CertificateRotation, present, unseen map[string]bool) bool {
	on := func(set map[string]bool) func(string) bool { return func(s string) bool { return set[s] } }
	if len(unseen) > 0 && (len(c.Spec.Nodes) == 0 || slices.ContainsFunc(c.Spec.Nodes, on(unseen))) {
		return true
	}
	return slices.ContainsFunc(c.Spec.Trigger.Fingerprints, on(present))
}

// presentFingerprints returns the fingerprints of all certificates, and the nodes without a
// report.
func (p *Picture) presentFingerprints() (present, unseen map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	present = map[string]bool{}
	unseen = map[string]bool{}
	for name, s := range p.nodes {
		if s.node.Unseen {
			unseen[name] = true
		}
		for i := range s.node.Certificates {
			present[s.node.Certificates[i].Fingerprint] = true
		}
	}
	return present, unseen
}
