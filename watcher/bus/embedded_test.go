package bus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

func TestDamagedStoreIsReportedUntilItIsDeleted(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, store string){
		"the store is a file": func(t *testing.T, store string) {
			require.NoError(t, os.RemoveAll(store))
			require.NoError(t, os.WriteFile(store, []byte("x"), 0o600))
		},
		"its directory is a file": func(t *testing.T, store string) {
			require.NoError(t, os.RemoveAll(filepath.Join(store, "jetstream")))
			require.NoError(t, os.WriteFile(filepath.Join(store, "jetstream"), []byte("x"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			openReady(t, c).Close()
			store := filepath.Join(c.StoreDir, storeName)
			damage(t, store)

			again, err := Open(t.Context(), c)
			require.NoError(t, err, "rotations do not depend on it")
			t.Cleanup(again.Close)
			require.ErrorContains(t, again.Ready(), "start embedded NATS server with store")
			require.Contains(t, hint.TextOf(again.Ready()), "delete a damaged store: events, and CompromisedCertificates published to NATS that were not read yet, are lost")
			require.NoError(t, os.RemoveAll(store))
			waitReady(t, again)
			require.NoError(t, again.Publish(request("auto-1")))
			flushed(t, again)
			require.Len(t, replayed(t, again), 1)
		})
	}
}

// TestDamagedStreamIsCreatedAgain where the server does not recognise what is on the disk.
func TestDamagedStreamIsCreatedAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, meta string){
		"its description is garbage": func(t *testing.T, meta string) {
			require.NoError(t, os.WriteFile(meta, []byte("garbage"), 0o600))
		},
		"its description is missing": func(t *testing.T, meta string) { require.NoError(t, os.Remove(meta)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			openReady(t, c).Close()
			damage(t, filepath.Join(c.StoreDir, storeName, "jetstream", "$G", "streams", EventStream("prod"), "meta.inf"))

			again := openReady(t, c)
			require.NoError(t, again.Publish(request("auto-1")))
			flushed(t, again)
			require.Len(t, replayed(t, again), 1)
		})
	}
}

// TestTornMessagesDoNotStopTheServer: what a power cut leaves of the last block.
func TestTornMessagesDoNotStopTheServer(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	for _, data := range eventtest.All() {
		require.NoError(t, b.Publish(data))
		flushed(t, b)
	}
	b.Close()
	blocks, err := filepath.Glob(filepath.Join(c.StoreDir, storeName, "jetstream", "$G", "streams", EventStream("prod"), "msgs", "*.blk"))
	require.NoError(t, err)
	require.NotEmpty(t, blocks)
	last := blocks[len(blocks)-1]
	info, err := os.Stat(last)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(last, info.Size()-7))

	again := openReady(t, c)
	n := len(eventtest.All()) - 1
	require.Equal(t, eventtest.All()[:n], replayed(t, again))
	require.NoError(t, again.Publish(eventtest.All()[n]))
	flushed(t, again)
	require.Equal(t, eventtest.All(), replayed(t, again))
}

// TestStoreThatCannotBeMadeIsTriedAgain: a full disk must not keep the watcher from starting.
func TestStoreThatCannotBeMadeIsTriedAgain(t *testing.T) {
	c := testConfig(t)
	inTheWay := writeFile(t, t.TempDir(), "file", nil)
	c.StoreDir = filepath.Join(inTheWay, "below")
	b, err := Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.ErrorContains(t, b.Ready(), "start embedded NATS server with store")
	require.Contains(t, hint.TextOf(b.Ready()), "hint: check that --store")
	require.False(t, b.Stats().Connected)
	require.NoError(t, b.Publish(request("auto-1")), "it waits")

	require.NoError(t, os.Remove(inTheWay))
	waitReady(t, b)
	flushed(t, b)
	require.Len(t, replayed(t, b), 1)
}

func TestStoreThatAnotherUsesIsRefused(t *testing.T) {
	c := testConfig(t)
	first := openReady(t, c)
	require.NoError(t, first.Publish(request("auto-1")))
	flushed(t, first)
	_, err := Open(t.Context(), c)
	require.ErrorIs(t, err, errInUse)
	require.Contains(t, hint.TextOf(err), "hint: stop the other watcher")
	require.Len(t, replayed(t, first), 1, "the first is not disturbed")

	first.Close()
	openReady(t, c)
}
