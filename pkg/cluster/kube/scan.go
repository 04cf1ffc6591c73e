package kube

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// maxInventory bounds the output of a scan pod. A node with hundreds of certificates
// needs far less, and a compromised node cannot exhaust the memory of this process.
const maxInventory = 4 << 20

// Scanner scans nodes through short-lived, read-only pods.
type Scanner struct {
	Client   kubernetes.Interface
	Config   *rest.Config // to reach another API server; nil: Client is all there is
	Pods     PodOptions
	Parallel int // nodes at a time; 0: 16
	// Waiting is called for a node with a pod that takes long to start; may be nil.
	Waiting func(node, what string)
}

// Scan returns the inventories of the named nodes, in that order. A node that could not be
// scanned is an exclusion with the reason; an error means that ctx ended or that no pod could
// be created. The pods are removed in any case.
func (s *Scanner) Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.NotInspected, error) {
	return podReader[inventory.Node]{
		Scanner: s, parse: parseInventory,
		pod:  func(node, id string) *corev1.Pod { return ScanPod(node, id, s.Pods) },
		seen: func(n *inventory.Node, from, to time.Time) { n.Scanned = inventory.Scanned{From: from, To: to} },
	}.readNodes(ctx, nodes)
}

// Journals returns the journals of one rotation from the named nodes, as Scan returns
// inventories. A node that had no part in it has no records.
func (s *Scanner) Journals(ctx context.Context, nodes []string, rotation string) ([]nodeapi.Journal, []plan.NotInspected, error) {
	return podReader[nodeapi.Journal]{
		Scanner: s,
		parse:   func(output []byte, node string) (*nodeapi.Journal, error) { return parseLog(output, node, rotation) },
		pod:     func(node, id string) *corev1.Pod { return JournalPod(node, id, rotation, s.Pods) },
	}.readNodes(ctx, nodes)
}

// parseInventory reads a scan's output. It must be about the scanned node: a compromised node
// must not report for another one.
func parseInventory(output []byte, node string) (*inventory.Node, error) {
	found, err := oneDocument[inventory.Node](output, "inventory")
	switch {
	case err != nil:
		return nil, err
	case found.Name != node:
		return nil, fmt.Errorf("its inventory is of node %q", found.Name)
	}
	return found, nil
}

// parseLog reads a journal pod's output, which must be about that node and rotation.
func parseLog(output []byte, node, rotation string) (*nodeapi.Journal, error) {
	found, err := oneDocument[nodeapi.Journal](output, "journal")
	if err != nil {
		return nil, err
	}
	return found, found.CheckOrigin(node, rotation)
}

// oneDocument finds the one line of JSON in a node program's output.
func oneDocument[T any](output []byte, what string) (*T, error) {
	if len(output) > maxInventory {
		return nil, fmt.Errorf("its %s is larger than %d bytes", what, maxInventory)
	}
	var found *T
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, maxInventory+1)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue // the program's standard error
		}
		var document T
		if err := json.Unmarshal(lines.Bytes(), &document); err != nil {
			return nil, fmt.Errorf("its %s cannot be read: %w", what, err)
		}
		if found != nil {
			return nil, fmt.Errorf("it printed more than one %s", what)
		}
		found = &document
	}
	if found == nil {
		return nil, fmt.Errorf("it printed no %s", what)
	}
	return found, nil
}

// createPod creates a pod, and retries while the API server is unavailable. A refusal is a
// [*PodError]. A pod of an earlier attempt that got no response is returned.
func createPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (*corev1.Pod, error) {
	pods := client.CoreV1().Pods(pod.Namespace)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for pause := (wait.Backoff{}); ; {
		created, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err == nil {
			return created, nil
		}
		if apierrors.IsAlreadyExists(err) && pause.Tries > 0 {
			return pods.Get(ctx, pod.Name, metav1.GetOptions{})
		}
		if !isTransient(err) || pause.WaitLonger(ctx) != nil {
			return nil, refusedPod(pod.Spec.NodeName, pod.Namespace+"/"+pod.Name, pod.Namespace, err)
		}
	}
}

// isTransient reports whether an API request may succeed when it is repeated: it got no response,
// or one that asks for a retry.
func isTransient(err error) bool {
	if isInterrupted(err) {
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || (apierrors.IsInternalError(err) && !strings.Contains(err.Error(), "webhook")) ||
		code == 502 || code == 504
}

// removeScanPods deletes a scan pod, also when ctx has ended.
func (s *Scanner) removeScanPods(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait.RequestTimeout)
	defer cancel()
	now := int64(0)
	for pause := (wait.Backoff{}); ; {
		err := s.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		// A pod that cannot be deleted ends at its deadline, and the next run removes it.
		if err == nil || !isTransient(err) || pause.WaitLonger(ctx) != nil {
			return
		}
	}
}
