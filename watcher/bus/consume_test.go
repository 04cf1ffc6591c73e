package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

func TestRequestsArriveWhole(t *testing.T) {
	b := openReady(t, testConfig(t))
	want := request("auto-1")
	want.Nodes, want.Fingerprints, want.CompromisedCertificates = []string{"cp1.example.org"}, []string{fmt.Sprintf("%064x", 1)}, []string{"m"}
	want.Compromised, want.Reason, want.Restart, want.MaxUnavailable = true, event.ReasonCompromised, "Always", "10%"
	require.NoError(t, b.Publish(want))
	got := make(chan event.Event, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.Equal(t, want, receive(t, got).Data)
}

// TestMessageOfADeadHandlerIsDeliveredAgain: a process that ends without a word.
func TestMessageOfADeadHandlerIsDeliveredAgain(t *testing.T) {
	b := openReady(t, testConfig(t))
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	consumer, err := b.rotator.jetStream().Consumer(t.Context(), EventStream("prod"), ConsumerRotator)
	require.NoError(t, err)
	msg, err := consumer.Next()
	require.NoError(t, err)
	require.NotEmpty(t, msg.Data())

	got := make(chan event.Event, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.Equal(t, "auto-1", receive(t, got).Subject)
}

func TestLeavingHandlerGivesItsMessageBack(t *testing.T) {
	b := openReady(t, testConfig(t, func(c *Config) { c.tuning.ackWait = time.Hour }))
	require.NoError(t, b.Publish(request("auto-1")))
	entered := make(chan struct{})
	stop := background(t, b.ReceiveRequests, func(ctx context.Context, _ event.Event) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})
	receive(t, entered)
	stop()
	got := make(chan event.Event, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.Equal(t, "auto-1", receive(t, got).Subject, "long before AckWait")
}

// TestAnswerToAReaderIsNoEvent: a client that may read a stream names the subject that the server
// answers to, and could have an old request published again.
func TestAnswerToAReaderIsNoEvent(t *testing.T) {
	given := make(chan givenUp, 1)
	b := openReady(t, testConfig(t, reportTo(given)))
	raw, err := json.Marshal(event.New("prod", at, request("auto-1")))
	require.NoError(t, err)
	again := nats.NewMsg(SubjectOf(event.New("prod", at, request("auto-1"))))
	again.Data = raw
	again.Header.Set(jetstream.StreamHeader, EventStream("prod"))
	_, err = b.rotator.jetStream().PublishMsg(t.Context(), again)
	require.NoError(t, err)
	background(t, b.ReceiveRequests, func(context.Context, event.Event) error { t.Error("it was handled"); return nil })
	require.ErrorContains(t, receive(t, given).why, "reply of the server to a reader")
}

func TestAnEventWhoseHandlerAlwaysFailsIsGivenUp(t *testing.T) {
	given := make(chan givenUp, 10)
	b := openReady(t, testConfig(t, reportTo(given)))
	require.NoError(t, b.Publish(request("auto-1")))
	require.NoError(t, b.Publish(request("auto-2")))
	var failed atomic.Int32
	done := make(chan string, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error {
		if e.Subject == "auto-1" {
			if failed.Add(1) == 2 {
				panic("a handler's mistake")
			}
			return errors.New("not today")
		}
		done <- e.Subject
		return nil
	})
	require.Equal(t, "auto-2", receive(t, done), "what follows is not held up")
	one := receive(t, given)
	require.Equal(t, "auto-1", one.e.Subject)
	require.ErrorContains(t, one.why, "not today")
	require.EqualValues(t, 1, b.Stats().GivenUp)
	require.EqualValues(t, maxRequestDeliveries, failed.Load())
	settled(t, b, ConsumerRotator)
}

// TestAnEventThatEndsItsProcessIsGivenUp: its deliveries end without a word.
func TestAnEventThatEndsItsProcessIsGivenUp(t *testing.T) {
	given := make(chan givenUp, 10)
	b := openReady(t, testConfig(t, reportTo(given)))
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	consumer, err := b.rotator.jetStream().Consumer(t.Context(), EventStream("prod"), ConsumerRotator)
	require.NoError(t, err)
	for range maxRequestDeliveries {
		msg, err := consumer.Next()
		require.NoError(t, err)
		require.NoError(t, msg.Nak())
	}
	background(t, b.ReceiveRequests, func(context.Context, event.Event) error { panic("delivered once more") })
	require.ErrorContains(t, receive(t, given).why, "not handled in 5 deliveries")
	settled(t, b, ConsumerRotator)
}

type givenUp struct {
	e   event.Event
	why error
}

func reportTo(to chan<- givenUp) func(*Config) {
	return func(c *Config) {
		c.GivenUp = func(_ context.Context, e event.Event, why error) { to <- givenUp{e, why} }
	}
}

// settled waits until a consumer has nothing left, delivered or not.
func settled(t *testing.T, b *Bus, name string) {
	t.Helper()
	stream := map[string]string{ConsumerRotator: EventStream("prod"), ConsumerCompromised: CompromisedStream("prod")}[name]
	require.Eventually(t, func() bool {
		consumer, err := b.rotator.jetStream().Consumer(t.Context(), stream, name)
		return err == nil && consumer.CachedInfo().NumPending == 0 && consumer.CachedInfo().NumAckPending == 0
	}, soon, tick)
}

func TestHandlerThatWaitsForTheWorldUsesNoDelivery(t *testing.T) {
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	require.NoError(t, publishCompromised(t, js, compromisedReport("stolen")))
	var asked atomic.Int32
	done := make(chan struct{})
	background(t, b.ReceiveCompromised, func(context.Context, event.Event) error {
		if asked.Add(1) < 8 {
			return fmt.Errorf("API server: %w", ErrRetryLater)
		}
		close(done)
		return nil
	})
	receive(t, done)
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	require.Zero(t, b.Stats().Retried)
}

func TestSlowHandlerKeepsItsMessage(t *testing.T) {
	b := openReady(t, testConfig(t, func(c *Config) { c.tuning.ackWait = 250 * time.Millisecond }))
	require.NoError(t, b.Publish(request("slow")))
	var calls atomic.Int32
	background(t, b.ReceiveRequests, func(ctx context.Context, _ event.Event) error {
		calls.Add(1)
		_ = wait.SleepFor(ctx, 3*250*time.Millisecond)
		return nil
	})
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	consumer, err := b.rotator.jetStream().Consumer(t.Context(), EventStream("prod"), ConsumerRotator)
	require.NoError(t, err)
	info := consumer.CachedInfo()
	require.EqualValues(t, 1, calls.Load())
	require.EqualValues(t, 1, info.Delivered.Consumer, "handed out once")
	require.Zero(t, info.NumAckPending)
}

func TestInvalidEventIsGivenUpAtOnce(t *testing.T) {
	given := make(chan givenUp, 10)
	b := openReady(t, testConfig(t, reportTo(given)))
	nc, _ := raw(t, b)
	encode := func(cluster string, d event.Data) []byte {
		out, err := event.New(cluster, at, d).MarshalJSON()
		require.NoError(t, err)
		return out
	}
	subject := "rotate-certs.v1.prod.rotation.requested._"
	for _, body := range [][]byte{
		[]byte("{"),
		encode("other", request("auto-1")),
		encode("prod", compromisedReport("on the wrong subject").Data),
		[]byte(`{"specversion":"1.0","id":"1","source":"/clusters/prod","type":"io.rotate-certs.rotation.requested.v9","data":{}}`),
		[]byte(`{"specversion":"1.0","id":"1","source":"/clusters/prod","type":"io.rotate-certs.rotation.requested.v1","data":{"name":"x"}}`),
	} {
		msg := nats.NewMsg(subject)
		msg.Data = body
		require.NoError(t, nc.PublishMsg(msg))
	}
	require.NoError(t, nc.Flush())
	require.NoError(t, b.Publish(request("refused-by-handler")))
	require.NoError(t, b.Publish(request("good")))
	good := make(chan string, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error {
		if e.Subject != "good" {
			return fmt.Errorf("node %q does not exist: %w", "x", ErrPoison)
		}
		good <- e.Subject
		return nil
	})
	receive(t, good)
	var reasons []string
	for range 6 {
		reasons = append(reasons, receive(t, given).why.Error())
	}
	require.EqualValues(t, 6, b.Stats().GivenUp)
	require.Zero(t, b.Stats().Retried)
	settled(t, b, ConsumerRotator)
	require.Contains(t, reasons[0], "not a CloudEvent in JSON")
	require.Contains(t, reasons[1], `it belongs to cluster "other"`)
	require.Contains(t, reasons[2], "a certificate.compromised on the subject of rotation.requested")
	require.Contains(t, reasons[3], "unknown type or version")
	require.Contains(t, reasons[4], "missing properties 'services', 'reason', 'attempt'")
	require.Contains(t, reasons[5], `node "x" does not exist`)
	require.Len(t, replayed(t, b), 3, "a replay leaves out what is no event of this cluster")
}

func TestReportsOfCompromisedKeysAreLimited(t *testing.T) {
	b := openReady(t, testConfig(t, func(c *Config) { c.tuning.compromisedBurst, c.tuning.compromisedEvery = 3, time.Hour }))
	_, js := raw(t, b)
	for i := range 5 {
		require.NoError(t, publishCompromised(t, js, compromisedReport(fmt.Sprint("flood-", i))))
	}
	var handled atomic.Int32
	stop := background(t, b.ReceiveCompromised, func(context.Context, event.Event) error {
		handled.Add(1)
		return nil
	})
	require.Eventually(t, func() bool { // the fourth is here, and waits
		consumer, err := js.Consumer(t.Context(), CompromisedStream("prod"), ConsumerCompromised)
		return err == nil && consumer.CachedInfo().Delivered.Consumer >= 4
	}, soon, tick)
	stop()
	require.EqualValues(t, 3, handled.Load())
	require.EqualValues(t, 3, b.Stats().Handled)
}
