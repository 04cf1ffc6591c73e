package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// beforeRotation stands between the name of a holder and the id of its rotation.
const beforeRotation = " (rotation "

// HeldError means that another rotation holds the lock.
type HeldError struct {
	Holder string
	Since  time.Time
	Until  time.Time // when the Lease expires unless it is renewed
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("another rotation holds the lock: %s, since %s, until %s unless renewed",
		e.Holder, utcText(e.Since), utcText(e.Until))
}

// Hint returns the next step for an operator.
func (e *HeldError) Hint() string {
	return "wait until it has finished; if its process was killed, or you have ended it, add --take-over: " +
		"a node that has an order of the new holder refuses those of the previous one"
}

func utcText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// SplitHolder returns the name of the holder, and the id of its rotation; empty: it has none.
func (e *HeldError) SplitHolder() (name, rotation string) {
	name, rotation, _ = strings.Cut(strings.TrimSuffix(e.Holder, ")"), beforeRotation)
	return name, rotation
}

// Holder returns the holder of the cluster's lock, also where the Lease has expired; nil: it
// is free.
func Holder(ctx context.Context, client kubernetes.Interface) (*HeldError, error) {
	lease, err := client.CoordinationV1().Leases(LeaseNamespace).Get(ctx, LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
	}
	return holderOf(lease), nil
}

// holderOf returns the holder of the Lease; nil: it is free.
func holderOf(lease *coordinationv1.Lease) *HeldError {
	if lease == nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return nil
	}
	held := &HeldError{Holder: *lease.Spec.HolderIdentity}
	if t := lease.Spec.AcquireTime; t != nil {
		held.Since = t.Time
	}
	if t := lease.Spec.RenewTime; t != nil {
		duration := leaseDuration
		if s := lease.Spec.LeaseDurationSeconds; s != nil {
			duration = time.Duration(*s) * time.Second
		}
		held.Until = t.Add(duration)
	}
	return held
}
