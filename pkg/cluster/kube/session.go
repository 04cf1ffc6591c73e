package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

var _ fleet.Session = (*Session)(nil)

// Session communicates with the rotation pod of one node. Connections into the pod break
// whenever an API server or the node's kubelet restarts; the pod's process continues.
type Session struct {
	client   kubernetes.Interface
	config   *rest.Config // may be nil
	run      runner
	pod      *corev1.Pod
	rotation string
	isOver   func() // called when the process has written its last record; may be nil

	ending int64 // the token of the order to end that was delivered; 0: none was
}

// Order delivers an order. It retries until ctx ends or the node refuses it; the node carries
// out an order once, however often it is delivered.
func (s *Session) Order(ctx context.Context, o nodeapi.Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order %q: %w", o.Kind, err)
	}
	out, err := s.callCommand(ctx, 0, append(body, '\n'), nodeapi.CommandOrder, "--rotation="+s.rotation)
	if err != nil {
		return fmt.Errorf("deliver order %q: %w", o.Kind, err)
	}
	var answer struct {
		Accepted bool   `json:"accepted"`
		Error    string `json:"error"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || !answer.Accepted {
		return fmt.Errorf("deliver order %q: %s: unexpected answer %q", o.Kind, s.pod.Spec.NodeName, clipOutput(out))
	}
	if o.Kind == nodeapi.OrderFinish || o.Kind == nodeapi.OrderAbandon {
		s.ending = o.Token
	}
	return nil
}

// Health returns the health of etcd, the node's API server and those of other nodes.
func (s *Session) Health(ctx context.Context, peers []inventory.Peer) (inventory.Health, error) {
	var args []string
	for _, p := range peers {
		args = append(args, "--other="+p.Node+"="+p.Address)
	}
	out, err := s.callCommand(ctx, 3, nil, nodeapi.CommandHealth, args...)
	if err != nil {
		return inventory.Health{}, fmt.Errorf("read health: %w", err)
	}
	var h inventory.Health
	if err := json.Unmarshal(out, &h); err != nil {
		return inventory.Health{}, fmt.Errorf("read health: %s: unexpected answer %q: %w", s.pod.Spec.NodeName, clipOutput(out), err)
	}
	if h.Node != s.pod.Spec.NodeName {
		return inventory.Health{}, fmt.Errorf("read health: %s: its answer is of node %q", s.pod.Spec.NodeName, h.Node)
	}
	h.Others = slices.DeleteFunc(h.Others, func(other inventory.PeerHealth) bool {
		return !slices.ContainsFunc(peers, func(p inventory.Peer) bool { return p.Node == other.Node })
	})
	return h, nil
}

// Follow passes records with Seq > after to fn, in order and once each, until the
// process has ended (nil) or the connection breaks (an error: call again). An error
// of fn ends it and is returned as it is.
func (s *Session) Follow(ctx context.Context, after int64, fn func(nodeapi.Record) error) error {
	deliver := func(line []byte) error { return s.deliverRecord(line, &after, fn) }
	err := streamOutput(ctx, s.run, s.newCommand(nil, nodeapi.CommandFollow, "--rotation="+s.rotation, "--after="+strconv.FormatInt(after, 10)), deliver)
	var mine *recordError
	switch {
	case err == nil:
		// The stream also ends without an error when the kubelet is stopped. Only the pod's
		// status shows whether its process has ended.
		err = errClosed
	case errors.As(err, &mine):
		return mine.err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	pod, deleted := s.podState(ctx)
	switch {
	case deleted:
		return nil
	case pod != nil && hasEnded(pod):
		// No command can run in it any more, but its log has its records, too.
		if err := s.replayLog(ctx, deliver); err != nil {
			if errors.As(err, &mine) {
				return mine.err
			}
			return fmt.Errorf("read the records of %s: %w", s.pod.Spec.NodeName, err)
		}
		return nil
	}
	return fmt.Errorf("follow %s: %w", s.pod.Spec.NodeName, s.namedError(err, nodeapi.CommandFollow))
}

// errClosed means that a stream ended without an error but without a complete output, as when
// a kubelet stops.
var errClosed = errors.New("the connection was closed")

// recordError marks an error of the function that receives the records.
type recordError struct{ err error }

func (e *recordError) Error() string { return e.err.Error() }

// deliverRecord passes a record on, if it is new.
func (s *Session) deliverRecord(line []byte, after *int64, fn func(nodeapi.Record) error) error {
	var r nodeapi.Record
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("unreadable record %q: %w", clipOutput(line), err)
	}
	if r.Node != s.pod.Spec.NodeName || r.Rotation != s.rotation {
		return fmt.Errorf("a record is of node %q in rotation %q", r.Node, r.Rotation)
	}
	if r.Seq <= *after {
		return nil
	}
	*after = r.Seq
	// Records of an earlier process on this node may have the same kind.
	if s.isOver != nil && s.ending != 0 && r.Token == s.ending && (r.Kind == nodeapi.Finished || r.Kind == nodeapi.Abandoned) {
		s.isOver()
	}
	if err := fn(r); err != nil {
		return &recordError{err}
	}
	return nil
}

// replayLog reads the records of an ended pod from its log.
func (s *Session) replayLog(ctx context.Context, deliver func(line []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	log, err := viaNewConnection(s.client, s.config).CoreV1().Pods(s.pod.Namespace).GetLogs(s.pod.Name, &corev1.PodLogOptions{Container: containerName}).Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	w := &lineWriter{fn: func(line []byte) error {
		if line[0] != '{' {
			return nil // standard error is in the same log
		}
		return deliver(line)
	}}
	return copyLines(w, log)
}

// podState reads the pod: nil where that fails, deleted where it is deleted.
func (s *Session) podState(ctx context.Context) (pod *corev1.Pod, deleted bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pod, err := s.client.CoreV1().Pods(s.pod.Namespace).Get(ctx, s.pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, true
	case err != nil:
		return nil, false
	}
	return pod, pod.UID != s.pod.UID
}

// callCommand runs a short command in the pod and returns its standard output. A broken connection is
// retried, tries times in all or, with 0, until ctx ends.
func (s *Session) callCommand(ctx context.Context, tries int, stdin []byte, verb string, args ...string) ([]byte, error) {
	pause := backoff{}
	for {
		out, err := s.callOnce(ctx, stdin, verb, args...)
		if err == nil {
			return out, nil
		}
		var failed *CommandError
		if errors.As(err, &failed) {
			return nil, s.namedError(err, verb)
		}
		if pod, deleted := s.podState(ctx); deleted || (pod != nil && hasEnded(pod)) {
			return nil, s.overError(pod)
		}
		if tries > 0 && pause.tries+1 >= tries {
			return nil, fmt.Errorf("%s: %w", s.pod.Spec.NodeName, err)
		}
		if waited := pause.waitLonger(ctx); waited != nil {
			return nil, fmt.Errorf("%s: %w (last connection: %w)", s.pod.Spec.NodeName, waited, err)
		}
	}
}

func (s *Session) callOnce(ctx context.Context, stdin []byte, verb string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var out []byte
	c := s.newCommand(stdin, verb, args...)
	err := streamOutput(ctx, s.run, c, func(line []byte) error {
		out = bytes.Clone(line)
		return nil
	})
	if err == nil && len(out) == 0 {
		return nil, errClosed // every verb answers with a line
	}
	return out, err
}

func (s *Session) newCommand(stdin []byte, verb string, args ...string) command {
	c := command{namespace: s.pod.Namespace, pod: s.pod.Name,
		args: append([]string{nodeProgram, verb, "--root=" + hostRoot, "--node-name=" + s.pod.Spec.NodeName}, args...)}
	if stdin != nil {
		c.stdin = bytes.NewReader(stdin)
	}
	return c
}

// namedError puts node and verb into a command's error.
func (s *Session) namedError(err error, verb string) error {
	var failed *CommandError
	if errors.As(err, &failed) {
		failed.Node = s.pod.Spec.NodeName
		failed.Verb = verb
	}
	return err
}

// overError is the error of a request to a pod that has ended or is deleted.
func (s *Session) overError(pod *corev1.Pod) error {
	e := &PodError{Node: s.pod.Spec.NodeName, Pod: s.pod.Namespace + "/" + s.pod.Name, Reason: "Deleted", Message: "it was deleted",
		Hint: "the same command continues this rotation"}
	if pod != nil {
		e.Reason = "Ended"
		e.Message = failureText(pod, nil)
	}
	return e
}

// clipOutput shortens output of a node for an error.
func clipOutput(b []byte) string {
	const most = 200
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
