package kube

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// PodError says why a node pod does not run.
type PodError struct {
	Node    string
	Pod     string // namespace/name
	Reason  string // such as "ImagePullBackOff" or "Forbidden"; may be empty
	Message string // of the registry, the admission plugin or the kubelet
	Next    string // the next step
	Err     error  // may be nil
}

func (e *PodError) Error() string {
	what := e.Message
	if e.Reason != "" && !strings.HasPrefix(what, e.Reason) {
		what = strings.TrimSuffix(e.Reason+": "+what, ": ")
	}
	return fmt.Sprintf("%s: pod %q: %s", e.Node, e.Pod, what)
}

func (e *PodError) Unwrap() error { return e.Err }

// Hint returns the next step; see package hint.
func (e *PodError) Hint() string { return e.Next }

const (
	hintImage = "can the node pull this image? --image names another, --image-pull-secret gives credentials; " +
		"without a registry load the archive on the node: ctr -n k8s.io images import rotate-certs-node.tar"
	hintPodSecurity = "node pods mount the host's files: name a namespace with the label " +
		"pod-security.kubernetes.io/enforce=privileged by --namespace"
	hintWebhook = "have the policy admit pods with the label app.kubernetes.io/name=rotate-certs, or name another namespace by --namespace; see docs/troubleshooting.md#admission"
	hintRBAC    = "ask an administrator for the permissions of docs/permissions.md"
	hintReach   = "can the API server reach this node's kubelet? kubectl logs needs the same; see docs/troubleshooting.md#kubelet-not-reachable"
	hintKubelet = "is the kubelet of this node running? systemctl status kubelet; see docs/troubleshooting.md#kubelet-not-running"
)

// hintRefuses returns the cause of a kubelet that refuses the API server, and its remedy.
func hintRefuses() string {
	return "the kubelet does not accept the client certificate of the API server, so that kubectl logs fails, too: " +
		"has apiserver-kubelet-client expired? as root on a control-plane node: " + version.NodeCommand("rotate --service kube-apiserver")
}

// refusedPod explains why the API server refused a pod.
func refusedPod(node, pod, namespace string, err error) *PodError {
	e := &PodError{Node: node, Pod: pod, Message: err.Error(), Err: err}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		e.Reason = string(status.Status().Reason)
		e.Message = status.Status().Message
	}
	text := e.Message
	switch {
	case strings.Contains(text, "violates PodSecurity"):
		e.Reason = "PodSecurity"
		e.Next = hintPodSecurity
	case strings.Contains(text, "admission webhook"), strings.Contains(text, "ValidatingAdmissionPolicy"),
		strings.Contains(text, "failed calling webhook"):
		e.Reason = "Admission"
		e.Next = hintWebhook
	case apierrors.IsNotFound(err) && strings.Contains(text, "namespaces"):
		e.Next = fmt.Sprintf("create the namespace (kubectl create namespace %s) or name another with --namespace", namespace)
	case strings.Contains(text, "exceeded quota"):
		e.Reason = "Quota"
		e.Next = "raise the namespace's ResourceQuota, or name another namespace with --namespace"
	case strings.Contains(text, "error looking up service account"):
		e.Next = fmt.Sprintf("namespace %q has no ServiceAccount \"default\" yet: is the controller manager running?", namespace)
	case strings.Contains(text, "cannot create resource"):
		e.Reason = "Forbidden"
		e.Next = hintRBAC
	}
	return e
}

// hintLog is the hint where a log cannot be read. The API server has accepted our credentials,
// since there is a pod: "unauthorized" comes from the kubelet, about the API server.
func hintLog(err error) string {
	if apierrors.IsUnauthorized(err) {
		return hintRefuses()
	}
	return hintReach
}
