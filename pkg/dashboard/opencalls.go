package dashboard

import (
	"context"
	"errors"
	"sync"
)

var errStopping = errors.New("the dashboard is stopping")

// openCalls counts calls to clusters that have not ended, those whose page does not wait for them
// anymore among them. A call that is interrupted still removes its pods.
type openCalls struct {
	mu      sync.Mutex
	count   int
	stopped bool
	ended   chan struct{} // closed when calls are stopped, and none is open
}

func newOpenCalls() *openCalls { return &openCalls{ended: make(chan struct{})} }

// beginCall reports whether a call may begin.
func (o *openCalls) beginCall() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return false
	}
	o.count++
	return true
}

func (o *openCalls) endCall() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count--
	if o.stopped && o.count == 0 {
		close(o.ended)
	}
}

// stopCalls lets no call begin, and returns how many are open.
func (o *openCalls) stopCalls() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopped && o.count == 0 {
		close(o.ended)
	}
	o.stopped = true
	return o.count
}

// trackCall counts a call until it has ended.
func trackCall[T any](open *openCalls, call func(context.Context) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		if !open.beginCall() {
			var none T
			return none, errStopping
		}
		defer open.endCall()
		return call(ctx)
	}
}
