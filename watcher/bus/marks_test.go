package bus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// TestNothingPushesOutAMark: neither what a reporter publishes nor what another marker does.
func TestNothingPushesOutAMark(t *testing.T) {
	s := newSite(t)
	s.start()
	events := streams("prod", 1)[0].StreamConfig
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

// TestAHandledMarkIsNotDeliveredAgain, also to a consumer that is made anew.
func TestAHandledMarkIsNotDeliveredAgain(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	_, js := raw(t, b)
	require.NoError(t, publishMark(t, js, mark("stolen")))
	stop := background(t, b.Marks, func(context.Context, event.Event) error { return nil })
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	stop()
	require.Zero(t, anew(t, c, b, MarkStream("prod"), ConsumerMarks, 0))
}

// TestAConsumerMadeAnewDoesNotReplayOldRequests: it begins an hour back.
func TestAConsumerMadeAnewDoesNotReplayOldRequests(t *testing.T) {
	for after, want := range map[time.Duration]uint64{0: 1, 2 * startBack: 0} {
		c := testConfig(t)
		b := openReady(t, c)
		require.NoError(t, b.Publish(request("auto-1")))
		flushed(t, b)
		require.Equal(t, want, anew(t, c, b, EventStream("prod"), ConsumerRotator, after), "after %s", after)
	}
}

// anew removes a consumer, opens the bus again some time after, and returns how many messages
// wait for the consumer that it makes.
func anew(t *testing.T, c Config, b *Bus, stream, name string, after time.Duration) uint64 {
	t.Helper()
	_, js := raw(t, b)
	require.NoError(t, js.DeleteConsumer(t.Context(), stream, name))
	b.Close()
	c.Now = func() time.Time { return time.Now().Add(after) }
	again := openReady(t, c)
	consumer, err := again.rotator.jetStream().Consumer(t.Context(), stream, name)
	require.NoError(t, err)
	return consumer.CachedInfo().NumPending
}

// TestAnOldMarkIsGivenUp: its object may have been removed in the meantime.
func TestAnOldMarkIsGivenUp(t *testing.T) {
	given := make(chan givenUp, 1)
	b := openReady(t, testConfig(t, reportTo(given), func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(markAge + time.Hour) }
	}))
	_, js := raw(t, b)
	require.NoError(t, publishMark(t, js, mark("stolen")))
	background(t, b.Marks, func(context.Context, event.Event) error { panic("handled") })
	one := receive(t, given)
	require.Equal(t, "stolen", one.e.ID)
	require.ErrorContains(t, one.why, "published 169h0m0s ago, more than 168h0m0s")
	require.EqualValues(t, 1, b.Stats().GivenUp)
	settled(t, b, ConsumerMarks)
}

// TestAMarkIsAsOldAsNATSSays: its publisher may have another clock.
func TestAMarkIsAsOldAsNATSSays(t *testing.T) {
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	e := mark("stolen")
	e.Time = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, publishMark(t, js, e))
	got := make(chan event.Event, 1)
	background(t, b.Marks, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.WithinDuration(t, time.Now(), receive(t, got).Time, soon)
}
