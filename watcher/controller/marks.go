package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// marks returns what is marked as compromised. A mark that is seen for the first time is
// resolved: what it means is written into its status before anything is done about it, so
// that certificates which are issued later are not taken for compromised.
func (d *Decider) marks(ctx context.Context) ([]renewal.Mark, error) {
	var list v1alpha1.CompromisedCertificateList
	if err := d.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	var out []renewal.Mark
	for i := range list.Items {
		c := list.Items[i].DeepCopy()
		m := markOf(c)
		before := c.Status.DeepCopy()
		fresh := len(c.Status.Certificates) == 0
		m.Certificates = append(m.Certificates, d.resolve(c, m, fresh)...)
		d.stand(ctx, c, m)
		if !equality.Semantic.DeepEqual(before, &c.Status) {
			if err := d.Client.Status().Update(ctx, c); err != nil {
				if apierrors.IsNotFound(err) {
					continue
				}
				return nil, fmt.Errorf("write status of mark %q: %w", c.Name, err)
			}
		}
		if fresh && len(m.Certificates) > 0 {
			d.Log.Info("marked as compromised", "mark", c.Name, "service", m.Service, "certificates", len(m.Certificates))
			d.Events.Tell(event.CertificateCompromised{Service: m.Service, Nodes: m.Nodes, Fingerprint: m.Fingerprint, Reason: c.Spec.Reason, Mark: c.Name})
		}
		out = append(out, m)
	}
	return out, nil
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

func markOf(c *v1alpha1.CompromisedCertificate) renewal.Mark {
	m := renewal.Mark{Name: c.Name, Service: c.Spec.Service, Nodes: c.Spec.Nodes, Fingerprint: c.Spec.Fingerprint}
	for _, ref := range c.Status.Certificates {
		m.Certificates = append(m.Certificates, renewal.Ref{
			Node: ref.Node, Service: ref.Service, Name: ref.Name, Fingerprint: ref.FingerprintSHA256, NotAfter: ref.NotAfter.Time,
		})
	}
	return m
}

// stand writes down what a mark means and how far it is.
func (d *Decider) stand(ctx context.Context, c *v1alpha1.CompromisedCertificate, m renewal.Mark) {
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
	if len(m.Certificates) == 0 {
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "NothingFound",
			"no report knows such a certificate; it is looked for again whenever a node reports")
		set(v1alpha1.ConditionReplaced, metav1.ConditionUnknown, "NothingFound", "")
		return
	}
	found := fmt.Sprintf("it means %d certificates", len(m.Certificates))
	if len(s.PendingNodes) > 0 {
		found += fmt.Sprintf(", and what of it is on %s, which have not reported yet", strings.Join(s.PendingNodes, ", "))
	}
	set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Found", found)
	if rotation := d.newestFor(ctx, c.Name); rotation != "" {
		s.Rotation = rotation
	}
	left := renewal.Remaining(m, d.node)
	if len(left) == 0 && len(s.PendingNodes) == 0 {
		set(v1alpha1.ConditionReplaced, metav1.ConditionTrue, "Replaced", "none of them is on a node any more")
		return
	}
	set(v1alpha1.ConditionReplaced, metav1.ConditionFalse, "OnNodes", fmt.Sprintf("%d of them are still on their nodes", len(left)))
}

// newestFor is the newest rotation that a mark is behind.
func (d *Decider) newestFor(ctx context.Context, mark string) string {
	var list v1alpha1.CertificateRotationList
	if d.Client.List(ctx, &list) != nil {
		return "" // told again the next time
	}
	var newest *v1alpha1.CertificateRotation
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Trigger == nil || !slices.Contains(r.Spec.Trigger.Marks, mark) {
			continue
		}
		if newest == nil || newest.CreationTimestamp.Before(&r.CreationTimestamp) {
			newest = r
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Name
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

// HearMark makes the object that a certificate.compromised from elsewhere stands for. One
// that the watcher itself has told of has its object.
func (d *Decider) HearMark(ctx context.Context, e event.Event) error {
	c, ok := e.Data.(event.CertificateCompromised)
	if !ok || c.Mark != "" {
		return nil
	}
	err := d.Client.Create(ctx, &v1alpha1.CompromisedCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: e.MarkName(), Labels: labels},
		Spec:       v1alpha1.CompromisedCertificateSpec{Service: c.Service, Nodes: c.Nodes, Fingerprint: c.Fingerprint, Reason: c.Reason},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
