package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// policyStatus writes into the RotationPolicy which policy is in force, and its errors.
type policyStatus struct {
	policy *policy
	client client.Client
	log    *slog.Logger
}

// NeedLeaderElection keeps a second watcher from writing the same status.
func (s *policyStatus) NeedLeaderElection() bool { return true }

// Start writes whenever the object or the policy in force changes, until ctx ends.
func (s *policyStatus) Start(ctx context.Context) error {
	const pause = 10 * time.Second
	for {
		var again <-chan time.Time
		if err := s.writeStatus(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("write the status of the RotationPolicy, trying again", "in", pause, "error", err)
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.policy.changed:
		case <-again:
		}
	}
}

func (s *policyStatus) writeStatus(ctx context.Context) error {
	object := s.policy.withStatus()
	if object == nil {
		return nil
	}
	trying, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	err := s.client.Status().Update(trying, object)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the informer passes the changed object, and it is written then
	}
	return err
}

// withStatus is the object with its current status; nil: it has it already, or there is no
// object.
func (p *policy) withStatus() *v1alpha1.RotationPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.object == nil {
		return nil
	}
	out := p.object.DeepCopy()
	status := &out.Status
	before := meta.FindStatusCondition(p.object.Status.Conditions, v1alpha1.ConditionInForce)
	set := func(kind string, is metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: is, Reason: reason, Message: clipMessage(message), ObservedGeneration: out.Generation,
			LastTransitionTime: metav1.NewTime(p.now().UTC().Truncate(time.Second)),
		})
	}
	status.ObservedGeneration = out.Generation
	if p.invalid != nil {
		set(v1alpha1.ConditionValid, metav1.ConditionFalse, reasonInvalid, invalidWords(p.invalid))
		set(v1alpha1.ConditionInForce, metav1.ConditionFalse, reasonInvalid, p.held.describeKept())
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reasonInvalid, invalidWords(p.invalid))
		switch {
		case p.held == nil:
			status.InForceSince = nil
		case status.InForceSince == nil:
			status.InForceSince = p.held.sinceTime()
		}
	} else {
		set(v1alpha1.ConditionValid, metav1.ConditionTrue, reasonValid, "")
		reason := reasonInForce
		message := p.held.describePolicy()
		if p.notifyOnly {
			reason = reasonNotifyOnly
			message = "notify-only: the watcher was installed with --notify-only and starts no rotation; " + message
		}
		set(v1alpha1.ConditionInForce, metav1.ConditionTrue, reason, message)
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
		known := before != nil && before.Status == metav1.ConditionTrue && before.ObservedGeneration == out.Generation
		if !known || status.InForceSince == nil { // a previous watcher may have put it in force
			status.InForceSince = p.held.sinceTime()
		}
	}
	if equality.Semantic.DeepEqual(out.Status, p.object.Status) {
		return nil
	}
	return out
}

// The reasons of the conditions.
const (
	reasonValid      = "Valid"
	reasonInvalid    = "Invalid"
	reasonInForce    = "InForce"
	reasonNotifyOnly = "NotifyOnly"
)

// invalidWords are the errors of a policy without the prefix for the log.
func invalidWords(err error) string {
	var found rotationpolicy.Errors
	if errors.As(err, &found) {
		return found.Error()
	}
	return hint.TextOf(err)
}

// clipMessage shortens a message to the maximum of a condition.
func clipMessage(message string) string {
	const most = 32000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}

// describeKept says which policy is in force while the object is invalid.
func (h *held) describeKept() string {
	switch {
	case h == nil:
		return "no policy is in force: the watcher is notify-only until this one is valid"
	case h.generation == 0:
		return "the defaults remain in force, as before there was a RotationPolicy"
	}
	return fmt.Sprintf("the policy before this change (generation %d) remains in force: %s", h.generation, h.describePolicy())
}

// describePolicy describes the policy in force.
func (h *held) describePolicy() string {
	const shown = 20
	text := "defaults"
	var names []string
	for _, r := range h.policy.Rules {
		names = append(names, fmt.Sprintf("%q", r.Name))
	}
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("and %d more", len(names)-shown))
	}
	if len(names) > 0 {
		text += ", rules " + strings.Join(names, ", ")
	}
	switch f := h.policy.Freeze; {
	case f.On && f.Until.IsZero():
		text += "; frozen"
	case f.On:
		text += "; frozen until " + f.Until.UTC().Format(time.RFC3339)
	}
	return text
}

func (h *held) sinceTime() *metav1.Time {
	at := metav1.NewTime(h.since.UTC().Truncate(time.Second))
	return &at
}
