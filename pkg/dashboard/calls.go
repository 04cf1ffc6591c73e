package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// calls runs slow calls in the background and keeps their newest results: at most one call for a
// key at a time, a limited number of calls altogether, each with its own deadline, and a limited
// number of results. A page never waits for a call longer than it wants to.
type calls[T any] struct {
	deadline time.Duration
	most     int // results kept; the one that was used the longest time ago is dropped
	slots    chan struct{}
	open     *openCalls
	now      func() time.Time

	mu      sync.Mutex
	used    int // counts uses
	entries map[string]*callEntry[T]
}

// outcome is the last known result of a key.
type outcome[T any] struct {
	Value       *T // of the last call that succeeded; nil: there is none
	At          time.Time
	Err         error     // of the newest call that has ended
	FailedSince time.Time // since when calls fail
	Ended       time.Time // of the newest call
	Running     bool
	Began       time.Time // of the running call
}

type callEntry[T any] struct {
	outcome[T]
	used     int
	expiries int           // counts calls of expireResult
	done     chan struct{} // closed when the running call has ended
}

func newCalls[T any](deadline time.Duration, atOnce, most int, open *openCalls, now func() time.Time) *calls[T] {
	return &calls[T]{deadline: deadline, most: most, slots: make(chan struct{}, atOnce), open: open, now: now, entries: map[string]*callEntry[T]{}}
}

// latestResult returns the last known result of a key.
func (c *calls[T]) latestResult(key string) outcome[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		c.used++
		e.used = c.used
		return e.outcome
	}
	return outcome[T]{}
}

// startCall starts a call unless one is running for this key, and returns a channel that is closed
// at its end.
func (c *calls[T]) startCall(ctx context.Context, key string, call func(context.Context) (T, error)) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		c.dropOldest()
		e = &callEntry[T]{}
		c.entries[key] = e
	}
	c.used++
	e.used = c.used
	if e.Running {
		return e.done
	}
	e.Running = true
	e.Began = c.now()
	e.done = make(chan struct{})
	go c.runCall(ctx, e, e.expiries, call)
	return e.done
}

// runCall keeps the result of a call. One that began before an expiry is outdated at once.
func (c *calls[T]) runCall(ctx context.Context, e *callEntry[T], expiries int, call func(context.Context) (T, error)) {
	value, err := c.callInSlot(ctx, call)
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Running = false
	e.Ended = c.now()
	e.Err = err
	switch {
	case err == nil:
		e.Value = &value
		e.At = e.Ended
		e.FailedSince = time.Time{}
	case e.FailedSince.IsZero():
		e.FailedSince = e.Ended
	}
	if e.expiries != expiries {
		e.Ended = time.Time{}
	}
	close(e.done)
}

// callInSlot occupies a slot until the call has really ended, which may be after the deadline.
func (c *calls[T]) callInSlot(ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, errStopping
	}
	return callWithin(ctx, c.deadline, func(ctx context.Context) (T, error) {
		defer func() { <-c.slots }()
		return trackCall(c.open, call)(ctx)
	})
}

// dropOldest makes room for one more result.
func (c *calls[T]) dropOldest() {
	if len(c.entries) < c.most {
		return
	}
	var oldest *string
	for key, e := range c.entries {
		if !e.Running && (oldest == nil || e.used < c.entries[*oldest].used) {
			oldest = &key
		}
	}
	if oldest != nil {
		delete(c.entries, *oldest)
	}
}

// forgetResults drops all results but those of running calls.
func (c *calls[T]) forgetResults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.entries, func(_ string, e *callEntry[T]) bool { return !e.Running })
}

// expireResult makes the next page call again: something has changed the cluster.
func (c *calls[T]) expireResult(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		e.Ended = time.Time{}
		e.expiries++
	}
}

// callWithin returns at the deadline even where the call does not: a later result is dropped. A
// panic becomes an error.
func callWithin[T any](ctx context.Context, deadline time.Duration, call func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	ended := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if cause := recover(); cause != nil {
				r.err = fmt.Errorf("internal error: %v", cause)
			}
			ended <- r
		}()
		r.value, r.err = call(ctx)
	}()
	r := result{}
	select {
	case r = <-ended:
	case <-ctx.Done():
		r.err = ctx.Err()
	}
	if errors.Is(r.err, context.DeadlineExceeded) {
		r.err = fmt.Errorf("no answer within %s", deadline)
	}
	return r.value, r.err
}

// waitUntil waits for the first of several events.
func waitUntil(ctx context.Context, done <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}
