package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// handler passes on what an informer sees: objects as they are, nil for those deleted, and
// the uid of those to gone, which may be nil.
func handler(on func(name string, object client.Object), gone func(types.UID)) toolscache.ResourceEventHandler {
	pass := func(o any) {
		if object, ok := o.(client.Object); ok {
			on(object.GetName(), object)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: pass,
		UpdateFunc: func(before, o any) {
			pass(o)
			// An object that was deleted and made anew while nothing was watched is an update.
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

// teller publishes events; what cannot be published is logged, and told again by those
// who derive it from the objects.
type teller struct {
	bus *bus.Bus
	log *slog.Logger
}

func (t teller) Tell(data event.Data) (string, error) {
	if err := t.bus.Publish(data); err != nil {
		t.log.Error("publish event", "type", data.Type(), "error", err)
		return "", err
	}
	return t.bus.EventID(data), nil
}

// onRequest makes the object that a rotation.requested asks for.
func (w *watcher) onRequest(ctx context.Context, e event.Event) error {
	r, ok := e.Data.(event.RotationRequested)
	if !ok {
		return fmt.Errorf("%w: not a request", bus.ErrPoison)
	}
	return forBus(w.decider.Hear(ctx, r, e.ID, e.Time))
}

// mayStart asks whether a rotation may begin under the policy, once that is known.
func (w *watcher) mayStart(ctx context.Context, c *v1alpha1.CertificateRotation) (string, error) {
	if !w.complete(ctx) {
		return "", ctx.Err()
	}
	return w.decider.MayStart(ctx, c)
}

// onMark makes the object that a certificate.compromised stands for.
func (w *watcher) onMark(ctx context.Context, e event.Event) error {
	return forBus(w.decider.HearMark(ctx, e))
}

// forBus says what an error of the API server means for the message behind it: one that
// will never be taken, one that some right is missing for, or come back later.
func forBus(err error) error {
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
