package component

import "time"

// The kubelet's back-off for a container that ended (pkg/kubelet/kubelet.go and client-go's
// flowcontrol.Backoff): the first restart is immediate, then it waits 10 s, 20 s, … up to 300
// s, counted from the container's end, and forgets all that when a container has run for twice
// the longest wait. The kubelet keeps it in memory, so a restart of the kubelet resets it.
// Clusters may configure less, so this is an upper bound, suitable for deadlines. A rotation waits
// for the first pause, and ends a longer one by a restart of the kubelet.
const (
	FirstBackOff   = 10 * time.Second
	longestBackOff = 300 * time.Second
)

// backOff holds the container runtime's data about a container's last restarts.
type backOff struct {
	now           time.Time
	started       time.Time // the newest container
	previousEnded time.Time // the one before; zero: not known any more
	attempt       uint32    // of the newest: 0 for the first in its pod
}

// predictWait returns how long the kubelet would wait if the container exited now.
func (b backOff) predictWait() time.Duration {
	switch {
	case b.attempt == 0, b.now.Sub(b.started) > 2*longestBackOff:
		return 0
	case b.previousEnded.IsZero():
		// The upper bound, reached if the restarts followed each other quickly.
		wait := FirstBackOff
		for i := uint32(1); i < b.attempt && wait < longestBackOff; i++ {
			wait *= 2
		}
		return min(wait, longestBackOff)
	}
	// The last wait shows the current step of the back-off.
	waited := b.started.Sub(b.previousEnded)
	next := FirstBackOff
	for next <= waited && next < longestBackOff {
		next *= 2
	}
	return min(next, longestBackOff)
}
