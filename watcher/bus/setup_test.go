package bus

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestObjectThatMayNotBeCreatedIsExplained(t *testing.T) {
	for name, tt := range map[string]struct{ denied, operation, subject, command string }{
		"stream": {`STREAM\.CREATE`, "create stream", `"$JS.API.STREAM.CREATE.rotate-certs-events-prod"`,
			"nats stream add rotate-certs-events-prod --subjects 'rotate-certs.*.prod.>'"},
		"consumer": {`CONSUMER\.CREATE\.rotate-certs-events`, "create consumer", `"$JS.API.CONSUMER.CREATE.rotate-certs-events-prod.rotator.`,
			"nats consumer add rotate-certs-events-prod rotator --pull"},
	} {
		t.Run(name, func(t *testing.T) {
			full := newSite(t)
			limited := *full
			limited.config = regexp.MustCompile(`(?m)^.*`+tt.denied+`.*\n`).ReplaceAllString(full.config, "")
			require.NotEqual(t, full.config, limited.config)
			limited.start()
			b := openTest(t, limited.busConfig())
			require.Eventually(t, func() bool { return b.Ready() != nil && strings.Contains(b.Ready().Error(), tt.operation) }, soon, tick)
			require.ErrorContains(t, b.Ready(), `user "rotator" may not publish to `+tt.subject)
			require.Contains(t, hint.TextOf(b.Ready()), tt.command)
			b.Close()
			limited.stop()

			full.start() // a user with that permission creates them
			openReady(t, full.busConfig()).Close()
			full.stop()
			limited.start()
			openReady(t, limited.busConfig())
		})
	}
}

// TestStreamOfAnEarlierReleaseIsExplained has a stream with the subjects of ours. The watcher is
// not ready before it is deleted, says what to do, and is ready once it is done.
func TestStreamOfAnEarlierReleaseIsExplained(t *testing.T) {
	s := newSite(t)
	s.config = strings.ReplaceAll(s.config, "-events-prod", "-events-other")
	s.start()
	js, err := jetstream.New(s.dialServer(roleRotator))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "rotate-certs-events-other", Subjects: []string{"rotate-certs.*.prod.>"}})
	require.NoError(t, err)
	s.stop()
	s.config = strings.ReplaceAll(s.config, "-events-other", "-events-prod")
	s.config = strings.ReplaceAll(s.config, `"$JS.API.STREAM.CREATE.rotate-certs-events-prod"`, `"$JS.API.STREAM.CREATE.rotate-certs-events-prod", "$JS.API.STREAM.DELETE.*"`)
	s.start()

	b := openTest(t, s.busConfig())
	require.Eventually(t, func() bool { return b.Ready() != nil && strings.Contains(b.Ready().Error(), "subjects overlap") }, soon, tick)
	require.Contains(t, hint.TextOf(b.Ready()), "nats stream ls --subject 'rotate-certs.*.prod.>'; nats stream rm NAME")

	js, err = jetstream.New(s.dialServer(roleRotator))
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), "rotate-certs-events-other"))
	waitReady(t, b)
}

// withUpdates is a site whose rotator may change streams, too.
func withUpdates(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	create := regexp.MustCompile(`(?m)^(.*)STREAM\.CREATE(.*)\n`)
	require.Regexp(t, create, s.config)
	s.config = create.ReplaceAllString(s.config, "${0}${1}STREAM.UPDATE${2}\n")
	return s
}

// notCompliant waits until the bus says so.
func notCompliant(t *testing.T, b *Bus) error {
	t.Helper()
	require.Eventually(t, func() bool { return b.Ready() != nil && strings.Contains(b.Ready().Error(), "does not comply") }, soon, tick)
	return b.Ready()
}

