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
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// maxMatched is how many certificates one CompromisedCertificate may match: its status lists
// them, and must fit into etcd.
const maxMatched = 4000

// compromisedCertificates returns all CompromisedCertificates with the certificates they
// match. Those that a new one matches are written into its status before any rotation is
// requested: certificates that are issued later are not compromised by it. failed is true if a
// status could not be written, which delays only its own object.
func (d *Decider) compromisedCertificates(ctx context.Context) (out []renewal.CompromisedCertificate, failed bool, err error) {
	var list v1alpha1.CompromisedCertificateList
	if err := d.Client.List(ctx, &list); err != nil {
		return nil, false, err
	}
	published := map[types.UID]bool{}
	for i := range list.Items {
		c := list.Items[i].DeepCopy()
		m, err := d.updateCompromised(ctx, c)
		if err != nil {
			failed = true
			d.Log.Warn("write status of a CompromisedCertificate, trying again", "compromisedCertificate", c.Name, "error", err)
		}
		if len(m.Certificates) == 0 {
			continue
		}
		// A new leader publishes it again: the previous one may have crashed before it did.
		if published[c.UID] = d.publishedCompromised[c.UID]; !published[c.UID] && !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReplaced) {
			d.Log.Info("certificates are marked as compromised", "compromisedCertificate", c.Name, "service", m.Service, "certificates", len(m.Certificates))
			_, err := d.Events.Publish(event.CertificateCompromised{Service: m.Service, Nodes: m.Nodes, Fingerprint: m.Fingerprint, Reason: c.Spec.Reason, CompromisedCertificate: c.Name})
			published[c.UID] = err == nil
		}
		out = append(out, m)
	}
	d.publishedCompromised = published
	return out, failed, nil
}

// updateCompromised writes the status of one CompromisedCertificate, and returns the object
// with the certificates that its status lists.
func (d *Decider) updateCompromised(ctx context.Context, c *v1alpha1.CompromisedCertificate) (renewal.CompromisedCertificate, error) {
	before := c.Status.DeepCopy()
	written := compromisedFromObject(c)
	m := written
	m.Certificates = append(slices.Clone(m.Certificates), d.resolveMatches(c, m, len(m.Certificates) == 0)...)
	many := len(m.Certificates)
	if many > maxMatched {
		m = written
		c.Status.PendingNodes = before.PendingNodes
	}
	d.updateStatus(ctx, c, m, many)
	if equality.Semantic.DeepEqual(before, &c.Status) {
		return m, nil
	}
	if err := d.Client.Status().Update(ctx, c); err != nil {
		return written, ignoreNotFound(err)
	}
	return m, nil
}

// resolveMatches returns the matching certificates that are not in the status yet: all of them
// at first, and later those of nodes that had not reported by then.
func (d *Decider) resolveMatches(c *v1alpha1.CompromisedCertificate, m renewal.CompromisedCertificate, fresh bool) []renewal.Ref {
	names := c.Status.PendingNodes
	if fresh {
		names = d.Picture.NodeNames()
	}
	var nodes []renewal.Node
	var pending []string
	for _, name := range names {
		n := d.Picture.LookupNode(name)
		switch {
		case n == nil || len(m.Nodes) > 0 && !slices.Contains(m.Nodes, name):
		case n.Unseen:
			pending = append(pending, name)
		default:
			nodes = append(nodes, *n)
		}
	}
	c.Status.PendingNodes = pending
	return renewal.MatchCompromised(m, nodes)
}

// tooMany is the reason of a CompromisedCertificate that matches more certificates than it can
// hold.
const tooMany = "TooMany"

// publishedAtAnnotation is on a CompromisedCertificate that was created from an event, with
// the time of the event.
const publishedAtAnnotation = "rotate-certs.io/published-at"

