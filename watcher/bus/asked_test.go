package bus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

func askFor(user string) event.RotationAsked {
	return event.RotationAsked{Services: []certs.Service{certs.Kubelet}, Cluster: "prod", User: user}
}

// receiveAsked collects what a bus receives.
func receiveAsked(t *testing.T, b *Bus) <-chan event.Event {
	t.Helper()
	out := make(chan event.Event, 10)
	background(t, b.ReceiveAsked, func(_ context.Context, e event.Event) error { out <- e; return nil })
	js := b.rotator.jetStream()
	require.Eventually(t, func() bool {
		_, err := js.Consumer(t.Context(), AskedStream("prod"), ConsumerAsked)
		return err == nil
	}, soon, tick)
	return out
}

// TestRotationIsAskedForByTheUserFleet of the document; here a cluster asks itself.
func TestRotationIsAskedForByTheUserFleet(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.readsSummaries())
	_, err := b.AskRotation(t.Context(), "prod", askFor("jane"))
	require.ErrorContains(t, err, `ask cluster "prod" for a rotation`, "no watcher receives it")
	got := receiveAsked(t, b)
	id, err := b.AskRotation(t.Context(), "prod", askFor("jane"))
	require.NoError(t, err)
	e := receive(t, got)
	assert.Equal(t, id, e.ID)
	assert.Equal(t, askFor("jane"), e.Data)
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick, "the rotator may acknowledge")

	wrong := askFor("jane")
	wrong.Services = []certs.Service{"ssh"}
	_, err = b.AskRotation(t.Context(), "prod", wrong)
	require.Error(t, err, "NATS does not get it")
	_, err = b.AskRotation(t.Context(), "prod", event.RotationAsked{Services: askFor("").Services})
	require.Error(t, err, "without a user")
}

// TestSenderIsNotTrusted: what a permitted publisher can send.
func TestSenderIsNotTrusted(t *testing.T) {
	s := withAdmin(t)
	s.start()
	c := s.readsSummaries()
	given := make(chan givenUp, 10)
	reportTo(given)(&c)
	b := openReady(t, c)
	got := receiveAsked(t, b)
	js, err := jetstream.New(s.dialAdmin())
	require.NoError(t, err)
	valid := event.New("prod", at, askFor("jane"))
	valid.ID = "one"
	body, err := valid.MarshalJSON()
	require.NoError(t, err)
	other := event.New("other", at, askFor("jane"))
	otherBody, err := other.MarshalJSON()
	require.NoError(t, err)
	notAsked, err := event.New("prod", at, request("auto-1")).MarshalJSON()
	require.NoError(t, err)
	for subject, bad := range map[string][]byte{
		"rotate-certs-asked.v1.prod.staging": body, // in the name of another cluster than its publisher's
		"rotate-certs-asked.v1.prod.a":       []byte("{"),
		"rotate-certs-asked.v1.prod.prod":    otherBody,
		"rotate-certs-asked.v1.prod.c":       notAsked,
	} {
		_, err := js.Publish(t.Context(), subject, bad)
		require.NoError(t, err)
	}
	answerable := []string{}
	for range 4 {
		if one := receive(t, given); one.e.Data != nil {
			answerable = append(answerable, GivenUpReason(one.why))
		}
	}
	require.Equal(t, []string{`it belongs to cluster "other"`}, answerable, "only the cluster of the subject gets an answer")
	_, err = js.Publish(t.Context(), askedSubject("prod", "prod"), make([]byte, askedMaxSize+1))
	require.Error(t, err)
	for range 3 {
		_, err = js.Publish(t.Context(), askedSubject("prod", "prod"), body, jetstream.WithMsgID("one"))
		require.NoError(t, err)
	}
	require.Equal(t, "one", receive(t, got).ID)
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	settledStream(t, js, AskedStream("prod"))
	require.Empty(t, got, "the same id is the same request")
}

// settledStream waits until a work queue is empty.
func settledStream(t *testing.T, js jetstream.JetStream, name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		stream, err := js.Stream(t.Context(), name)
		return err == nil && stream.CachedInfo().State.Msgs == 0
	}, soon, tick)
}

func TestOldRequestOfAnotherClusterIsGivenUp(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.readsSummaries()
	c.Now = func() time.Time { return time.Now().Add(askedMaxWait + time.Minute) }
	given := make(chan givenUp, 1)
	reportTo(given)(&c)
	b := openReady(t, c)
	got := receiveAsked(t, b)
	id, err := b.AskRotation(t.Context(), "prod", askFor("jane"))
	require.NoError(t, err)
	one := receive(t, given)
	require.Equal(t, id, one.e.ID)
	require.Equal(t, askFor("jane"), one.e.Data, "it is answered")
	require.Contains(t, GivenUpReason(one.why), "published 11m0s ago, more than 10m0s")
	require.Empty(t, got)
}

// TestOldRequestInAnotherNameHasNoAnswer: its publisher could so have a request of another cluster
// refused.
func TestOldRequestInAnotherNameHasNoAnswer(t *testing.T) {
	s := withAdmin(t)
	s.start()
	c := s.readsSummaries()
	c.Now = func() time.Time { return time.Now().Add(askedMaxWait + time.Minute) }
	given := make(chan givenUp, 1)
	reportTo(given)(&c)
	b := openReady(t, c)
	_ = receiveAsked(t, b)
	js, err := jetstream.New(s.dialAdmin())
	require.NoError(t, err)
	body, err := event.New("prod", at, askFor("jane")).MarshalJSON()
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "rotate-certs-asked.v1.prod.staging", body)
	require.NoError(t, err)
	require.Nil(t, receive(t, given).e.Data)
}

// TestAnswersAreReplayed with the permissions of the document, and nothing else is.
func TestAnswersAreReplayed(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.readsSummaries())
	answer := askFor("jane")
	answer.Request = "one"
	answer.Refused = "the policy is notify-only"
	require.NoError(t, b.Publish(request("auto-1")))
	require.NoError(t, b.Publish(answer))
	require.NoError(t, b.Publish(request("auto-2")))
	flushed(t, b)
	var got []event.Data
	add := func(e event.Event) { got = append(got, e.Data) }
	require.NoError(t, b.ReplayAnswers(t.Context(), time.Now().Add(-time.Hour), add))
	require.Equal(t, []event.Data{answer}, got)
	require.NoError(t, b.ReplayAnswers(t.Context(), time.Now().Add(time.Hour), add))
	require.Len(t, got, 1)
}

// TestForbiddenRequestsOfOthersDisturbNothing: the rotator may not make their stream.
func TestForbiddenRequestsOfOthersDisturbNothing(t *testing.T) {
	s := newSite(t, `"$JS.API.STREAM.CREATE.rotations-asked-prod"`, "")
	s.start()
	b := openReady(t, s.readsSummaries())
	background(t, b.ReceiveAsked, func(context.Context, event.Event) error { return nil })
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.NoError(t, b.Ready())
	_, err := b.AskRotation(t.Context(), "prod", askFor("jane"))
	require.Error(t, err)
}
