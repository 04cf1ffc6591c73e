package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

func TestLineWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		input string
		want  []string
		fails string
	}{
		"lines":                       {"one\ntwo\n", []string{"one", "two"}, ""},
		"heartbeats":                  {"\n\none\n\n\r\n two \n", []string{"one", "two"}, ""},
		"a last line without its end": {"one\ntwo", []string{"one", "two"}, ""},
		"a line without an end":       {"one\n" + strings.Repeat("x", maxLine+1), []string{"one"}, "a line is longer than"},
		"long, but not too long":      {strings.Repeat("x", maxLine-1) + "\n", []string{strings.Repeat("x", maxLine-1)}, ""},
		"nothing":                     {"", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for cut, reader := range map[string]io.Reader{
				"whole":    strings.NewReader(tc.input),
				"by bytes": iotest.OneByteReader(strings.NewReader(tc.input)),
			} {
				if cut == "by bytes" && len(tc.input) > 1000 {
					continue
				}
				var got []string
				err := CopyLines(&LineWriter{Line: func(line []byte) error { got = append(got, string(line)); return nil }}, reader)
				if tc.fails != "" {
					require.ErrorContains(t, err, tc.fails)
				} else {
					require.NoError(t, err)
				}
				assert.Equal(t, tc.want, got, cut)
			}
		})
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for i := range 10_000 {
		_, err := fmt.Fprintf(&kept, "line %d\n", i)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(kept.kept), maxStderr)
	assert.Equal(t, "line 9999", LastLine(string(kept.kept)))
}

func TestStream(t *testing.T) {
	refused := errors.New("not wanted")
	for name, tc := range map[string]struct {
		run     Runner
		refuse  bool // of the first line
		want    []string
		check   func(t *testing.T, err error)
		atLeast time.Duration
		atMost  time.Duration
	}{
		"ends normally": {
			run: func(_ context.Context, c Command) error {
				_, err := io.WriteString(c.Stdout, "one\n")
				return err
			},
			want:  []string{"one"},
			check: func(t *testing.T, err error) { require.NoError(t, err) },
		},
		"falls silent": {
			run: func(ctx context.Context, c Command) error {
				_, _ = io.WriteString(c.Stdout, "one\n")
				<-ctx.Done() // as a connection whose other end does not respond
				return ctx.Err()
			},
			want:    []string{"one"},
			check:   func(t *testing.T, err error) { require.ErrorIs(t, err, errSilent) },
			atLeast: silence, atMost: silence + time.Second,
		},
		"heartbeats keep it alive": {
			run: func(ctx context.Context, c Command) error {
				for range 60 {
					_, _ = io.WriteString(c.Stdout, "\n")
					if err := wait.SleepFor(ctx, 2*time.Second); err != nil {
						return err
					}
				}
				return nil
			},
			check:   func(t *testing.T, err error) { require.NoError(t, err) },
			atLeast: 2 * time.Minute,
		},
		"the command fails": {
			run: func(_ context.Context, c Command) error {
				_, _ = io.WriteString(c.Stderr, "some words\nerror: token 3 is older than 5\nhint: plan again\n")
				return &ExitError{Code: 1}
			},
			check: func(t *testing.T, err error) {
				var failed *CommandError
				require.ErrorAs(t, err, &failed)
				assert.Equal(t, 1, failed.Code)
				assert.EqualError(t, failed.Said, "error: token 3 is older than 5")
				assert.Equal(t, []string{"plan again"}, hint.AllOf(err))
			},
		},
		"the command is killed": {
			run: func(context.Context, Command) error {
				return &ExitError{Code: 137}
			},
			check: func(t *testing.T, err error) {
				require.Error(t, err)
				var failed *CommandError
				assert.NotErrorAs(t, err, &failed, "that is a broken connection: tried again")
			},
		},
		"the receiver has had enough": {
			run: func(ctx context.Context, c Command) error {
				_, err := io.WriteString(c.Stdout, "one\n")
				if err == nil {
					return errors.New("the writer took it")
				}
				<-ctx.Done() // the executor itself would never return
				return ctx.Err()
			},
			refuse: true,
			want:   []string{"one"},
			check:  func(t *testing.T, err error) { assert.Equal(t, refused, err) },
			atMost: time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var got []string
				err := StreamOutput(t.Context(), tc.run, Command{}, func(line []byte) error {
					got = append(got, string(line))
					if tc.refuse {
						return refused
					}
					return nil
				})
				tc.check(t, err)
				assert.Equal(t, tc.want, got)
				assert.GreaterOrEqual(t, time.Since(began), tc.atLeast)
				if tc.atMost > 0 {
					assert.LessOrEqual(t, time.Since(began), tc.atMost)
				}
			})
		})
	}
}
