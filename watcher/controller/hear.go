package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Hear makes the CertificateRotation that an event asks for. It is made once however
// often the event comes.
//
// Nor is one made beside another of its kind that is about some of the same certificates
// and has not ended, as after a restart that forgot what had been asked for: what that one
// leaves is asked for again.
//
// One that is old is dropped: what it asks for was right when it was asked for. The decider
// asks again for as long as it is due.
func (d *Decider) Hear(ctx context.Context, r event.RotationRequested, eventID string, asked time.Time) error {
	if age := d.Now().Sub(asked); age > requestAge {
		d.Log.Info("not made, it was asked for too long ago", "rotation", r.Name, "age", age.Round(time.Second))
		return nil
	}
	if len(r.Fingerprints) == 0 {
		// Without them nothing would tell when there is nothing left to do, so it would
		// rotate whatever is asked for, due or not.
		return apierrors.NewBadRequest("a request names the certificates that are to go")
	}
	if strings.HasPrefix(r.Name, renewal.NamePrefix) && r.Name != renewal.NameOf(requestedRotation(r)) {
		// The decider would take its own rotation, which has that name, for made.
		return apierrors.NewBadRequest(fmt.Sprintf("name %q does not follow from the request's services, nodes, fingerprints and attempt; names of your own begin otherwise than with %q", r.Name, renewal.NamePrefix))
	}
	if err := d.mayDistrust(ctx, r); err != nil {
		return err
	}
	switch made, err := d.made(ctx, r); {
	case err != nil:
		return err
	case made:
		return nil
	}
	narrowed, err := d.narrow(r)
	if err != nil {
		return err
	}
	return d.make(ctx, narrowed, eventID)
}

// made says whether there is a CertificateRotation of a request. One of that name that is
// about other certificates is an error.
func (d *Decider) made(ctx context.Context, r event.RotationRequested) (bool, error) {
	var c v1alpha1.CertificateRotation
	err := d.Client.Get(ctx, client.ObjectKey{Name: r.Name}, &c)
	if err != nil {
		return false, ignoreNotFound(err)
	}
	if t := c.Spec.Trigger; t == nil || c.Spec.Compromised != r.Compromised || t.Attempt != r.Attempt || !slices.Equal(t.Fingerprints, r.Fingerprints) {
		return false, apierrors.NewBadRequest(fmt.Sprintf("CertificateRotation %q exists and is about other certificates", r.Name))
	}
	return true, nil
}

// narrow leaves of a request the nodes and services on which there is a certificate that it
// names, as the reports say: whoever may request rotations rotates nothing beside those. An
// error where there is none: a report may still come.
func (d *Decider) narrow(r event.RotationRequested) (event.RotationRequested, error) {
	named := map[string]bool{}
	for _, f := range r.Fingerprints {
		named[f] = true
	}
	services, nodes := map[certs.Service]bool{}, []string{}
	for _, n := range d.nodes(r.Nodes) {
		found := false
		for _, c := range n.Certificates {
			if named[c.Fingerprint] && slices.Contains(r.Services, c.Service) {
				found, services[c.Service] = true, true
			}
		}
		if found {
			nodes = append(nodes, n.Name)
		}
	}
	if len(nodes) == 0 {
		return r, forbidden(r.Name, errors.New("no report has a certificate that it names"))
	}
	r.Nodes = nodes
	r.Services = slices.DeleteFunc(slices.Clone(r.Services), func(s certs.Service) bool { return !services[s] })
	return r, nil
}

// make makes the CertificateRotation of a request, unless it is there or another is about the
// same.
func (d *Decider) make(ctx context.Context, r event.RotationRequested, eventID string) error {
	object := objectOf(r, eventID, d.validity(r))
	history, err := d.history(ctx)
	if err != nil {
		return err
	}
	for _, past := range history {
		if past.Automatic && past.Open() && past.Compromised == r.Compromised && past.Name != r.Name && sameWork(past, r) {
			d.Log.Info("not made, another is about the same certificates", "rotation", r.Name, "other", past.Name)
			return nil
		}
	}
	err = d.Client.Create(ctx, object)
	if apierrors.IsAlreadyExists(err) {
		_, err = d.made(ctx, r)
	}
	return err
}

