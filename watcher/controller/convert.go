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

// labels are on everything that the watcher makes.
var labels = map[string]string{
	"app.kubernetes.io/name": "rotate-certs", "app.kubernetes.io/component": "watcher", "app.kubernetes.io/managed-by": "rotate-certs",
}

// noticeData is a notice as an event, and as a Kubernetes Event's reason and text.
func noticeData(n renewal.Notice) (data event.Data, reason, text string) {
	ends := n.NotAfter.UTC().Format(time.RFC3339)
	c := event.Certificate{
		Node: n.Node, Service: n.Service, Name: n.Name, Path: n.Path, Subject: n.Subject, Issuer: n.Issuer,
		SerialNumber: n.Serial, FingerprintSHA256: n.Fingerprint, NotAfter: n.NotAfter,
	}
	more := ""
	if n.NotRenewable != "" {
		more = "; " + n.NotRenewable
	}
	switch n.Kind {
	case renewal.CertificateExpired:
		text = fmt.Sprintf("%s of %s has expired: it ended at %s", n.Name, n.Service, ends) + more
		return event.CertificateExpired{Certificate: c, Message: text}, "CertificateExpired", text
	case renewal.AuthorityExpiring:
		text = fmt.Sprintf("certificate authority %q ends at %s; renewing what it signed does not help, it needs a successor", n.Name, ends)
		return event.CAExpiring{
			Name: n.Name, Nodes: []string{n.Node}, Path: n.Path, Subject: n.Subject, SerialNumber: n.Serial,
			FingerprintSHA256: n.Fingerprint, NotAfter: n.NotAfter, Message: text,
		}, "CertificateAuthorityExpiring", text
	case renewal.CertificateExpiring:
	}
	text = fmt.Sprintf("%s of %s is near its end: %s", n.Name, n.Service, ends) + more
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
		Attempt: int32(r.Attempt), Marks: r.Marks, //nolint:gosec // attempts are few
	}
}

// requestedRotation is what a request asks for, as far as its name follows from it.
func requestedRotation(r event.RotationRequested) renewal.Proposal {
	return renewal.Proposal{Services: r.Services, Nodes: r.Nodes, Compromised: r.Compromised, Fingerprints: r.Fingerprints, Attempt: int(r.Attempt)}
}

// objectOf is the object that a request asks for. For how long the new certificates are valid
// is the policy's, and not for whoever may publish requests to say.
func objectOf(r event.RotationRequested, eventID string, validity time.Duration) *v1alpha1.CertificateRotation {
	c := &v1alpha1.CertificateRotation{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: labels},
		Spec: v1alpha1.CertificateRotationSpec{
			Services: r.Services, Nodes: r.Nodes, Restart: r.Restart, Compromised: r.Compromised,
			Trigger: &v1alpha1.RotationTrigger{
				Reason: r.Reason, Fingerprints: r.Fingerprints, Attempt: r.Attempt, EventID: eventID, Marks: r.Marks,
			},
		},
	}
	if !r.Compromised {
		c.Spec.Trigger.Marks = nil // a renewal answers no mark
	}
	if r.MaxUnavailable != "" {
		c.Spec.MaxUnavailable = new(intstr.Parse(r.MaxUnavailable))
	}
	if validity > 0 {
		c.Spec.Validity, c.Spec.AllowShortValidity = &v1alpha1.Duration{Duration: validity}, validity < plan.MinValidity
	}
	return c
}

// validity is for how long the policy has the certificates valid that replace those which a
// request names.
func (d *Decider) validity(r event.RotationRequested) time.Duration {
	return d.policy.Load().ValidityOf(r.Services, d.nodes(r.Nodes), r.Fingerprints)
}

// pastOf is what a decision needs to know of a rotation.
func pastOf(c *v1alpha1.CertificateRotation) renewal.Past {
	p := renewal.Past{
		Name: c.Name, Services: c.Spec.Services, Nodes: c.Spec.Nodes, Created: c.CreationTimestamp.Time,
		State: renewal.Active, Compromised: c.Spec.Compromised,
	}
	if c.Spec.NodeSelector != nil {
		p.Services = nil // which nodes it selects is not known before it begins: it covers none
	}
	if t := c.Spec.Trigger; t != nil {
		p.Automatic, p.Fingerprints, p.Attempt = true, t.Fingerprints, int(t.Attempt)
	}
	if c.Status.CompletionTime != nil {
		p.Completed = c.Status.CompletionTime.Time
	}
	switch c.State() {
	case v1alpha1.StateSucceeded:
		p.State = renewal.Succeeded
		if c.Status.StartTime == nil { // nothing was left to do, as a fresh scan said
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
		if wentWrong(n) {
			p.FailedNodes = append(p.FailedNodes, n.Node)
		}
	}
	return p
}
