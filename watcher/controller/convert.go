package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// labels are on every object that the watcher creates.
var labels = map[string]string{
	"app.kubernetes.io/name": "rotate-certs", "app.kubernetes.io/component": "watcher", "app.kubernetes.io/managed-by": "rotate-certs",
}

// noticeData converts a notice into an event, and into the reason and text of a Kubernetes
// Event.
func noticeData(n renewal.Notice) (data event.Data, reason, text string) {
	expiry := n.NotAfter.UTC().Format(time.RFC3339)
	c := eventCertificate(n.Node, &n.Certificate)
	more := ""
	if n.NotRenewable != "" {
		more = "; " + n.NotRenewable
	}
	switch n.Kind {
	case renewal.CertificateExpired:
		text = fmt.Sprintf("%s of %s expired at %s", n.Name, n.Service, expiry) + more
		return event.CertificateExpired{Certificate: c, Message: text}, "CertificateExpired", text
	case renewal.AuthorityExpiring:
		text = fmt.Sprintf("certificate authority %q expires at %s; certificates cannot outlive it: replace the CA", n.Name, expiry)
		return event.CAExpiring{
			Name: n.Name, Nodes: []string{n.Node}, Path: n.Path, Subject: n.Subject, SerialNumber: n.Serial,
			FingerprintSHA256: n.Fingerprint, NotAfter: n.NotAfter, Message: text,
		}, "CertificateAuthorityExpiring", text
	case renewal.CertificateExpiring:
	}
	text = fmt.Sprintf("%s of %s expires soon, at %s", n.Name, n.Service, expiry) + more
	return event.CertificateExpiring{Certificate: c, Message: text}, "CertificateExpiring", text
}

func requestOf(r renewal.Proposal) event.RotationRequested {
	reason := event.ReasonExpiring
	if r.Compromised {
		reason = event.ReasonCompromised
	}
	return event.RotationRequested{
		Name: r.Name, Services: r.Services, Nodes: r.Nodes, Restart: r.Restart.APIName(),
		MaxUnavailable: r.MaxUnavailable, Compromised: r.Compromised, Reason: reason, Fingerprints: r.Fingerprints,
		Attempt: int32(r.Attempt), CompromisedCertificates: r.CompromisedCertificates, //nolint:gosec // attempts are few
	}
}

// requestedRotation is the part of a request from which its name follows.
func requestedRotation(r event.RotationRequested) renewal.Proposal {
	return renewal.Proposal{Services: r.Services, Nodes: r.Nodes, Compromised: r.Compromised, Fingerprints: r.Fingerprints, Attempt: int(r.Attempt)}
}

// objectOf is the object that a request creates. The validity of the new certificates comes
// from the policy: publishers of requests must not choose it.
func objectOf(r event.RotationRequested, eventID string, validity time.Duration) *v1alpha1.CertificateRotation {
	c := &v1alpha1.CertificateRotation{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: labels},
		Spec: v1alpha1.CertificateRotationSpec{
			Services: r.Services, Nodes: r.Nodes, Restart: r.Restart, Compromised: r.Compromised,
			Trigger: &v1alpha1.RotationTrigger{
				Reason: r.Reason, Fingerprints: r.Fingerprints, Attempt: r.Attempt, EventID: eventID, CompromisedCertificates: r.CompromisedCertificates,
			},
		},
	}
	if !r.Compromised {
		c.Spec.Trigger.CompromisedCertificates = nil // a renewal replaces no compromised keys
	}
	if r.MaxUnavailable != "" {
		c.Spec.MaxUnavailable = new(intstr.Parse(r.MaxUnavailable))
	}
	if validity > 0 {
		c.Spec.Validity = &v1alpha1.Duration{Duration: validity}
		c.Spec.AllowShortValidity = validity < plan.MinValidity
	}
	return c
}

// validityFor is the validity that the policy gives to the certificates which replace those of
// a request.
func (d *Decider) validityFor(r event.RotationRequested) time.Duration {
	return d.policy.Load().ValidityOf(r.Services, d.lookupNodes(r.Nodes), r.Fingerprints)
}

// pastOf converts a rotation for the decision.
func pastOf(c *v1alpha1.CertificateRotation) renewal.Past {
	p := renewal.Past{
		Name: c.Name, Services: c.Spec.Services, Nodes: c.Spec.Nodes, Created: c.CreationTimestamp.Time,
		State: renewal.Active, Compromised: c.Spec.Compromised,
	}
	if c.Spec.NodeSelector != nil {
		p.Services = nil // its nodes are not known before it starts: it covers none
	}
	if t := c.Spec.Trigger; t != nil {
		p.Automatic = true
		p.Fingerprints = t.Fingerprints
		p.Attempt = int(t.Attempt)
	}
	if c.Status.CompletionTime != nil {
		p.Completed = c.Status.CompletionTime.Time
	}
	switch c.State() {
	case v1alpha1.StateSucceeded:
		p.State = renewal.Succeeded
		if c.Status.StartTime == nil { // the scan found nothing to do
			p.State = renewal.Refused
		}
	case v1alpha1.StateRefused:
		p.State = renewal.Refused
	case v1alpha1.StateCanceled:
		p.State = renewal.Canceled
	case v1alpha1.StateRolledBack, v1alpha1.StateFailed:
		p.State = renewal.Failed
	case v1alpha1.StateManualInterventionRequired:
		p.State = renewal.ManualInterventionRequired
	case v1alpha1.StatePending, v1alpha1.StateRunning, v1alpha1.StateInterrupted, v1alpha1.StateSuspended:
		if c.Spec.Suspend {
			p.State = renewal.Suspended
		}
	}
	for _, n := range c.Status.Nodes {
		if failedOn(n) {
			p.FailedNodes = append(p.FailedNodes, n.Node)
		}
	}
	return p
}
