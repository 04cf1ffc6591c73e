package bus

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// said is a log, whose messages are sent to a channel.
type said chan string

func (s said) Enabled(context.Context, slog.Level) bool { return true }
func (s said) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s said) WithGroup(string) slog.Handler            { return s }
func (s said) Handle(_ context.Context, r slog.Record) error {
	select {
	case s <- r.Message:
	default: // the test does not read that many
	}
	return nil
}

// until waits for messages that begin so, as often as times says.
func (s said) until(t *testing.T, begin string, times int) {
	t.Helper()
	for times > 0 {
		if strings.HasPrefix(receive(t, s), begin) {
			times--
		}
	}
}

// TestSeedsAreRotatedUnderARunningWatcher: first the watcher's files, then the server's users.
func TestSeedsAreRotatedUnderARunningWatcher(t *testing.T) {
	s := newSite(t)
	s.start()
	log := make(said, 1000)
	c := s.busConfig()
	c.Log = slog.New(log)
	b := openReady(t, c)
	got := make(chan string, 10)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e.Subject; return nil })

	for _, role := range []string{roleReporter, roleRotator} {
		s.edit(strings.ToUpper(role), s.newSeed(role))
	}
	log.until(t, "new credentials for NATS are not used yet", 2)
	require.NoError(t, b.Ready(), "the server does not know them yet")
	require.NoError(t, b.Publish(request("with-the-old")))
	require.Equal(t, "with-the-old", receive(t, got))
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)

	s.stop() // a server that reads its users again races with who connects at that moment
	s.start()
	log.until(t, "connected to NATS with new credentials", 2)
	waitReady(t, b)
	require.NoError(t, b.Publish(request("with-the-new")))
	require.Equal(t, "with-the-new", receive(t, got))
	flushed(t, b)
	require.Zero(t, b.Stats().Refused)
}

// TestSeedsThatAWatcherIsGivenLate: the server has forgotten the old user before.
func TestSeedsThatAWatcherIsGivenLate(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.busConfig())
	kept := map[string][]byte{}
	for _, role := range []string{roleReporter, roleRotator} {
		old := read(t, s.seeds[role])
		s.edit(strings.ToUpper(role), s.newSeed(role))
		kept[role] = read(t, s.seeds[role])
		writeFile(t, s.dir, role+".nk", old)
	}
	s.stop()
	s.start()
	require.Eventually(t, func() bool { return !b.Stats().Connected }, soon, tick)
	for role, seed := range kept {
		writeFile(t, s.dir, role+".nk", seed)
	}
	waitReady(t, b)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.Len(t, replayed(t, b), 1)
}
