package watcher

import (
	"context"
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// observer collects the values of the metrics.
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
	shared func() bool // whether the summary was written; nil: it is not shared
	// holder reads which rotation holds the cluster's lock; nil: it is not read.
	holder func(context.Context) (*kube.HeldError, error)
	held   *kube.HeldError // what was read last, for the summary
	// answers are those to requests of other clusters; nil: none.
	answers func(rotations []v1alpha1.CertificateRotation) []v1alpha1.SummaryAnswer
	now     func() time.Time
}

func (o *observer) takeSnapshot() metrics.Snapshot {
	s := metrics.Snapshot{PolicyValid: o.policy() == nil, NATSReady: o.bus.Ready() == nil, Events: o.bus.Stats()}
	select {
	case <-o.elected:
		s.Leader = true
		s.Cluster = o.clusterSnapshot()
		if o.shared != nil {
			s.SummaryShared = new(o.shared())
		}
	default:
	}
	return s
}

// clusterSnapshot collects the values of the cluster. The objects are those of the cache,
// uncopied: there may be two hundred thousand certificates in them.
func (o *observer) clusterSnapshot() metrics.Cluster {
	ctx, cancel := context.WithTimeout(context.Background(), wait.AttemptTimeout)
	defer cancel()
	c := metrics.Cluster{Agents: o.picture.AgentsSince(o.now().Add(-v1alpha1.FreshFor(v1alpha1.ReportHeartbeat))), SignedElsewhere: o.picture.IsSignedElsewhere}
	decision, at := o.decided()
	c.Decided = at
	c.Due, c.Waiting = countDue(decision)
	var reports v1alpha1.NodeCertificateReportList
	if o.objects.List(ctx, &reports, client.UnsafeDisableDeepCopy) == nil {
		c.Reports = eachReport(reports.Items)
	}
	var compromised v1alpha1.CompromisedCertificateList
	if o.objects.List(ctx, &compromised, client.UnsafeDisableDeepCopy) == nil {
		for i := range compromised.Items {
			if !meta.IsStatusConditionTrue(compromised.Items[i].Status.Conditions, v1alpha1.ConditionReplaced) {
				c.OpenCompromised++
			}
		}
	}
	var rotations v1alpha1.CertificateRotationList
	if o.objects.List(ctx, &rotations, client.UnsafeDisableDeepCopy) == nil {
		c.Interventions = controller.CountInterventions(rotations.Items)
	}
	return c
}

// starting is the reason of certificates whose rotation starts.
const starting = "Starting"

// countDue counts the due certificates, each once, and the waiting ones by reason. A
// certificate may be counted twice as waiting: for its renewal, and as a compromised one.
func countDue(d renewal.Decision) (count int, waiting map[string]metrics.Waiting) {
	all := map[renewal.Ref]bool{}
	waiting = map[string]metrics.Waiting{}
	add := func(reason string, refs []renewal.Ref) {
		w := waiting[reason]
		for _, ref := range refs {
			if w.Count++; w.Earliest.IsZero() || ref.NotAfter.Before(w.Earliest) {
				w.Earliest = ref.NotAfter
			}
			ref.NotAfter = time.Time{} // equal times may have different representations
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

func eachReport(items []v1alpha1.NodeCertificateReport) iter.Seq[*v1alpha1.NodeCertificateReport] {
	return func(yield func(*v1alpha1.NodeCertificateReport) bool) {
		for i := range items {
			if !yield(&items[i]) {
				return
			}
		}
	}
}
