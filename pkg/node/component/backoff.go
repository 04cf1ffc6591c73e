package component

import "time"

// The kubelet's back-off for a container that ended (pkg/kubelet/kubelet.go and
// client-go's flowcontrol.Backoff): the first restart is immediate, then it waits
// 10 s, 20 s, … up to 300 s, counted from the container's end, and forgets all that
// when a container has run for twice the longest wait. It lives in the kubelet's
// memory; a restart of the kubelet begins anew. Clusters may configure less, so this
// is an upper bound, good for deadlines.
const (
	backOffFirst   = 10 * time.Second
	backOffLongest = 300 * time.Second
	backOffForget  = 2 * backOffLongest
)

// backOff is what the container runtime knows of a container's last restarts.
type backOff struct {
	now           time.Time
	started       time.Time // the newest container
	previousEnded time.Time // the one before; zero: not known any more
	attempt       uint32    // of the newest: 0 for the first in its pod
}

// predict returns how long the kubelet would wait if the container ended now.
func (b backOff) predict() time.Duration {
	switch {
	case b.attempt == 0, b.now.Sub(b.started) > backOffForget:
		return 0
	case b.previousEnded.IsZero():
		// However quick the restarts came, it is no longer than this.
		wait := backOffFirst
		for i := uint32(1); i < b.attempt && wait < backOffLongest; i++ {
			wait *= 2
		}
		return min(wait, backOffLongest)
	}
	// The last wait shows at which step the kubelet is.
	waited := b.started.Sub(b.previousEnded)
	next := backOffFirst
	for next <= waited && next < backOffLongest {
		next *= 2
	}
	return min(next, backOffLongest)
}