// TestADifferenceThatDoesNotMatterIsNoError: what is larger, longer or another's choice.
func TestADifferenceThatDoesNotMatterIsNoError(t *testing.T) {
	s := newSite(t)
	s.start()
	nc := s.dialServer(roleRotator)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	declared := declaredStreams("prod", 1)
	events, compromised := declared[0].StreamConfig, declared[1].StreamConfig
	events.Subjects, events.Duplicates, events.MaxAge, events.Storage = []string{"rotate-certs.v1.prod.>"}, time.Minute, 24*time.Hour, jetstream.MemoryStorage
	events.MaxBytes, events.MaxMsgSize, events.MaxMsgs = 1<<20, -1, 1000
	compromised.Subjects, compromised.MaxAge, compromised.MaxMsgs, compromised.MaxBytes, compromised.MaxMsgSize = []string{CompromisedSubject("prod"), "rotate-certs-compromised.test.prod"}, 0, 50, -1, 128<<10
	createStream(t, nc, events)
	createStream(t, nc, compromised)
	for _, c := range declaredConsumers("prod", quick.ackWait) {
		want := c.ConsumerConfig
		want.DeliverPolicy, want.AckWait, want.MaxDeliver, want.MaxAckPending = jetstream.DeliverAllPolicy, 2*quick.ackWait, 100, 7
		if c.Durable == ConsumerCompromised {
			want.FilterSubject = "rotate-certs-compromised.>"
		}
		_, err := js.CreateConsumer(t.Context(), c.stream, want)
		require.NoError(t, err)
	}
	b := openReady(t, s.busConfig())
	for _, c := range []jetstream.StreamConfig{events, compromised} {
		have, err := b.rotator.jetStream().Stream(t.Context(), c.Name)
		require.NoError(t, err)
		require.Equal(t, c.Subjects, have.CachedInfo().Config.Subjects)
		require.Equal(t, c.MaxMsgs, have.CachedInfo().Config.MaxMsgs)
	}
	for _, c := range declaredConsumers("prod", quick.ackWait) {
		have, err := b.rotator.jetStream().Consumer(t.Context(), c.stream, c.Durable)
		require.NoError(t, err)
		require.Equal(t, 100, have.CachedInfo().Config.MaxDeliver, "it is left as it is")
	}
}

// TestNonCompliantStreamsAreCorrectedIfPermitted, and nothing beside it.
func TestNonCompliantStreamsAreCorrectedIfPermitted(t *testing.T) {
	s := withUpdates(t)
	s.start()
	nc := s.dialServer(roleRotator)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	declared := declaredStreams("prod", 1)
	events, compromised := declared[0].StreamConfig, declared[1].StreamConfig
	events.Subjects, events.Discard, events.MaxBytes = []string{"rotate-certs.v1.prod.rotation.>", "mine"}, jetstream.DiscardNew, 1<<20
	compromised.Discard, compromised.MaxMsgsPerSubject, compromised.MaxAge, compromised.Duplicates = jetstream.DiscardOld, 1, time.Hour, 7*time.Minute
	createStream(t, nc, events)
	createStream(t, nc, compromised)
	c := declaredConsumers("prod", quick.ackWait)[0]
	wrong := c.ConsumerConfig
	wrong.DeliverPolicy, wrong.MaxDeliver, wrong.FilterSubject, wrong.AckWait, wrong.MaxAckPending = jetstream.DeliverAllPolicy, 1, "rotate-certs.v1.prod.rotation.>", quick.ackWait/2, 7
	_, err = js.CreateConsumer(t.Context(), c.stream, wrong)
	require.NoError(t, err)

	b := openReady(t, s.busConfig())
	configs := map[string]jetstream.StreamConfig{}
	for _, want := range declared {
		have, err := b.rotator.jetStream().Stream(t.Context(), want.Name)
		require.NoError(t, err)
		configs[want.Name] = have.CachedInfo().Config
		_, broken := fitStream(want, have.CachedInfo().Config)
		require.Empty(t, broken)
	}
	require.EqualValues(t, 1<<20, configs[events.Name].MaxBytes)
	require.Contains(t, configs[events.Name].Subjects, "mine")
	require.Equal(t, 7*time.Minute, configs[compromised.Name].Duplicates)
	have, err := b.rotator.jetStream().Consumer(t.Context(), c.stream, c.Durable)
	require.NoError(t, err)
	_, broken := fitConsumer(c, have.CachedInfo().Config)
	require.Empty(t, broken)
	require.Equal(t, 7, have.CachedInfo().Config.MaxAckPending)
}