// mayDistrust refuses a request that goes past windows and limits because of marks, where
// these do not mean all of the certificates that it names: who may ask for rotations is not
// who may mark. Forbidden, so that it comes again a few times: a mark may be a moment older
// than what is known of it here.
func (d *Decider) mayDistrust(ctx context.Context, r event.RotationRequested) error {
	if !r.Compromised {
		return nil
	}
	meant := map[string]bool{}
	for _, name := range r.Marks {
		var mark v1alpha1.CompromisedCertificate
		if err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &mark); ignoreNotFound(err) != nil {
			return err
		}
		for _, c := range mark.Status.Certificates {
			if slices.Contains(r.Services, c.Service) && (len(r.Nodes) == 0 || slices.Contains(r.Nodes, c.Node)) {
				meant[c.FingerprintSHA256] = true
			}
		}
	}
	for _, f := range r.Fingerprints {
		if !meant[f] {
			return forbidden(r.Name, fmt.Errorf("it is about compromised keys, and no mark that it names means certificate %s", f))
		}
	}
	return nil
}

// GivenUp writes a Kubernetes Event about every CompromisedCertificate whose keys a request
// that was given up would have replaced.
func (d *Decider) GivenUp(ctx context.Context, e event.Event, why error) {
	r, ok := e.Data.(event.RotationRequested)
	if !ok {
		return
	}
	for _, name := range r.Marks {
		var mark v1alpha1.CompromisedCertificate
		if d.Client.Get(ctx, client.ObjectKey{Name: name}, &mark) == nil {
			note(d.Recorder, &mark, warning, "RequestGivenUp", fmt.Sprintf("request for rotation %q given up: %v", r.Name, why))
		}
	}
}

// forbidden refuses a request for now: it is delivered again a few times.
func forbidden(name string, why error) error {
	return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("certificaterotations").GroupResource(), name, why)
}

// requestAge is how old a request may be. It comes within moments unless NATS or the API
// server is away, and the decider does not wait for it for longer than [directAfter].
const requestAge = 10 * time.Minute

// sameWork says whether a rotation is about some of the certificates that a request names. A
// fingerprint alone does not tell: any node can report one that is served by another.
func sameWork(past renewal.Past, r event.RotationRequested) bool {
	return share(past.Fingerprints, r.Fingerprints) && share(past.Services, r.Services) &&
		(len(past.Nodes) == 0 || len(r.Nodes) == 0 || share(past.Nodes, r.Nodes))
}

func share[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(s T) bool { return slices.Contains(b, s) })
}

// MayStart says why a rotation that the watcher made must not begin now; empty: it may. What
// somebody else made begins when its turn comes.
func (d *Decider) MayStart(ctx context.Context, c *v1alpha1.CertificateRotation) (string, error) {
	if c.Spec.Trigger == nil {
		return "", nil
	}
	history, err := d.history(ctx)
	if err != nil {
		return "", fmt.Errorf("list rotations: %w", err)
	}
	_, text := renewal.MayStart(d.Now(), d.policy.Load(), pastOf(c), d.nodes(c.Spec.Nodes), history)
	return text, nil
}

// HearMark makes the object that a certificate.compromised from elsewhere stands for. It does
// not where a rotation exists that was made for that object after the event was published: the
// object was removed since, and NATS delivers the event again.
func (d *Decider) HearMark(ctx context.Context, e event.Event) error {
	c, ok := e.Data.(event.CertificateCompromised)
	if !ok {
		return nil
	}
	if c.Mark != "" {
		// Told by a watcher, it has its object. Somebody may have published it again, after
		// that object was lost.
		var mark v1alpha1.CompromisedCertificate
		err := d.Client.Get(ctx, client.ObjectKey{Name: c.Mark}, &mark)
		if apierrors.IsNotFound(err) {
			return apierrors.NewBadRequest(fmt.Sprintf("there is no CompromisedCertificate %q; leave out \"mark\" to have one made", c.Mark))
		}
		return err
	}
	if r := d.newestFor(ctx, e.MarkName()); r != nil && !r.CreationTimestamp.Time.Before(e.Time.Truncate(time.Second)) {
		d.Log.Info("mark not made again, a rotation exists that was made for it", "mark", e.MarkName(), "rotation", r.Name)
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