func compromisedFromObject(c *v1alpha1.CompromisedCertificate) renewal.CompromisedCertificate {
	m := renewal.CompromisedCertificate{Name: c.Name, Service: c.Spec.Service, Nodes: c.Spec.Nodes, Fingerprint: c.Spec.Fingerprint, At: c.CreationTimestamp.Time}
	if at, err := time.Parse(time.RFC3339, c.Annotations[publishedAtAnnotation]); err == nil && at.Before(m.At) {
		m.At = at
	}
	for _, ref := range c.Status.Certificates {
		m.Certificates = append(m.Certificates, renewal.Ref{
			Node: ref.Node, Service: ref.Service, Name: ref.Name, Fingerprint: ref.FingerprintSHA256, NotAfter: ref.NotAfter.Time,
		})
	}
	return m
}

// updateStatus sets the status of a CompromisedCertificate. many is how many certificates
// match in all.
func (d *Decider) updateStatus(ctx context.Context, c *v1alpha1.CompromisedCertificate, m renewal.CompromisedCertificate, many int) {
	s := &c.Status
	s.ObservedGeneration = c.Generation
	if known := len(s.Certificates); known < len(m.Certificates) {
		for _, ref := range m.Certificates[known:] {
			s.Certificates = append(s.Certificates, v1alpha1.CompromisedRef{
				Node: ref.Node, Service: ref.Service, Name: ref.Name, FingerprintSHA256: ref.Fingerprint, NotAfter: metav1.NewTime(ref.NotAfter),
			})
		}
		if found := d.compromisedDetails(m.Certificates); len(found) >= len(m.Certificates) {
			s.Residual = renewal.ResidualAccess(found)
		} else {
			s.Residual = append(s.Residual, renewal.ResidualAccess(d.compromisedDetails(m.Certificates[known:]))...)
		}
	}
	now := metav1.NewTime(d.Now().UTC().Truncate(time.Second))
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: c.Generation, LastTransitionTime: now,
		})
	}
	// kstatus reads Reconciling and Stalled.
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
	if len(m.Certificates) == 0 && many > maxMatched {
		message := fmt.Sprintf("matched %d certificates, and a CompromisedCertificate holds %d at most: nothing is replaced; create several, each for some of the nodes", many, maxMatched)
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, tooMany, message)
		replaced(metav1.ConditionFalse, tooMany, message)
		return
	}
	if len(m.Certificates) == 0 {
		const message = "no certificate matches; this is checked again whenever a node reports"
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "NoMatch", message)
		replaced(metav1.ConditionUnknown, "NoMatch", message)
		return
	}
	found := fmt.Sprintf("matched %d certificates", len(m.Certificates))
	if len(s.PendingNodes) > 0 {
		found += fmt.Sprintf("; %s have not reported yet", printers.SomeNames(s.PendingNodes))
	}
	set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Matched", found)
	if rotation := d.newestRotationFor(ctx, c.Name); rotation != nil {
		s.Rotation = rotation.Name
	}
	left := renewal.RemainingCertificates(m, d.lookupNode)
	if len(left) == 0 && len(s.PendingNodes) == 0 {
		replaced(metav1.ConditionTrue, "Replaced", "none of the certificates is on a node anymore")
		return
	}
	replaced(metav1.ConditionFalse, "OnNodes", fmt.Sprintf("%d of the certificates are still on their nodes", len(left)))
}

// newestRotationFor is the newest rotation that was created for a CompromisedCertificate.
func (d *Decider) newestRotationFor(ctx context.Context, object string) *v1alpha1.CertificateRotation {
	var list v1alpha1.CertificateRotationList
	if d.Client.List(ctx, &list) != nil {
		return nil // set by the next decision
	}
	var newest *v1alpha1.CertificateRotation
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Trigger == nil || !r.Spec.Compromised || !slices.Contains(r.Spec.Trigger.CompromisedCertificates, object) {
			continue
		}
		if newest == nil || newest.CreationTimestamp.Before(&r.CreationTimestamp) {
			newest = r
		}
	}
	return newest
}

// compromisedDetails looks up the reported facts about certificates.
func (d *Decider) compromisedDetails(refs []renewal.Ref) []renewal.Compromised {
	var out []renewal.Compromised
	for _, ref := range refs {
		n := d.Picture.LookupNode(ref.Node)
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
