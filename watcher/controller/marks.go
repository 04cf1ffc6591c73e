package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// maxMarked is how many certificates one mark may mean: they are written into its status,
// which must fit into etcd.
const maxMarked = 4000

// marks returns what is marked as compromised. A mark that is seen for the first time is
// resolved: what it means is written into its status before anything is done about it, so
// that certificates which are issued later are not taken for compromised. One that cannot
// be written keeps nothing else back; failed says that there is such a one.
func (d *Decider) marks(ctx context.Context) (out []renewal.Mark, failed bool, err error) {
	var list v1alpha1.CompromisedCertificateList
	if err := d.Client.List(ctx, &list); err != nil {
		return nil, false, err
	}
	told := map[types.UID]bool{}
	for i := range list.Items {
		c := list.Items[i].DeepCopy()
		m, err := d.mark(ctx, c)
		if err != nil {
			failed = true
			d.Log.Warn("write status of a mark, trying again", "mark", c.Name, "error", err)
		}
		if len(m.Certificates) == 0 {
			continue
		}
		// Again by a successor: its predecessor may have died between the two.
		if told[c.UID] = d.toldMarks[c.UID]; !told[c.UID] && !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReplaced) {
			d.Log.Info("marked as compromised", "mark", c.Name, "service", m.Service, "certificates", len(m.Certificates))
			_, err := d.Events.Tell(event.CertificateCompromised{Service: m.Service, Nodes: m.Nodes, Fingerprint: m.Fingerprint, Reason: c.Spec.Reason, Mark: c.Name})
			told[c.UID] = err == nil
		}
		out = append(out, m)
	}
	d.toldMarks = told
	return out, failed, nil
}

// mark brings one mark's status up to date, and returns what it means as far as that is
// written down.
func (d *Decider) mark(ctx context.Context, c *v1alpha1.CompromisedCertificate) (renewal.Mark, error) {
	before := c.Status.DeepCopy()
	written := markOf(c)
	m := written
	m.Certificates = append(slices.Clone(m.Certificates), d.resolve(c, m, len(m.Certificates) == 0)...)
	many := len(m.Certificates)
	if many > maxMarked {
		m, c.Status.PendingNodes = written, before.PendingNodes
	}
	d.stand(ctx, c, m, many)
	if equality.Semantic.DeepEqual(before, &c.Status) {
		return m, nil
	}
	if err := d.Client.Status().Update(ctx, c); err != nil {
		return written, ignoreNotFound(err)
	}
	return m, nil
}

// resolve returns what a mark means beyond what is written down: everything at first, and
// later what nodes have that had not reported by then.
func (d *Decider) resolve(c *v1alpha1.CompromisedCertificate, m renewal.Mark, fresh bool) []renewal.Ref {
	names := c.Status.PendingNodes
	if fresh {
		names = d.Picture.Names()
	}
	var nodes []renewal.Node
	var pending []string
	for _, name := range names {
		n := d.Picture.Lookup(name)
		switch {
		case n == nil || len(m.Nodes) > 0 && !slices.Contains(m.Nodes, name):
		case n.Unseen:
			pending = append(pending, name)
		default:
			nodes = append(nodes, *n)
		}
	}
	c.Status.PendingNodes = pending
	return renewal.ResolveMark(m, nodes)
}

// tooMany is the reason of a mark that means more certificates than it can hold.
const tooMany = "TooMany"

// toldAt is the annotation of a mark that came as an event, with the event's time.
const toldAt = "rotate-certs.io/told-at"

func markOf(c *v1alpha1.CompromisedCertificate) renewal.Mark {
	m := renewal.Mark{Name: c.Name, Service: c.Spec.Service, Nodes: c.Spec.Nodes, Fingerprint: c.Spec.Fingerprint, At: c.CreationTimestamp.Time}
	if at, err := time.Parse(time.RFC3339, c.Annotations[toldAt]); err == nil && at.Before(m.At) {
		m.At = at
	}
	for _, ref := range c.Status.Certificates {
		m.Certificates = append(m.Certificates, renewal.Ref{
			Node: ref.Node, Service: ref.Service, Name: ref.Name, Fingerprint: ref.FingerprintSHA256, NotAfter: ref.NotAfter.Time,
		})
	}
	return m
}

