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

// TestUnreadReportIsNeverDiscarded: neither what a reporter publishes nor what another responder publishes.
func TestUnreadReportIsNeverDiscarded(t *testing.T) {
	s := newSite(t)
	s.start()
	events := declaredStreams("prod", 1)[0].StreamConfig
	events.MaxBytes = 2 * eventMaxSize
	createStream(t, s.dialServer(roleRotator), events)
	b := openReady(t, s.busConfig())
	reporter, err := jetstream.New(s.dialServer(roleReporter))
	require.NoError(t, err)
	responder, err := jetstream.New(s.dialServer(roleIncidentResponder))
	require.NoError(t, err)
	require.NoError(t, publishCompromised(t, responder, compromisedReport("the-first")))

	large := make([]byte, eventMaxSize-1024)
	for range 4 {
		_, err := reporter.Publish(t.Context(), "rotate-certs.v1.prod.certificate.expiring._", large)
		require.NoError(t, err)
	}
	_, err = reporter.Publish(t.Context(), "rotate-certs.v1.prod.certificate.expiring._", make([]byte, eventMaxSize+1))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")
	_, err = responder.Publish(t.Context(), CompromisedSubject("prod"), make([]byte, compromisedMaxSize+1))
	require.ErrorContains(t, err, "message size exceeds maximum allowed")
	refused := 0
	for i := range compromisedMaxMsgs {
		if err := publishCompromised(t, responder, compromisedReport(fmt.Sprint("flood-", i))); err != nil {
			require.ErrorContains(t, err, "maximum messages exceeded", "a report without room is refused")
			refused++
		}
	}
	require.Equal(t, 1, refused)

	handled := make(chan string, compromisedMaxMsgs)
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { handled <- e.ID; return nil })
	require.Equal(t, "the-first", receive(t, handled))
	receive(t, handled)
	require.NoError(t, publishCompromised(t, responder, compromisedReport("the-last")), "one that became an object leaves room")
}

// TestEventOfTheWatcherCreatesNoObject: it says that the object exists.
func TestEventOfTheWatcherCreatesNoObject(t *testing.T) {
	b := openReady(t, testConfig(t))
	require.NoError(t, b.Publish(compromisedReport("its-own").Data))
	flushed(t, b)
	_, js := raw(t, b)
	require.NoError(t, publishCompromised(t, js, compromisedReport("another's")))
	handled := make(chan string, 2)
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { handled <- e.ID; return nil })
	require.Equal(t, "another's", receive(t, handled))
	settled(t, b, ConsumerCompromised)
	require.Empty(t, handled)
	require.Len(t, replayed(t, b), 1, "the event history has the watcher's own")
}

// TestHandledReportIsNotDeliveredAgain, also to a consumer that is made anew.
func TestHandledReportIsNotDeliveredAgain(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	_, js := raw(t, b)
	require.NoError(t, publishCompromised(t, js, compromisedReport("stolen")))
	stop := background(t, b.ReceiveCompromised, func(context.Context, event.Event) error { return nil })
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	stop()
	require.Zero(t, anew(t, c, b, CompromisedStream("prod"), ConsumerCompromised, 0))
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

// TestOldReportIsGivenUp: its object may have been removed in the meantime.
func TestOldReportIsGivenUp(t *testing.T) {
	given := make(chan givenUp, 1)
	b := openReady(t, testConfig(t, reportTo(given), func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(compromisedMaxWait + time.Hour) }
	}))
	_, js := raw(t, b)
	require.NoError(t, publishCompromised(t, js, compromisedReport("stolen")))
	background(t, b.ReceiveCompromised, func(context.Context, event.Event) error { panic("handled") })
	one := receive(t, given)
	require.Equal(t, "stolen", one.e.ID)
	require.ErrorContains(t, one.why, "published 169h0m0s ago, more than 168h0m0s")
	require.EqualValues(t, 1, b.Stats().GivenUp)
	settled(t, b, ConsumerCompromised)
}

// TestReportHasTheTimeOfNATS: its publisher may have another clock.
func TestReportHasTheTimeOfNATS(t *testing.T) {
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	e := compromisedReport("stolen")
	e.Time = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, publishCompromised(t, js, e))
	got := make(chan event.Event, 1)
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.WithinDuration(t, time.Now(), receive(t, got).Time, soon)
}