func TestAConsumerThatCannotBeChangedIsExplained(t *testing.T) {
	s := newSite(t)
	s.start()
	nc := s.dialServer(roleRotator)
	createStream(t, nc, declaredStreams("prod", 1)[0].StreamConfig)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	want := declaredConsumers("prod", quick.ackWait)[0].ConsumerConfig
	want.AckPolicy, want.DeliverPolicy, want.MaxDeliver = jetstream.AckAllPolicy, jetstream.DeliverAllPolicy, 1
	_, err = js.CreateConsumer(t.Context(), EventStream("prod"), want)
	require.NoError(t, err)
	b := openTest(t, s.busConfig())
	err = notCompliant(t, b)
	require.ErrorContains(t, err, `consumer "rotator" of stream "`+EventStream("prod")+`"`)
	require.ErrorContains(t, err, "ack policy is AckAll, not AckExplicit")
	require.ErrorContains(t, err, "max deliver is 1, not unlimited")
	require.Contains(t, hint.TextOf(err), "hint: remove it and create it again: nats consumer add")

	require.NoError(t, js.DeleteConsumer(t.Context(), EventStream("prod"), "rotator"))
	waitReady(t, b) // it makes its own
}

func TestAStreamThatMayNotBeChangedIsExplained(t *testing.T) {
	s := newSite(t)
	s.start()
	want := declaredStreams("prod", 1)[1].StreamConfig
	want.Discard, want.MaxAge, want.Duplicates = jetstream.DiscardOld, time.Hour, time.Hour
	createStream(t, s.dialServer(roleRotator), want)
	err := notCompliant(t, openTest(t, s.busConfig()))
	require.ErrorContains(t, err, "discard is DiscardOld, not DiscardNew")
	require.ErrorContains(t, err, "maximum age is 1h0m0s, not at least 168h0m0s")
	require.ErrorContains(t, err, `may not publish to "$JS.API.STREAM.UPDATE.`)
	require.Contains(t, hint.TextOf(err), "nats stream edit")
}

// TestStreamsOfAnEarlierReleaseAreRemoved from the embedded server: they have the subjects.
func TestStreamsOfAnEarlierReleaseAreRemoved(t *testing.T) {
	c := testConfig(t)
	require.NoError(t, c.setDefaults())
	before, err := startEmbedded(&c)
	require.NoError(t, err)
	_, js := raw(t, &Bus{embedded: before})
	for _, s := range declaredStreams("prod", 1) {
		s.Name += "-of-before"
		_, err := js.CreateStream(t.Context(), s.StreamConfig)
		require.NoError(t, err)
	}
	before.shutDown()
	b := openReady(t, c)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.Len(t, replayed(t, b), 1)
	_, js = raw(t, b)
	_, err = js.Stream(t.Context(), EventStream("prod")+"-of-before")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

// TestBoundsOfTheCompromisedStream: what is acknowledged is not removed, and delivered until it
// is handled or reported.
func TestBoundsOfTheCompromisedStream(t *testing.T) {
	want := declaredStreams("prod", 1)[1]
	_, broken := fitStream(want, want.StreamConfig)
	require.Empty(t, broken)
	rollup := want.StreamConfig
	rollup.AllowRollup = true
	fit, broken := fitStream(want, rollup)
	require.Equal(t, []string{"roll-up headers is allowed, not denied"}, broken)
	require.False(t, fit.AllowRollup)

	compromised := declaredConsumers("prod", ackWait)[1]
	paused := compromised.ConsumerConfig
	paused.PauseUntil = new(at.Add(time.Hour))
	_, broken = fitConsumer(compromised, paused)
	require.Len(t, broken, 1)
	few := compromised.ConsumerConfig
	few.MaxDeliver = compromised.deliveries // the last one may end with its process, and this would not be reported
	_, broken = fitConsumer(compromised, few)
	require.Len(t, broken, 1)
}
