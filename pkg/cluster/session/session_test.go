package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// process is one whose commands go to run; ended is nil while it runs.
type process struct {
	run   Runner
	ended *Ended
}

func (p process) Run(ctx context.Context, c Command) error { return p.run(ctx, c) }
func (p process) Ended(context.Context) *Ended             { return p.ended }

// newSession is a session with a process on cp1.
func newSession(p process) *Session {
	return &Session{Node: "cp1", Rotation: "7f3c2a", Process: p}
}

// answers runs one function after the other, the last one for ever.
func answers(fns ...Runner) (run Runner, asked *int) {
	n := 0
	return func(ctx context.Context, c Command) error {
		f := fns[min(n, len(fns)-1)]
		n++
		return f(ctx, c)
	}, &n
}

func says(text string) Runner {
	return func(_ context.Context, c Command) error {
		_, err := io.WriteString(c.Stdout, text)
		return err
	}
}

func fails(err error) Runner {
	return func(context.Context, Command) error { return err }
}

func hangs(ctx context.Context, _ Command) error {
	<-ctx.Done()
	return ctx.Err()
}

func exits(code int, words string) Runner {
	return func(_ context.Context, c Command) error {
		_, _ = io.WriteString(c.Stderr, words)
		return &ExitError{Code: code}
	}
}

var errBroken = errors.New("websocket: close 1006 (abnormal closure): unexpected EOF")

func TestOrderIsRetriedUntilItIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodies []string
		taken := func(_ context.Context, c Command) error {
			body, err := io.ReadAll(c.Stdin)
			require.NoError(t, err)
			bodies = append(bodies, string(body))
			assert.Equal(t, "order --node-name=cp1 --rotation=7f3c2a", strings.Join(c.Args, " "))
			_, err = io.WriteString(c.Stdout, `{"accepted":true}`+"\n")
			return err
		}
		run, asked := answers(fails(errBroken), hangs, exits(137, ""), taken)
		s := newSession(process{run: run})
		require.NoError(t, s.Order(t.Context(), nodeapi.Order{Kind: nodeapi.OrderCommit, Rotation: "7f3c2a", Token: 5}))
		assert.Equal(t, 4, *asked)
		require.Len(t, bodies, 1)
		assert.Equal(t, byte('\n'), bodies[0][len(bodies[0])-1])
		var o nodeapi.Order
		require.NoError(t, json.Unmarshal([]byte(bodies[0]), &o))
		assert.Equal(t, int64(5), o.Token)
	})
}

func TestUndeliverableOrderIsAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		run   Runner
		ended *Ended
		want  string
		after time.Duration // at most
	}{
		"refused by the node":          {run: exits(1, "error: token 3 is older than 5\n"), want: `cp1: "order" failed with code 1: error: token 3 is older than 5`, after: time.Second},
		"an answer that is none":       {run: says("hello\n"), want: `unexpected answer "hello"`, after: time.Second},
		"interrupted, until ctx ends":  {run: says(""), want: "the connection was closed", after: time.Minute},
		"not accepted":                 {run: says(`{"accepted":false}` + "\n"), want: "unexpected answer", after: time.Second},
		"never reached, until ctx end": {run: fails(errBroken), want: "abnormal closure", after: time.Minute},
		"its process has ended":        {run: fails(errBroken), ended: &Ended{Err: errors.New("exit code 0")}, want: "exit code 0", after: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession(process{tc.run, tc.ended})
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				began := time.Now()
				err := s.Order(ctx, nodeapi.Order{Kind: nodeapi.OrderCommit})
				require.ErrorContains(t, err, tc.want)
				assert.LessOrEqual(t, time.Since(began), tc.after)
			})
		})
	}
}

func TestHealth(t *testing.T) {
	for name, tc := range map[string]struct {
		run  Runner
		want string // of the error
	}{
		"healthy": {says(`{"node":"cp1","etcd":{"members":[],"leaderID":3,"localID":0}}` + "\n"), ""},
		"after a broken connection": {func() Runner {
			run, _ := answers(fails(errBroken), fails(errBroken), says(`{"node":"cp1"}`+"\n"))
			return run
		}(), ""},
		"a node that cannot be reached": {fails(errBroken), "abnormal closure"},
		"an answer about another node":  {says(`{"node":"cp2"}` + "\n"), `is of node "cp2"`},
		"nonsense":                      {says("[]\n"), "unexpected answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession(process{run: tc.run})
				h, err := s.Health(t.Context(), nil)
				if tc.want != "" {
					require.ErrorContains(t, err, tc.want)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, "cp1", h.Node)
			})
		})
	}
}

