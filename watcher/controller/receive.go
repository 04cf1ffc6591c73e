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

// ReceiveRequest creates the CertificateRotation of a request, once however often the event is
// delivered.
//
// It creates none if an unfinished rotation of the same kind replaces some of the same
// certificates, as after a restart of the watcher. The remaining certificates are requested
// again later.
//
// An old request is dropped: the situation may have changed. The decider requests again as
// long as the rotation is due.
func (d *Decider) ReceiveRequest(ctx context.Context, r event.RotationRequested, eventID string, published time.Time) error {
	// A request arrives within moments unless NATS or the API server is unavailable, and the
	// decider waits for it no longer than [createDirectlyAfter].
	if age := d.Now().Sub(published); age > 10*time.Minute {
		d.Log.Info("request dropped: it is too old", "rotation", r.Name, "age", age.Round(time.Second))
		return nil
	}
	if len(r.Fingerprints) == 0 {
		// Without fingerprints the rotation could not detect that there is nothing to do.
		return apierrors.NewBadRequest("a request must name the certificates to replace by their fingerprints")
	}
	if strings.HasPrefix(r.Name, renewal.NamePrefix) && r.Name != renewal.NameOf(requestedRotation(r)) {
		// The decider would take it for its own request of that name.
		return apierrors.NewBadRequest(fmt.Sprintf("name %q does not follow from the request's services, nodes, fingerprints and attempt; names with the prefix %q are reserved for the watcher", r.Name, renewal.NamePrefix))
	}
	if err := d.checkCompromised(ctx, r); err != nil {
		return err
	}
	switch made, err := d.requestExists(ctx, r); {
	case err != nil:
		return err
	case made:
		return nil
	}
	narrowed, err := d.narrowScope(r)
	if err != nil {
		return err
	}
	return d.createRotation(ctx, narrowed, eventID)
}

// requestExists returns whether the CertificateRotation of a request exists. One of that name
// for other certificates is an error.
func (d *Decider) requestExists(ctx context.Context, r event.RotationRequested) (bool, error) {
	var c v1alpha1.CertificateRotation
	err := d.Client.Get(ctx, client.ObjectKey{Name: r.Name}, &c)
	if err != nil {
		return false, ignoreNotFound(err)
	}
	if t := c.Spec.Trigger; t == nil || c.Spec.Compromised != r.Compromised || t.Attempt != r.Attempt || !slices.Equal(t.Fingerprints, r.Fingerprints) {
		return false, apierrors.NewBadRequest(fmt.Sprintf("CertificateRotation %q exists and replaces other certificates", r.Name))
	}
	return true, nil
}

// narrowScope removes nodes and services on which no reported certificate of the request is: a
// publisher of requests must not rotate anything else. It returns an error if none remains,
// since a report may still arrive.
func (d *Decider) narrowScope(r event.RotationRequested) (event.RotationRequested, error) {
	named := map[string]bool{}
	for _, f := range r.Fingerprints {
		named[f] = true
	}
	services := map[certs.Service]bool{}
	nodes := []string{}
	for _, n := range d.lookupNodes(r.Nodes) {
		found := false
		for _, c := range n.Certificates {
			if named[c.Fingerprint] && slices.Contains(r.Services, c.Service) {
				found = true
				services[c.Service] = true
			}
		}
		if found {
			nodes = append(nodes, n.Name)
		}
	}
	if len(nodes) == 0 {
		return r, forbiddenError(r.Name, errors.New("no report has a certificate of the request"))
	}
	r.Nodes = nodes
	r.Services = slices.DeleteFunc(slices.Clone(r.Services), func(s certs.Service) bool { return !services[s] })
	return r, nil
}

// createRotation creates the CertificateRotation of a request, unless it exists or another
// replaces the same certificates.
func (d *Decider) createRotation(ctx context.Context, r event.RotationRequested, eventID string) error {
	object := objectOf(r, eventID, d.validityFor(r))
	history, err := d.listHistory(ctx)
	if err != nil {
		return err
	}
	for _, past := range history {
		if past.Automatic && past.IsOpen() && past.Compromised == r.Compromised && past.Name != r.Name && sameWork(past, r) {
			d.Log.Info("request dropped: another rotation replaces the same certificates", "rotation", r.Name, "other", past.Name)
			return nil
		}
	}
	err = d.Client.Create(ctx, object)
	if apierrors.IsAlreadyExists(err) {
		_, err = d.requestExists(ctx, r)
	}
	return err
}

