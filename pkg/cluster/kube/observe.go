package kube

import (
	"context"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// object is any API object.
type object interface {
	runtime.Object
	metav1.Object
}

// source lists and watches objects of one type, all or selected ones.
type source[T object] struct {
	list  func(context.Context, metav1.ListOptions) (items []T, resourceVersion string, err error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// observeAll calls see with the state of every object of the source, and again with every change,
// until see returns true (then the result is nil) or ctx ends (its error, with the last error
// of the API, if any). A deleted object is passed once more with deleted set. Errors of the API
// are retried, except a missing permission to list.
func observeAll[T object](ctx context.Context, s source[T], see func(o T, deleted bool) (done bool)) error {
	known := map[string]T{}
	pause := wait.Backoff{}
	for {
		done, err := observeOnce(ctx, s, known, see)
		if done {
			return nil
		}
		if apierrors.IsForbidden(err) && len(known) == 0 && pause.Tries > 6 {
			return err
		}
		if err == nil {
			pause = wait.Backoff{}
		}
		if waited := pause.WaitLonger(ctx); waited != nil {
			if err != nil && ctx.Err() != nil {
				return fmt.Errorf("%w (last error of the API: %w)", waited, err)
			}
			return waited
		}
	}
}

func observeOnce[T object](ctx context.Context, s source[T], known map[string]T, see func(T, bool) bool) (done bool, err error) {
	// A connection whose other end is not reachable looks like a watch without changes. Listing
	// everything again bounds how late a change is observed.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	items, version, err := s.list(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	listed := map[string]bool{}
	for _, o := range items {
		listed[objectKey(o)] = true
		known[objectKey(o)] = o
		if see(o, false) {
			return true, nil
		}
	}
	for k, o := range known {
		if !listed[k] {
			delete(known, k)
			if see(o, true) {
				return true, nil
			}
		}
	}
	w, err := s.watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case event, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			o, ok := event.Object.(T)
			if !ok {
				return false, apierrors.FromObject(event.Object)
			}
			deleted := event.Type == watch.Deleted
			if deleted {
				delete(known, objectKey(o))
			} else {
				known[objectKey(o)] = o
			}
			if see(o, deleted) {
				return true, nil
			}
		}
	}
}

// objectKey identifies an object, also among later ones of the same name.
func objectKey(o metav1.Object) string {
	return o.GetNamespace() + "/" + o.GetName() + "/" + string(o.GetUID())
}