func TestSign(t *testing.T) {
	for name, tc := range map[string]struct {
		run  Runner
		want string // of the error
	}{
		"signed": {says(`{"pem":"a chain"}` + "\n"), ""},
		"after a broken connection": {func() Runner {
			run, _ := answers(fails(errBroken), says(`{"pem":"a chain"}`+"\n"))
			return run
		}(), ""},
		"no certificate": {says("{}\n"), "unexpected answer"},
		"nonsense":       {says("[]\n"), "unexpected answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession(process{run: tc.run})
				pem, err := s.Sign(t.Context(), nodeapi.SignRequest{Node: "w1"})
				if tc.want != "" {
					require.ErrorContains(t, err, tc.want)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, "a chain", string(pem))
			})
		})
	}
}

func TestHealthOfOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var args []string
		s := newSession(process{run: func(ctx context.Context, c Command) error {
			args = c.Args
			return says(`{"node":"cp1","others":[{"node":"cp2","address":"x","healthy":true},{"node":"cp3","address":"x","healthy":true}]}`+"\n")(ctx, c)
		}})
		h, err := s.Health(t.Context(), []inventory.Peer{{Node: "cp2", Address: "10.0.0.2:6443"}})
		require.NoError(t, err)
		assert.Contains(t, args, "--other=cp2=10.0.0.2:6443")
		require.Len(t, h.Others, 1, "cp3 was not requested")
		assert.True(t, h.Others[0].Healthy)
	})
}

// records are lines as the node prints them.
func records(t *testing.T, node string, seqs ...int64) string {
	t.Helper()
	var out strings.Builder
	for _, seq := range seqs {
		line, err := json.Marshal(nodeapi.Record{Seq: seq, Node: node, Rotation: "7f3c2a", Kind: nodeapi.Staged})
		require.NoError(t, err)
		out.Write(append(line, '\n'))
	}
	return out.String()
}

func TestFollow(t *testing.T) {
	stop := errors.New("I have seen enough")
	over := func(log string) *Ended {
		return &Ended{Err: errors.New("it has ended"), Replay: func(_ context.Context, deliver func([]byte) error) error {
			return CopyLines(&LineWriter{Line: deliver}, strings.NewReader(log))
		}}
	}
	for name, tc := range map[string]struct {
		run   Runner
		ended *Ended
		shuts bool // its streams end without an error only with the process
		after int64
		stop  int64 // the receiver's error comes with this one
		want  []int64
		fails string
	}{
		"to the end":      {run: says(records(t, "cp1", 1, 2, 3)), ended: over(""), want: []int64{1, 2, 3}},
		"from the middle": {run: says(records(t, "cp1", 1, 2, 3)), ended: over(""), after: 2, want: []int64{3}},
		"once each":       {run: says(records(t, "cp1", 1, 1, 2, 1, 3)), ended: over(""), want: []int64{1, 2, 3}},
		"a stream that ends in good order while the process works on": {run: says(records(t, "cp1", 1, 2)), want: []int64{1, 2}, fails: "the connection was closed"},
		"a connection that breaks":                                    {run: func(ctx context.Context, c Command) error { _ = says(records(t, "cp1", 1))(ctx, c); return errBroken }, want: []int64{1}, fails: "abnormal closure"},
		"a connection that falls silent": {run: func(ctx context.Context, c Command) error {
			_ = says(records(t, "cp1", 1))(ctx, c)
			return hangs(ctx, c)
		}, want: []int64{1}, fails: "received nothing for"},
		"a record of another node":               {run: says(records(t, "cp1", 1) + records(t, "cp2", 2)), want: []int64{1}, fails: `is of node "cp2"`},
		"nonsense":                               {run: says("panic: oh\n"), fails: "unreadable record"},
		"a receiver that stops":                  {run: says(records(t, "cp1", 1, 2, 3)), stop: 2, want: []int64{1, 2}, fails: stop.Error()},
		"what an ended process has done":         {run: fails(errBroken), ended: over(records(t, "cp1", 1, 2, 3)), after: 1, want: []int64{2, 3}},
		"what a failed process has done":         {run: fails(errBroken), ended: over(records(t, "cp1", 1)), want: []int64{1}},
		"a receiver that stops, of an ended one": {run: fails(errBroken), ended: over(records(t, "cp1", 1, 2)), stop: 1, want: []int64{1}, fails: stop.Error()},
		"a process without records":              {run: fails(errBroken), ended: &Ended{Err: errBroken}},
		"a stream that ends with its process":    {run: says(records(t, "cp1", 1)), shuts: true, want: []int64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession(process{tc.run, tc.ended})
				s.Closes = tc.shuts
				var got []int64
				err := s.Follow(t.Context(), tc.after, func(r nodeapi.Record) error {
					got = append(got, r.Seq)
					if r.Seq == tc.stop {
						return stop
					}
					return nil
				})
				assert.Equal(t, tc.want, got)
				if tc.fails == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, tc.fails)
				if tc.stop > 0 {
					assert.Equal(t, stop, err, "the receiver's error comes back as it is")
				}
			})
		})
	}
}