// checkCompromised refuses a request for compromised keys if its CompromisedCertificates do
// not match all of its certificates: such a rotation ignores windows and limits, and the right
// to request rotations does not include the right to mark certificates as compromised. The
// error is Forbidden, so that the request is delivered again: the object may not be in the
// cache yet.
func (d *Decider) checkCompromised(ctx context.Context, r event.RotationRequested) error {
	if !r.Compromised {
		return nil
	}
	meant := map[string]bool{}
	for _, name := range r.CompromisedCertificates {
		var object v1alpha1.CompromisedCertificate
		if err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &object); ignoreNotFound(err) != nil {
			return err
		}
		for _, c := range object.Status.Certificates {
			if slices.Contains(r.Services, c.Service) && (len(r.Nodes) == 0 || slices.Contains(r.Nodes, c.Node)) {
				meant[c.FingerprintSHA256] = true
			}
		}
	}
	for _, f := range r.Fingerprints {
		if !meant[f] {
			return forbiddenError(r.Name, fmt.Errorf("compromised keys: none of the named CompromisedCertificates matches certificate %s", f))
		}
	}
	return nil
}

// GivenUp writes a Kubernetes Event about every CompromisedCertificate of a request that was
// given up.
func (d *Decider) GivenUp(ctx context.Context, e event.Event, why error) {
	r, ok := e.Data.(event.RotationRequested)
	if !ok {
		return
	}
	for _, name := range r.CompromisedCertificates {
		var object v1alpha1.CompromisedCertificate
		if d.Client.Get(ctx, client.ObjectKey{Name: name}, &object) == nil {
			recordEvent(d.Recorder, &object, warning, "RequestGivenUp", fmt.Sprintf("request for rotation %q given up: %v", r.Name, why))
		}
	}
}

// forbiddenError refuses a request for now: it is delivered again a few times.
func forbiddenError(name string, why error) error {
	return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("certificaterotations").GroupResource(), name, why)
}

// sameWork returns whether a rotation replaces some of the certificates of a request.
// Fingerprints alone are not enough: a node can report the certificate of another.
func sameWork(past renewal.Past, r event.RotationRequested) bool {
	return haveCommon(past.Fingerprints, r.Fingerprints) && haveCommon(past.Services, r.Services) &&
		(len(past.Nodes) == 0 || len(r.Nodes) == 0 || haveCommon(past.Nodes, r.Nodes))
}

func haveCommon[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(s T) bool { return slices.Contains(b, s) })
}

// MayStart returns why a rotation that the watcher created must not start now; empty: it may.
// The policy does not apply to rotations of other users.
func (d *Decider) MayStart(ctx context.Context, c *v1alpha1.CertificateRotation) (string, error) {
	if c.Spec.Trigger == nil {
		return "", nil
	}
	history, err := d.listHistory(ctx)
	if err != nil {
		return "", fmt.Errorf("list rotations: %w", err)
	}
	_, text := renewal.MayStart(d.Now(), d.policy.Load(), pastOf(c), d.lookupNodes(c.Spec.Nodes), history)
	return text, nil
}

// ReceiveCompromised creates the CompromisedCertificate of an event that others published. It
// creates none if a rotation was created for that object after the event was published: the
// object was deleted since, and NATS has delivered the event again.
func (d *Decider) ReceiveCompromised(ctx context.Context, e event.Event) error {
	c, ok := e.Data.(event.CertificateCompromised)
	if !ok {
		return nil
	}
	if c.CompromisedCertificate != "" {
		// The watcher published it, so its object exists, unless it was deleted and the event
		// was published again.
		var object v1alpha1.CompromisedCertificate
		err := d.Client.Get(ctx, client.ObjectKey{Name: c.CompromisedCertificate}, &object)
		if apierrors.IsNotFound(err) {
			return apierrors.NewBadRequest(fmt.Sprintf("there is no CompromisedCertificate %q; omit \"compromisedCertificate\" to create one", c.CompromisedCertificate))
		}
		return err
	}
	if r := d.newestRotationFor(ctx, e.ObjectName()); r != nil && !r.CreationTimestamp.Time.Before(e.Time.Truncate(time.Second)) {
		d.Log.Info("CompromisedCertificate not created again: a rotation was created for it after the event", "compromisedCertificate", e.ObjectName(), "rotation", r.Name)
		return nil
	}
	err := d.Client.Create(ctx, &v1alpha1.CompromisedCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: e.ObjectName(), Labels: labels, Annotations: map[string]string{publishedAtAnnotation: e.Time.UTC().Format(time.RFC3339)}},
		Spec:       v1alpha1.CompromisedCertificateSpec{Service: c.Service, Nodes: c.Nodes, Fingerprint: c.Fingerprint, Reason: c.Reason},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
