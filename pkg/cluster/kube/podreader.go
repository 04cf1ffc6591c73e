package kube

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// podReader reads one document from each node by a read-only pod that prints it.
type podReader[T any] struct {
	*Scanner
	pod   func(node, id string) *corev1.Pod
	parse func(output []byte, node string) (*T, error)
	// seen is called with the moments between which a document was made; may be nil.
	seen func(found *T, from, to time.Time)
}

// readNodes reads the named nodes concurrently.
func (s podReader[T]) readNodes(ctx context.Context, nodes []string) ([]T, []plan.NotInspected, error) {
	if len(nodes) == 0 {
		return nil, nil, nil
	}
	id := strings.ToLower(rand.Text())
	watching := watchPods(ctx, s.Client, s.Pods.podNamespace(), LabelName+"="+appName+","+LabelRotation+"="+id)
	defer watching.stopWatch()

	found := make([]*T, len(nodes))
	failed := make([]error, len(nodes))
	parallel := s.Parallel
	if parallel <= 0 {
		parallel = 16
	}
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	all.Go(func() { removeEndedScans(ctx, s.Client, s.Pods.podNamespace(), id) })
	for i, node := range nodes {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			from := time.Now()
			found[i], failed[i] = s.readNode(ctx, watching, node, id)
			if found[i] != nil && s.seen != nil {
				s.seen(found[i], from, time.Now())
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("scan nodes: %w", err)
	}
	var out []T
	var excluded []plan.NotInspected
	for i, node := range nodes {
		if failed[i] != nil {
			excluded = append(excluded, plan.NotInspected{Node: node, Reason: exclusionReason(failed[i], node)})
			continue
		}
		out = append(out, *found[i])
	}
	return out, excluded, nil
}

// exclusionReason is an error as the reason of an exclusion, without the node's name.
func exclusionReason(err error, node string) string {
	return strings.ReplaceAll(strings.TrimPrefix(hint.TextOf(err), node+": "), "\n", "; ")
}

func (s podReader[T]) readNode(ctx context.Context, watching *podWatch, node, id string) (*T, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	pod := s.pod(node, id)
	// A failed request may have created the pod: its response can get lost.
	defer s.removeScanPods(ctx, pod)
	created, err := createPod(ctx, s.Client, pod)
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(10*time.Second, func() {
		if s.Waiting != nil {
			s.Waiting(node, fmt.Sprintf("its kubelet has not started the scan pod yet; waiting up to %s", silentTimeout))
		}
	})
	state, err := watching.waitUntil(ctx, created, func(p *corev1.Pod) bool { return isRunning(p) || hasEnded(p) })
	slow.Stop()
	if err != nil {
		return nil, err
	}
	if !hasEnded(state) {
		// A scan takes a moment, and the kubelet more than a second to report its end, and
		// up to another one to end the log [measured].
		if found := s.readAlong(ctx, state); found != nil {
			return found, nil
		}
		if state, err = watching.waitUntil(ctx, created, hasEnded); err != nil {
			return nil, err
		}
	}
	return s.readPod(ctx, state)
}

// readAlong reads the output while the pod runs, until the document is complete. It returns
// nil where that fails.
func (s podReader[T]) readAlong(ctx context.Context, pod *corev1.Pod) *T {
	ctx, cancel := context.WithTimeout(ctx, scanDeadline)
	defer cancel()
	var found *T
	_, err := s.readLog(ctx, s.Client, pod, true, func(line []byte) bool {
		if line[0] != '{' {
			return false // the program's standard error
		}
		document, err := s.parse(line, pod.Spec.NodeName)
		if err == nil {
			found = document
		}
		return true
	})
	if err != nil {
		return nil
	}
	return found
}

// readPod takes the output from the log of a pod that has ended.
func (s podReader[T]) readPod(ctx context.Context, pod *corev1.Pod) (*T, error) {
	name := pod.Namespace + "/" + pod.Name
	var log []byte
	client := s.Client
	pause := wait.Backoff{}
	for {
		var err error
		log, err = s.readLog(ctx, client, pod, false, nil)
		if err == nil && (pod.Status.Phase == corev1.PodFailed || bytes.IndexByte(log, '\n') >= 0) {
			break
		}
		// The log of a container that ended a moment ago may not be complete yet.
		if pause.Tries >= 4 && err == nil {
			break
		}
		if pause.Tries >= 4 {
			return nil, &PodError{Node: pod.Spec.NodeName, Pod: name, Reason: "NoLog", Message: err.Error(), Err: err, Next: hintLog(err)}
		}
		if err != nil {
			client = viaNewConnection(s.Client, s.Config)
		}
		if err := pause.WaitLonger(ctx); err != nil {
			return nil, err
		}
	}
	document, err := s.parse(log, pod.Spec.NodeName)
	if err == nil {
		return document, nil
	}
	if pod.Status.Phase == corev1.PodFailed {
		err = fmt.Errorf("the scan failed: %w", failureOf(pod, log))
	}
	return nil, &PodError{Node: pod.Spec.NodeName, Pod: name, Message: err.Error(), Err: err}
}

// readLog reads a pod's log: as it is, or with follow until enough returns true for a line or the
// pod ends. enough may be nil.
func (s *Scanner) readLog(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, follow bool, enough func(line []byte) bool) ([]byte, error) {
	limit := int64(maxInventory) + 1
	stream, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: containerName, LimitBytes: &limit, Follow: follow,
	}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = stream.Close() }()
	var log []byte
	lines := bufio.NewReader(io.LimitReader(stream, limit))
	for {
		line, err := lines.ReadBytes('\n')
		log = append(log, line...)
		switch {
		case errors.Is(err, io.EOF), err == nil && enough != nil && enough(line):
			return log, nil
		case err != nil:
			return nil, fmt.Errorf("read log: %w", err)
		}
	}
}

// failureOf is the last error that a node program printed, and its exit code.
func failureOf(pod *corev1.Pod, log []byte) error {
	for _, c := range containerStatuses(pod) {
		if t := c.State.Terminated; t != nil {
			return fmt.Errorf("%w (exit code %d)", hint.LastError(string(log)), t.ExitCode)
		}
	}
	return errors.New(strings.TrimSuffix(pod.Status.Reason+": "+pod.Status.Message, ": "))
}
