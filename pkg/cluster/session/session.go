// Package session communicates with the process of a rotation on a node: it delivers orders,
// follows the node's journal and asks for the node's health. How a command reaches the node is
// a [Process]'s matter: package kube runs it in a pod, package ssh on the host.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Command is one command of the node program, and where its streams go.
type Command struct {
	Args           []string  // the first is one of the commands of package nodeapi
	Stdin          io.Reader // may be nil
	Stdout, Stderr io.Writer
}

// Runner runs a command on a node until it ends. The error of one that ran and failed is an
// [*ExitError].
type Runner func(ctx context.Context, c Command) error

// Process is the process of a rotation on a node.
type Process interface {
	// Run runs another process of the node program beside it.
	Run(ctx context.Context, c Command) error
	// Ended returns how it ended; nil: it still runs, or cannot be asked.
	Ended(ctx context.Context) *Ended
}

// Ended is a process that has ended.
type Ended struct {
	Err error // for an order that can no longer be delivered
	// Replay passes the lines that it has written to deliver; nil: there are none.
	Replay func(ctx context.Context, deliver func(line []byte) error) error
}

var _ fleet.Session = (*Session)(nil)

// Session is a connection to the process of a rotation on a node. Connections break whenever an
// API server, a kubelet or a network does; the process continues.
type Session struct {
	Node, Rotation string
	Process        Process
	// Closes means that a followed stream ends without an error only when the process has
	// ended.
	Closes bool
	// OnLast is called when the process has written its last record; may be nil.
	OnLast func()

	ending int64 // the token of the order to end that was delivered; 0: none was
}

// Order delivers an order. It retries until ctx ends or the node refuses it; the node carries
// out an order once, however often it is delivered.
func (s *Session) Order(ctx context.Context, o nodeapi.Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order %q: %w", o.Kind, err)
	}
	out, err := s.callCommand(ctx, 0, append(body, '\n'), nodeapi.CommandOrder, "--rotation="+s.Rotation)
	if err != nil {
		return fmt.Errorf("deliver order %q: %w", o.Kind, err)
	}
	var answer struct {
		Accepted bool   `json:"accepted"`
		Error    string `json:"error"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || !answer.Accepted {
		return fmt.Errorf("deliver order %q: %s: unexpected answer %q", o.Kind, s.Node, clipOutput(out))
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
		return inventory.Health{}, fmt.Errorf("read health: %s: unexpected answer %q: %w", s.Node, clipOutput(out), err)
	}
	if h.Node != s.Node {
		return inventory.Health{}, fmt.Errorf("read health: %s: its answer is of node %q", s.Node, h.Node)
	}
	h.Others = slices.DeleteFunc(h.Others, func(other inventory.PeerHealth) bool {
		return !slices.ContainsFunc(peers, func(p inventory.Peer) bool { return p.Node == other.Node })
	})
	return h, nil
}

// Sign has the node sign another node's certificate with the key of a CA that it has.
func (s *Session) Sign(ctx context.Context, r nodeapi.SignRequest) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	out, err := s.callCommand(ctx, 0, append(body, '\n'), nodeapi.CommandSign, "--rotation="+s.Rotation)
	if err != nil {
		return nil, fmt.Errorf("have a certificate signed: %w", err)
	}
	var answer nodeapi.SignAnswer
	if err := json.Unmarshal(out, &answer); err != nil || answer.PEM == "" {
		return nil, fmt.Errorf("have a certificate signed: %s: unexpected answer %q", s.Node, clipOutput(out))
	}
	return []byte(answer.PEM), nil
}

// Follow passes records with Seq > after to fn, in order and once each, until the
// process has ended (nil) or the connection breaks (an error: call again). An error
// of fn ends it and is returned as it is.
func (s *Session) Follow(ctx context.Context, after int64, fn func(nodeapi.Record) error) error {
	deliver := func(line []byte) error { return s.deliverRecord(line, &after, fn) }
	err := StreamOutput(ctx, s.Process.Run, s.newCommand(nil, nodeapi.CommandFollow, "--rotation="+s.Rotation, "--after="+strconv.FormatInt(after, 10)), deliver)
	var mine *recordError
	switch {
	case err == nil && s.Closes:
		return nil
	case err == nil:
		// The stream also ends without an error when the kubelet is stopped. Only the process
		// itself shows whether it has ended.
		err = errClosed
	case errors.As(err, &mine):
		return mine.err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if ended := s.Process.Ended(ctx); ended != nil {
		return s.replayRecords(ctx, ended, deliver)
	}
	return fmt.Errorf("follow %s: %w", s.Node, s.namedError(err, nodeapi.CommandFollow))
}

// replayRecords passes on the records of a process that has ended: no command can read them
// any more.
func (s *Session) replayRecords(ctx context.Context, ended *Ended, deliver func(line []byte) error) error {
	if ended.Replay == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	err := ended.Replay(ctx, deliver)
	var mine *recordError
	switch {
	case errors.As(err, &mine):
		return mine.err
	case err != nil:
		return fmt.Errorf("read the records of %s: %w", s.Node, err)
	}
	return nil
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
	if r.Node != s.Node || r.Rotation != s.Rotation {
		return fmt.Errorf("a record is of node %q in rotation %q", r.Node, r.Rotation)
	}
	if r.Seq <= *after {
		return nil
	}
	*after = r.Seq
	// Records of an earlier process on this node may have the same kind.
	if s.OnLast != nil && s.ending != 0 && r.Token == s.ending && (r.Kind == nodeapi.Finished || r.Kind == nodeapi.Abandoned) {
		s.OnLast()
	}
	if err := fn(r); err != nil {
		return &recordError{err}
	}
	return nil
}

// callCommand runs a short command and returns its standard output. A broken connection is
// retried, tries times in all or, with 0, until ctx ends.
func (s *Session) callCommand(ctx context.Context, tries int, stdin []byte, verb string, args ...string) ([]byte, error) {
	pause := wait.Backoff{}
	for {
		out, err := s.callOnce(ctx, stdin, verb, args...)
		if err == nil {
			return out, nil
		}
		var failed *CommandError
		if errors.As(err, &failed) {
			return nil, s.namedError(err, verb)
		}
		if ended := s.Process.Ended(ctx); ended != nil {
			return nil, ended.Err
		}
		if tries > 0 && pause.Tries+1 >= tries {
			return nil, fmt.Errorf("%s: %w", s.Node, err)
		}
		if waited := pause.WaitLonger(ctx); waited != nil {
			return nil, fmt.Errorf("%s: %w (last connection: %w)", s.Node, waited, err)
		}
	}
}

func (s *Session) callOnce(ctx context.Context, stdin []byte, verb string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	var out []byte
	c := s.newCommand(stdin, verb, args...)
	err := StreamOutput(ctx, s.Process.Run, c, func(line []byte) error {
		out = bytes.Clone(line)
		return nil
	})
	if err == nil && len(out) == 0 {
		return nil, errClosed // every verb answers with a line
	}
	return out, err
}

func (s *Session) newCommand(stdin []byte, verb string, args ...string) Command {
	c := Command{Args: append([]string{verb, "--node-name=" + s.Node}, args...)}
	if stdin != nil {
		c.Stdin = bytes.NewReader(stdin)
	}
	return c
}

// namedError puts node and verb into a command's error.
func (s *Session) namedError(err error, verb string) error {
	var failed *CommandError
	if errors.As(err, &failed) {
		failed.Node = s.Node
		failed.Verb = verb
	}
	return err
}

// clipOutput shortens output of a node for an error.
func clipOutput(b []byte) string {
	const most = 200
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
