package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// ReceiveAsked creates a CertificateRotation that a user of another cluster has asked for, if the
// policy permits it, once however often the event is delivered. The answer is published and kept for
// the summary of this cluster, and a refusal is a Kubernetes Event of the RotationPolicy. A request
// that was refused lately is not decided again.
func (d *Decider) ReceiveAsked(ctx context.Context, asked event.RotationAsked, id string) error {
	var list v1alpha1.CertificateRotationList
	if err := d.Client.List(ctx, &list); err != nil {
		return err
	}
	name := event.AskedName(asked.Cluster, id)
	var past []renewal.Asked
	last := d.lastAsked // it may not be in the cache yet
	if last.Open && name == d.lastAskedName || d.refusals.hasRefused(name) {
		return nil
	}
	for i := range list.Items {
		c := &list.Items[i]
		if c.Name == name {
			return nil
		}
		if c.Name == d.lastAskedName {
			last.Open = false
		}
		if strings.HasPrefix(c.Name, event.AskedPrefix) {
			past = append(past, renewal.Asked{Created: c.CreationTimestamp.Time, Open: !c.HasEnded()})
		}
	}
	// The object may be missing in the cache for a moment.
	if last.Open && d.Now().Sub(last.Created) < time.Minute {
		past = append(past, last)
	}
	if why := d.policy.Load().RefuseAsked(d.Now(), asked.Services, past); why != "" {
		d.refuseAsked(asked, id, why)
		return nil
	}
	asked.Request = id
	asked.Rotation = name
	asked.Refused = ""
	if err := d.createAsked(ctx, asked); err != nil {
		return err
	}
	d.lastAskedName = name
	d.lastAsked = renewal.Asked{Created: d.Now(), Open: true}
	_, _ = d.Events.Publish(asked) // its failure is logged; the objects say the same
	return nil
}

// GiveUpAsked answers a request of another cluster that cannot be handled, unless it has led to a
// rotation.
func (d *Decider) GiveUpAsked(ctx context.Context, asked event.RotationAsked, id, why string) {
	var made v1alpha1.CertificateRotation
	if err := d.Client.Get(ctx, client.ObjectKey{Name: event.AskedName(asked.Cluster, id)}, &made); apierrors.IsNotFound(err) {
		d.refuseAsked(asked, id, why)
	}
}

// refuseAsked answers a request of another cluster that starts no rotation. An answer in
// the request is replaced.
func (d *Decider) refuseAsked(asked event.RotationAsked, id, why string) {
	if !d.refusals.addRefusal(asked.Cluster, id, why, d.Now()) {
		return
	}
	asked.Request = id
	asked.Rotation = ""
	asked.Refused = why
	d.Log.Warn("request of another cluster refused", "cluster", asked.Cluster, "user", asked.User, "request", id, "because", why)
	policy := &v1alpha1.RotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RotationPolicyName}}
	recordEvent(d.Recorder, policy, warning, "RequestRefused", fmt.Sprintf("%s asked for %s: refused, %s", askedBy(asked), printers.JoinServices(asked.Services, ", "), why))
	_, _ = d.Events.Publish(asked) // its failure is logged
}

func (d *Decider) createAsked(ctx context.Context, asked event.RotationAsked) error {
	rotation := &v1alpha1.CertificateRotation{
		ObjectMeta: metav1.ObjectMeta{Name: asked.Rotation, Labels: labels, Annotations: map[string]string{v1alpha1.RequestedByAnnotation: askedBy(asked)}},
		Spec:       v1alpha1.CertificateRotationSpec{Services: certs.SortServices(asked.Services)},
	}
	err := d.Client.Create(ctx, rotation, client.FieldOwner("rotate-certs-watcher"))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Log.Info("created for a user of another cluster", "rotation", rotation.Name, "cluster", asked.Cluster, "user", asked.User)
	recordEvent(d.Recorder, rotation, normal, "RequestedByUser", "asked for by "+askedBy(asked))
	return nil
}

// askedBy names the user, by the word of their cluster.
func askedBy(asked event.RotationAsked) string {
	return printers.CleanText(fmt.Sprintf("%s of cluster %s", asked.User, asked.Cluster))
}
