package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// informerHandler passes objects on: nil for deleted ones, whose UID goes to gone, which may
// be nil.
func informerHandler(on func(name string, object client.Object), gone func(types.UID)) toolscache.ResourceEventHandler {
	pass := func(o any) {
		if object, ok := o.(client.Object); ok {
			on(object.GetName(), object)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: pass,
		UpdateFunc: func(before, o any) {
			pass(o)
			// An object that was deleted and created again during a reconnect is an update.
			old, _ := before.(client.Object)
			if now, ok := o.(client.Object); ok && old != nil && gone != nil && old.GetUID() != now.GetUID() {
				gone(old.GetUID())
			}
		},
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if object, ok := o.(client.Object); ok {
				on(object.GetName(), nil)
				if gone != nil {
					gone(object.GetUID())
				}
			}
		},
	}
}

// publisher publishes events. An event that cannot be published is logged; it is published
// again by the part that derives it from the objects.
type publisher struct {
	bus *bus.Bus
	log *slog.Logger
}

func (t publisher) Publish(data event.Data) (string, error) {
	if err := t.bus.Publish(data); err != nil {
		t.log.Error("publish event", "type", data.EventType(), "error", err)
		return "", err
	}
	return t.bus.EventID(data), nil
}

// receiveRequest creates the CertificateRotation of a rotation.requested.
func (w *watcher) receiveRequest(ctx context.Context, e event.Event) error {
	r, ok := e.Data.(event.RotationRequested)
	if !ok {
		return fmt.Errorf("%w: not a request", bus.ErrPoison)
	}
	return toBusError(w.decider.ReceiveRequest(ctx, r, e.ID, e.Time))
}

// receiveAsked creates the CertificateRotation that a user of another cluster has asked for.
func (w *watcher) receiveAsked(ctx context.Context, e event.Event) error {
	asked, ok := e.Data.(event.RotationAsked)
	if !ok {
		return fmt.Errorf("%w: no rotation is asked for", bus.ErrPoison)
	}
	return toBusError(w.decider.ReceiveAsked(ctx, asked, e.ID))
}

// answerOthers receives the requests of other clusters. An earlier watcher may have refused some: its
// answers are read first, as they were published.
func (w *watcher) answerOthers(ctx context.Context) error {
	if err := w.bus.WaitReady(ctx); err != nil {
		return nil //nolint:nilerr // the watcher ends
	}
	err := w.bus.ReplayAnswers(ctx, time.Now().Add(-v1alpha1.AnswersKept), w.decider.RestoreRefusal)
	if err != nil && ctx.Err() == nil {
		w.Log.Warn("earlier answers to other clusters are not in the summary", "error", err)
	}
	return w.bus.ReceiveAsked(ctx, w.receiveAsked)
}

// giveUp reports that an event is given up: to the other cluster, or in a Kubernetes Event.
func (w *watcher) giveUp(ctx context.Context, e event.Event, why error) {
	if asked, is := e.Data.(event.RotationAsked); is {
		w.decider.GiveUpAsked(ctx, asked, e.ID, givenUpReason(why))
		return
	}
	w.decider.GivenUp(ctx, e, why)
}

// givenUpReason is why a request of another cluster is given up, for that cluster. Texts of
// the API server are not shared.
func givenUpReason(why error) string {
	if reason := apierrors.ReasonForError(why); reason != metav1.StatusReasonUnknown {
		return fmt.Sprintf("its CertificateRotation could not be created (%s)", reason)
	}
	if errors.Is(why, bus.ErrPoison) {
		return bus.GivenUpReason(why)
	}
	return "it could not be handled, see the log of the watcher there"
}

// mayStart returns why a rotation must not start under the policy, once that is known.
func (w *watcher) mayStart(ctx context.Context, c *v1alpha1.CertificateRotation) (string, error) {
	if !w.awaitComplete(ctx) {
		return "", ctx.Err()
	}
	return w.decider.MayStart(ctx, c)
}

// receiveCompromised creates the CompromisedCertificate of a certificate.compromised.
func (w *watcher) receiveCompromised(ctx context.Context, e event.Event) error {
	return toBusError(w.decider.ReceiveCompromised(ctx, e))
}

// toBusError converts an error of the API server: the event is given up, put back, or tried
// until the API server is available.
func toBusError(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return fmt.Errorf("%w: %w", bus.ErrPoison, err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: %w", bus.ErrRetryLater, err)
}
