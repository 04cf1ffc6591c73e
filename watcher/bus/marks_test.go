package bus

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// TestNothingPushesOutAMark: neither what a reporter publishes nor what another marker does.
func TestNothingPushesOutAMark(t *testing.T) {
	s := newSite(t)
	s.start()
	events := streams("prod")[0]
	events.MaxBytes = 2 * eventMaxSize
	createStream(t, s.dial(roleRotator), events)
	b := openReady(t, s.busConfig())
	reporter, err := jetstream.New(s.dial(roleReporter))
	require.NoError(t, err)
	marker, err := jetstream.New(s.dial(roleMarker))
	require.NoError(t, err)
	require.NoError(t, publishMark(t, marker, mark("the-first")))

	large := make([]byte, eventMaxSize-1024)
	for range 4 {
		_, err := reporter.Publish(t.Context(), "rotate-certs.v1.prod.certificate.expiring._", large)
		require.NoError(t, err)
	}
	_, err = reporter.Publish(t.Context(), "rotate-certs.v1.prod.certificate.expiring._", make([]byte, eventMaxSize+1))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")
	_, err = marker.Publish(t.Context(), MarkSubject("prod"), make([]byte, markMaxSize+1))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")
	refused := 0
	for i := range markMaxMsgs {
		if err := publishMark(t, marker, mark(fmt.Sprint("flood-", i))); err != nil {
			require.ErrorContains(t, err, "maximum messages exceeded", "a mark without room is refused")
			refused++
		}
	}
	require.Equal(t, 1, refused)

	handled := make(chan string, markMaxMsgs)
	background(t, b.Marks, func(_ context.Context, e event.Event) error { handled <- e.ID; return nil })
	require.Equal(t, "the-first", receive(t, handled))
	receive(t, handled)
	require.NoError(t, publishMark(t, marker, mark("the-last")), "one that became an object leaves room")
}

// TestTheWatchersOwnEventMakesNoMark: it says that the object exists.
func TestTheWatchersOwnEventMakesNoMark(t *testing.T) {
	b := openReady(t, testConfig(t))
	require.NoError(t, b.Publish(mark("its-own").Data))
	flushed(t, b)
	_, js := raw(t, b)
	require.NoError(t, publishMark(t, js, mark("another's")))
	handled := make(chan string, 2)
	background(t, b.Marks, func(_ context.Context, e event.Event) error { handled <- e.ID; return nil })
	require.Equal(t, "another's", receive(t, handled))
	settled(t, b, ConsumerMarks)
	require.Empty(t, handled)
	require.Len(t, told(t, b), 1, "the event history has the watcher's own")
}
