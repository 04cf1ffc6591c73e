package watcher

import (
	"context"
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// listTimeout bounds how long a scrape waits for the cache.
const listTimeout = 5 * time.Second

// observer reads off what metrics show.
type observer struct {
	objects interface { // of the cache
		List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error
	}
	picture *controller.Picture
	decided func() (renewal.Decision, time.Time)
	policy  func() error
	elected <-chan struct{} // closed once this watcher leads
	bus     interface {
		Ready() error
		Stats() bus.Stats
	}
	now func() time.Time
}

func (o *observer) snapshot() metrics.Snapshot {
	s := metrics.Snapshot{PolicyValid: o.policy() == nil, NATSReady: o.bus.Ready() == nil, Events: o.bus.Stats()}
	select {
	case <-o.elected:
		s.Leader, s.Cluster = true, o.cluster()
	default:
	}
	return s
}

// cluster is what is known of the cluster. The objects are the cache's own: there may be two
// hundred thousand certificates in them.
func (o *observer) cluster() metrics.Cluster {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	c := metrics.Cluster{Agents: o.picture.Agents(o.now().Add(-v1alpha1.ReportFreshFor))}
	decision, at := o.decided()
	c.Decided = at
	c.Due, c.Waiting = due(decision)
	var reports v1alpha1.NodeCertificateReportList
	if o.objects.List(ctx, &reports, client.UnsafeDisableDeepCopy) == nil {
		c.Reports = each(reports.Items)
	}
	var marks v1alpha1.CompromisedCertificateList
	if o.objects.List(ctx, &marks, client.UnsafeDisableDeepCopy) == nil {
		for i := range marks.Items {
			if !meta.IsStatusConditionTrue(marks.Items[i].Status.Conditions, v1alpha1.ConditionReplaced) {
				c.OpenMarks++
			}
		}
	}
	var rotations v1alpha1.CertificateRotationList
	if o.objects.List(ctx, &rotations, client.UnsafeDisableDeepCopy) == nil {
		c.Interventions = controller.Interventions(rotations.Items)
	}
	return c
}

// starting is the reason of certificates whose rotation starts.
const starting = "Starting"

// due counts the certificates that are to be replaced, each once, and those that wait, by
// reason: one may wait for its renewal and as a compromised one.
func due(d renewal.Decision) (count int, waiting map[string]metrics.Waiting) {
	all, waiting := map[renewal.Ref]bool{}, map[string]metrics.Waiting{}
	add := func(reason string, refs []renewal.Ref) {
		w := waiting[reason]
		for _, ref := range refs {
			if w.Count++; w.Earliest.IsZero() || ref.NotAfter.Before(w.Earliest) {
				w.Earliest = ref.NotAfter
			}
			ref.NotAfter = time.Time{} // equal times may differ in how they are kept
			all[ref] = true
		}
		if w.Count > 0 {
			waiting[reason] = w
		}
	}
	for _, w := range d.Waiting {
		add(string(w.Reason), w.Certificates)
	}
	for _, r := range d.Start {
		add(starting, r.Certificates)
	}
	return len(all), waiting
}

func each(items []v1alpha1.NodeCertificateReport) iter.Seq[*v1alpha1.NodeCertificateReport] {
	return func(yield func(*v1alpha1.NodeCertificateReport) bool) {
		for i := range items {
			if !yield(&items[i]) {
				return
			}
		}
	}
}
