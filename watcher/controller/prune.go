package controller

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// What is kept of the rotations that the watcher made by itself. Pauses after failures and
// the limit of a day are read off these objects, so nothing goes that either may need.
const (
	keepFor   = 30 * 24 * time.Hour // after their end
	keepLast  = 20                  // whatever their age
	pruneEach = 6 * time.Hour

	expireEach = time.Minute // how often ttlSecondsAfterFinished is looked at
)

// Pruner deletes the automatic rotations that nobody needs any more: there is one for
// every renewal, for years. What a person made is deleted as its ttlSecondsAfterFinished says,
// and without one by a person.
type Pruner struct {
	Client  client.Client
	Picture *Picture
	Log     *slog.Logger
	Now     func() time.Time
	// Complete waits until the picture has everything that there is; nil: it has.
	Complete func(ctx context.Context) bool
}

// NeedLeaderElection says that one of several watchers is enough.
func (p *Pruner) NeedLeaderElection() bool { return true }

// Start prunes now and then until ctx ends.
func (p *Pruner) Start(ctx context.Context) error {
	if p.Complete != nil && !p.Complete(ctx) {
		return nil
	}
	tick := time.NewTicker(expireEach)
	defer tick.Stop()
	var pruned time.Time
	for {
		p.expire(ctx)
		if now := p.Now(); now.Sub(pruned) >= pruneEach {
			p.prune(ctx)
			pruned = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// expire deletes the rotations whose time after their end is over.
func (p *Pruner) expire(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := p.Client.List(ctx, &list); err != nil {
		p.Log.Error("list rotations", "error", err)
		return
	}
	for i := range list.Items {
		c := &list.Items[i]
		ttl, end := c.Spec.TTLSecondsAfterFinished, c.Status.CompletionTime
		if ttl == nil || end == nil || !Ended(c) || c.DeletionTimestamp != nil || p.Now().Before(end.Add(time.Duration(*ttl)*time.Second)) {
			continue
		}
		p.remove(ctx, c, "its ttlSecondsAfterFinished is over")
	}
}

func (p *Pruner) remove(ctx context.Context, c *v1alpha1.CertificateRotation, why string) {
	err := p.Client.Delete(ctx, c, client.Preconditions{UID: &c.UID, ResourceVersion: &c.ResourceVersion})
	if ignoreNotFound(err) != nil {
		p.Log.Warn("delete a CertificateRotation", "rotation", c.Name, "why", why, "error", err)
		return
	}
	p.Log.Info("deleted a CertificateRotation", "rotation", c.Name, "state", c.State(), "why", why)
}

func (p *Pruner) prune(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := p.Client.List(ctx, &list); err != nil {
		p.Log.Error("list rotations", "error", err)
		return
	}
	old := outlived(list.Items, p.Now())
	if len(old) == 0 {
		return
	}
	present, unseen := p.Picture.fingerprints()
	for _, c := range old {
		if needed(c, present, unseen) {
			continue
		}
		p.remove(ctx, c, "it ended long ago")
	}
}

// outlived are the automatic rotations that ended long ago, without the last of them.
func outlived(all []v1alpha1.CertificateRotation, now time.Time) []*v1alpha1.CertificateRotation {
	var past []*v1alpha1.CertificateRotation
	for i := range all {
		if c := &all[i]; c.Spec.Trigger != nil && Ended(c) && c.Status.CompletionTime != nil && c.DeletionTimestamp == nil {
			past = append(past, c)
		}
	}
	slices.SortFunc(past, func(a, b *v1alpha1.CertificateRotation) int {
		return b.Status.CompletionTime.Compare(a.Status.CompletionTime.Time)
	})
	return slices.DeleteFunc(past[min(keepLast, len(past)):], func(c *v1alpha1.CertificateRotation) bool {
		return now.Sub(c.Status.CompletionTime.Time) < keepFor
	})
}

// needed says whether something that a rotation was about may still be on a node: then it
// tells how often that was tried in vain.
func needed(c *v1alpha1.CertificateRotation, present, unseen map[string]bool) bool {
	on := func(set map[string]bool) func(string) bool { return func(s string) bool { return set[s] } }
	if len(unseen) > 0 && (len(c.Spec.Nodes) == 0 || slices.ContainsFunc(c.Spec.Nodes, on(unseen))) {
		return true
	}
	return slices.ContainsFunc(c.Spec.Trigger.Fingerprints, on(present))
}

// fingerprints are those of all certificates on all nodes, and the nodes of which nothing
// is known.
func (p *Picture) fingerprints() (present, unseen map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	present, unseen = map[string]bool{}, map[string]bool{}
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
