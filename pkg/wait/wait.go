// Package wait has the pauses between tries that a context can end.
package wait

import (
	"context"
	"time"
)

const (
	// PollEvery is how often something on the same machine is asked again: a supervisor, a lock,
	// a file.
	PollEvery = 50 * time.Millisecond
	// ConnectEvery is the pause between two connections to a node or an endpoint that may answer
	// at any moment.
	ConnectEvery = 100 * time.Millisecond
	// RequestEvery is the pause between two requests to an API server for something that takes
	// seconds.
	RequestEvery = time.Second
	// RequestTimeout is how long a short request may take: one to an API server, or a short
	// command on a node.
	RequestTimeout = 15 * time.Second
	// AttemptTimeout is how long a request may take that is sent again, or that its caller can do
	// without: the API server may be the component that restarts.
	AttemptTimeout = 5 * time.Second
)

// Backoff is the pause between tries: 100 ms, doubled up to 2 s. Its zero value is ready to use.
type Backoff struct {
	Tries int // how often was waited
}

// WaitLonger pauses. Its error is that of ctx.
func (b *Backoff) WaitLonger(ctx context.Context) error {
	d := min(2*time.Second, 100*time.Millisecond<<min(b.Tries, 5))
	b.Tries++
	return SleepFor(ctx, d)
}

// SleepFor waits for a duration or the end of ctx, and returns the error of ctx.
func SleepFor(ctx context.Context, d time.Duration) error { return SleepOrWake(ctx, d, nil) }

// SleepOrWake is SleepFor that a value on wake, or its end, ends early.
func SleepOrWake(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
	return ctx.Err()
}