// stand writes down what a mark means and how far it is. many is how many certificates it
// would mean if it may.
func (d *Decider) stand(ctx context.Context, c *v1alpha1.CompromisedCertificate, m renewal.Mark, many int) {
	s := &c.Status
	s.ObservedGeneration = c.Generation
	if known := len(s.Certificates); known < len(m.Certificates) {
		for _, ref := range m.Certificates[known:] {
			s.Certificates = append(s.Certificates, v1alpha1.CompromisedRef{
				Node: ref.Node, Service: ref.Service, Name: ref.Name, FingerprintSHA256: ref.Fingerprint, NotAfter: metav1.NewTime(ref.NotAfter),
			})
		}
		if found := d.compromised(m.Certificates); len(found) >= len(m.Certificates) {
			s.Residual = renewal.Residual(found)
		} else {
			s.Residual = append(s.Residual, renewal.Residual(d.compromised(m.Certificates[known:]))...)
		}
	}
	now := metav1.NewTime(d.Now().UTC().Truncate(time.Second))
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: c.Generation, LastTransitionTime: now,
		})
	}
	// kstatus reads of any object whether it is still being worked on, or cannot be.
	replaced := func(status metav1.ConditionStatus, reason, message string) {
		set(v1alpha1.ConditionReplaced, status, reason, message)
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionStalled)
		switch {
		case status == metav1.ConditionTrue:
			meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
		case reason == tooMany:
			meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
			set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
		default:
			set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, message)
		}
	}
	if len(m.Certificates) == 0 && many > maxMarked {
		message := fmt.Sprintf("it means %d certificates, and one mark holds %d: nothing is replaced; make several, each for some of the nodes", many, maxMarked)
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, tooMany, message)
		replaced(metav1.ConditionFalse, tooMany, message)
		return
	}
	if len(m.Certificates) == 0 {
		const message = "no report knows such a certificate; it is looked for again whenever a node reports"
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "NothingFound", message)
		replaced(metav1.ConditionUnknown, "NothingFound", message)
		return
	}
	found := fmt.Sprintf("it means %d certificates", len(m.Certificates))
	if len(s.PendingNodes) > 0 {
		found += fmt.Sprintf(", and what of it is on %s, which have not reported yet", fleet.Some(s.PendingNodes))
	}
	set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Found", found)
	if rotation := d.newestFor(ctx, c.Name); rotation != nil {
		s.Rotation = rotation.Name
	}
	left := renewal.Remaining(m, d.node)
	if len(left) == 0 && len(s.PendingNodes) == 0 {
		replaced(metav1.ConditionTrue, "Replaced", "none of them is on a node any more")
		return
	}
	replaced(metav1.ConditionFalse, "OnNodes", fmt.Sprintf("%d of them are still on their nodes", len(left)))
}

// newestFor is the newest rotation that a mark is behind.
func (d *Decider) newestFor(ctx context.Context, mark string) *v1alpha1.CertificateRotation {
	var list v1alpha1.CertificateRotationList
	if d.Client.List(ctx, &list) != nil {
		return nil // told again the next time
	}
	var newest *v1alpha1.CertificateRotation
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Trigger == nil || !r.Spec.Compromised || !slices.Contains(r.Spec.Trigger.Marks, mark) {
			continue
		}
		if newest == nil || newest.CreationTimestamp.Before(&r.CreationTimestamp) {
			newest = r
		}
	}
	return newest
}

// compromised looks up what references mean, for what can be said of them.
func (d *Decider) compromised(refs []renewal.Ref) []renewal.Compromised {
	var out []renewal.Compromised
	for _, ref := range refs {
		n := d.Picture.Lookup(ref.Node)
		if n == nil {
			continue
		}
		for _, c := range n.Certificates {
			if c.Fingerprint == ref.Fingerprint && c.Service == ref.Service {
				out = append(out, renewal.Compromised{Node: ref.Node, Certificate: c})
				break
			}
		}
	}
	return out
}
