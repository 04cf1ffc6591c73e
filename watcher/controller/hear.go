package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Hear makes the CertificateRotation that an event asks for. It is made once however
// often the event comes.
//
// Nor is one made beside another of its kind that is about some of the same certificates
// and has not ended, as after a restart that forgot what had been asked for: what that one
// leaves is asked for again.
func (d *Decider) Hear(ctx context.Context, r event.RotationRequested, eventID string) error {
	if len(r.Fingerprints) == 0 {
		// Without them nothing would tell when there is nothing left to do, so it would
		// rotate whatever is asked for, due or not.
		return apierrors.NewBadRequest("a request names the certificates that are to go")
	}
	if err := d.mayDistrust(ctx, r); err != nil {
		return err
	}
	object := objectOf(r, eventID)
	history, err := d.history(ctx)
	if err != nil {
		return err
	}
	for _, past := range history {
		if past.Automatic && past.State == renewal.Active && past.Compromised == r.Compromised && past.Name != r.Name && share(past.Fingerprints, r.Fingerprints) {
			d.Log.Info("not made, another is about the same certificates", "rotation", r.Name, "other", past.Name)
			return nil
		}
	}
	if err := d.Client.Create(ctx, object); !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// mayDistrust refuses a request that goes past windows and limits because of a mark that
// is not there: who may ask for rotations is not who may mark. Forbidden, so that it comes
// again a few times: a mark may be a moment older than what is known of it here.
func (d *Decider) mayDistrust(ctx context.Context, r event.RotationRequested) error {
	if !r.Compromised {
		return nil
	}
	for _, name := range r.Marks {
		var mark v1alpha1.CompromisedCertificate
		if err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &mark); err == nil || !apierrors.IsNotFound(err) {
			return err
		}
	}
	return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("certificaterotations").GroupResource(), r.Name,
		errors.New("it is about compromised keys, and none of its marks is there"))
}

func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// HearMark makes the object that a certificate.compromised from elsewhere stands for. One
// that the watcher itself has told of has its object.
func (d *Decider) HearMark(ctx context.Context, e event.Event) error {
	c, ok := e.Data.(event.CertificateCompromised)
	if !ok || c.Mark != "" {
		return nil
	}
	err := d.Client.Create(ctx, &v1alpha1.CompromisedCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: e.MarkName(), Labels: labels, Annotations: map[string]string{toldAt: e.Time.UTC().Format(time.RFC3339)}},
		Spec:       v1alpha1.CompromisedCertificateSpec{Service: c.Service, Nodes: c.Nodes, Fingerprint: c.Fingerprint, Reason: c.Reason},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
