package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// The types of Kubernetes Events.
const (
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)

// action is the action in Kubernetes Events.
const action = "Rotate"

// maxNote is the maximum length of the note of a Kubernetes Event.
const maxNote = 1024

// recordEvent writes a Kubernetes Event about an object, for "kubectl describe". Without a
// recorder it does nothing.
func recordEvent(to events.EventRecorder, about runtime.Object, kind, reason, message string) {
	if to == nil {
		return
	}
	if len(message) > maxNote {
		message = strings.ToValidUTF8(message[:maxNote-3], "") + "…"
	}
	to.Eventf(about, nil, kind, reason, action, "%s", message)
}

// recordNodeEvent writes a Kubernetes Event about a node. As in events of the kubelet, the
// name of the node stands for its UID.
func recordNodeEvent(to events.EventRecorder, node, kind, reason, message string) {
	about := &corev1.Node{}
	about.Name = node
	about.UID = types.UID(node)
	about.APIVersion = "v1"
	about.Kind = "Node"
	recordEvent(to, about, kind, reason, message)
}

func rotationOf(c *v1alpha1.CertificateRotation) event.Rotation {
	return event.Rotation{Name: c.Name, RotationID: c.Status.RotationID}
}

func keyOf(c client.Object) client.ObjectKey { return client.ObjectKeyFromObject(c) }

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
