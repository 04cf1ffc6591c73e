package kube

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const (
	// maxInventory bounds what is read from a scan pod: a node with hundreds of
	// certificates stays far below, and a hostile one cannot exhaust our memory.
	maxInventory = 4 << 20
	// cleanupTimeout bounds how long deleting pods may take after ctx has ended.
	cleanupTimeout = 15 * time.Second
)

// Scanner looks at nodes through short-lived pods that only read.
type Scanner struct {
	Client   kubernetes.Interface
	Pods     PodOptions
	Parallel int // nodes at a time; 0: 16
}

// Scan returns the inventories of the named nodes, in that order. A node that could
// not be looked at is an exclusion that says why; an error means that ctx ended or
// that nothing could be asked at all. The pods are removed in any case.
func (s *Scanner) Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.Exclusion, error) {
	if len(nodes) == 0 {
		return nil, nil, nil
	}
	id, err := newScanID()
	if err != nil {
		return nil, nil, err
	}
	watching := watchPods(ctx, s.Client, s.Pods.namespace(), LabelName+"="+appName+","+LabelRotation+"="+id)
	defer watching.stop()

	found := make([]*inventory.Node, len(nodes))
	failed := make([]error, len(nodes))
	parallel := s.Parallel
	if parallel <= 0 {
		parallel = 16
	}
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], failed[i] = s.scanNode(ctx, watching, node, id)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("scan nodes: %w", err)
	}
	var inventories []inventory.Node
	var excluded []plan.Exclusion
	for i, node := range nodes {
		if failed[i] != nil {
			excluded = append(excluded, plan.Exclusion{Node: node, NotInspected: inventory.NotInspected{Reason: reason(failed[i], node)}})
			continue
		}
		inventories = append(inventories, *found[i])
	}
	return inventories, excluded, nil
}

// reason is an error as the reason of an exclusion, which names the node itself.
func reason(err error, node string) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), node+": "), "\n", "; ")
}

func (s *Scanner) scanNode(ctx context.Context, watching *podWatch, node, id string) (*inventory.Node, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	pod := ScanPod(node, id, s.Pods)
	// Even a failed creation may have created it: the answer can get lost.
	defer s.remove(ctx, pod)
	created, err := createPod(ctx, s.Client, pod)
	if err != nil {
		return nil, err
	}
	state, err := watching.until(ctx, created, func(p *corev1.Pod) bool { return running(p) || ended(p) })
	if err != nil {
		return nil, err
	}
	if !ended(state) {
		// A scan takes a moment, and the kubelet more than a second to report its end.
		if found := s.readAlong(ctx, state); found != nil {
			return found, nil
		}
		if state, err = watching.until(ctx, created, ended); err != nil {
			return nil, err
		}
	}
	return s.read(ctx, state)
}

// readAlong reads the inventory while the pod runs; nil where that does not work out.
func (s *Scanner) readAlong(ctx context.Context, pod *corev1.Pod) *inventory.Node {
	ctx, cancel := context.WithTimeout(ctx, scanDeadline)
	defer cancel()
	log, err := s.log(ctx, pod, true)
	if err != nil {
		return nil
	}
	found, err := parseInventory(log, pod.Spec.NodeName)
	if err != nil {
		return nil
	}
	return found
}

// read takes the inventory from the log of a pod that has ended.
func (s *Scanner) read(ctx context.Context, pod *corev1.Pod) (*inventory.Node, error) {
	name := pod.Namespace + "/" + pod.Name
	var log []byte
	pause := backoff{}
	for {
		var err error
		log, err = s.log(ctx, pod, false)
		if err == nil && (pod.Status.Phase == corev1.PodFailed || bytes.IndexByte(log, '\n') >= 0) {
			break
		}
		// The log of a container that ended a moment ago may not be complete yet.
		if pause.tries >= 4 && err == nil {
			break
		}
		if pause.tries >= 4 {
			return nil, &PodError{Node: pod.Spec.NodeName, Pod: name, Reason: "NoLog", Message: err.Error(), Err: err,
				Hint: "can the API server reach this node's kubelet? kubectl logs needs the same"}
		}
		if err := pause.wait(ctx); err != nil {
			return nil, err
		}
	}
	node, err := parseInventory(log, pod.Spec.NodeName)
	if err == nil {
		return node, nil
	}
	if pod.Status.Phase == corev1.PodFailed {
		err = fmt.Errorf("the scan failed: %s", failure(pod, log))
	}
	return nil, &PodError{Node: pod.Spec.NodeName, Pod: name, Message: err.Error(), Err: err}
}

// log reads a pod's log, with follow until the pod's end.
func (s *Scanner) log(ctx context.Context, pod *corev1.Pod, follow bool) ([]byte, error) {
	limit := int64(maxInventory) + 1
	stream, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: containerName, LimitBytes: &limit, Follow: follow,
	}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = stream.Close() }()
	log, err := io.ReadAll(io.LimitReader(stream, limit))
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return log, nil
}

// parseInventory finds the one line of JSON in a scan's output. What it says must be
// about the node that was asked: one node must not speak for another.
func parseInventory(log []byte, node string) (*inventory.Node, error) {
	if len(log) > maxInventory {
		return nil, fmt.Errorf("its inventory is larger than %d bytes", maxInventory)
	}
	var found *inventory.Node
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, maxInventory+1)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue // what the program said on standard error
		}
		var n inventory.Node
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return nil, fmt.Errorf("its inventory cannot be read: %w", err)
		}
		if found != nil {
			return nil, errors.New("it printed two inventories")
		}
		found = &n
	}
	switch {
	case found == nil:
		return nil, errors.New("it printed no inventory")
	case found.Name != node:
		return nil, fmt.Errorf("its inventory claims to be of node %q", found.Name)
	}
	return found, nil
}

// failure is how a node program ended, in its own words.
func failure(pod *corev1.Pod, log []byte) string {
	for _, c := range statuses(pod) {
		if t := c.State.Terminated; t != nil {
			return fmt.Sprintf("%s (exit code %d)", lastLine(string(log)), t.ExitCode)
		}
	}
	return strings.TrimSuffix(pod.Status.Reason+": "+pod.Status.Message, ": ")
}

// createPod creates a pod, waiting out an API server that is away for a moment. A
// refusal is a [*PodError]. Where the answer to an earlier try got lost and the pod
// is there already, it is returned.
func createPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (*corev1.Pod, error) {
	pods := client.CoreV1().Pods(pod.Namespace)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for pause := (backoff{}); ; {
		created, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err == nil {
			return created, nil
		}
		if apierrors.IsAlreadyExists(err) && pause.tries > 0 {
			return pods.Get(ctx, pod.Name, metav1.GetOptions{})
		}
		if !transient(err) || pause.wait(ctx) != nil {
			return nil, refused(pod.Spec.NodeName, pod.Namespace+"/"+pod.Name, pod.Namespace, err)
		}
	}
}

// transient says whether an API request may succeed when it is made again: no answer,
// or one that says "later".
func transient(err error) bool {
	if interrupted(err) {
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

// remove deletes a scan pod, also when ctx has ended.
func (s *Scanner) remove(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	now := int64(0)
	for pause := (backoff{}); ; {
		err := s.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		// Whatever cannot be deleted ends by its deadline, and the next run removes it.
		if err == nil || !transient(err) || pause.wait(ctx) != nil {
			return
		}
	}
}

func newScanID() (string, error) {
	var b [5]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a scan id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
