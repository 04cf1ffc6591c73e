package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

func TestDamagedStoreIsSetAside(t *testing.T) {
	streamDir := func(store string) string {
		return filepath.Join(store, "jetstream", "$G", "streams", EventStream("prod"))
	}
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, store string)
	}{
		{"it is a file", func(t *testing.T, store string) {
			require.NoError(t, os.RemoveAll(store))
			require.NoError(t, os.WriteFile(store, []byte("x"), 0o600))
		}},
		{"what is below it is a file", func(t *testing.T, store string) {
			require.NoError(t, os.RemoveAll(filepath.Join(store, "jetstream")))
			require.NoError(t, os.WriteFile(filepath.Join(store, "jetstream"), []byte("x"), 0o600))
		}},
		{"the stream's description is garbage", func(t *testing.T, store string) {
			require.NoError(t, os.WriteFile(filepath.Join(streamDir(store), "meta.inf"), []byte("garbage"), 0o600))
		}},
		{"the stream's description is gone", func(t *testing.T, store string) {
			require.NoError(t, os.Remove(filepath.Join(streamDir(store), "meta.inf")))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testConfig(t)
			b := openReady(t, c)
			require.NoError(t, b.Publish(request("auto-1")))
			flushed(t, b)
			b.Close()
			tc.damage(t, filepath.Join(c.StoreDir, storeName))

			again := openReady(t, c)
			require.Empty(t, told(t, again))
			require.NoError(t, again.Publish(request("auto-1")))
			flushed(t, again)
			require.Len(t, told(t, again), 1)
			aside, err := filepath.Glob(filepath.Join(c.StoreDir, storeName+asideInfix+"*"))
			require.NoError(t, err)
			require.Len(t, aside, 1)
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
	require.Equal(t, eventtest.All()[:n], told(t, again))
	require.NoError(t, again.Publish(eventtest.All()[n]))
	flushed(t, again)
	require.Equal(t, eventtest.All(), told(t, again))
}

func TestStoreThatVanishesIsReplacedInUse(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.NoError(t, os.RemoveAll(filepath.Join(c.StoreDir, storeName)))
	require.Eventually(t, func() bool { return b.Stats().SetAside == 1 && b.Ready() == nil }, soon, tick)

	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.Len(t, told(t, b), 1)
	require.DirExists(t, filepath.Join(c.StoreDir, storeName))
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
	require.ErrorContains(t, b.Ready(), "hint: give --store")
	require.False(t, b.Stats().Connected)
	require.NoError(t, b.Publish(request("auto-1")), "it waits")

	require.NoError(t, os.Remove(inTheWay))
	waitReady(t, b)
	flushed(t, b)
	require.Len(t, told(t, b), 1)
}

// TestStoreThatRefusesWritesIsReplaced: what the server answers then is all that is seen of
// a disk that fails.
func TestStoreThatRefusesWritesIsReplaced(t *testing.T) {
	b := openReady(t, testConfig(t))
	refusal := fmt.Errorf("nats: %w", &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "no space left on device"})
	for times := range 3 {
		b.storeFailed(refusal, times)
	}
	require.Zero(t, b.Stats().SetAside, "once or twice is nothing")
	b.storeFailed(refusal, 3)
	require.EqualValues(t, 1, b.Stats().SetAside)
	waitReady(t, b)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.Len(t, told(t, b), 1)
}

func TestStoreThatAnotherUsesIsRefused(t *testing.T) {
	c := testConfig(t)
	first := openReady(t, c)
	require.NoError(t, first.Publish(request("auto-1")))
	flushed(t, first)
	_, err := Open(t.Context(), c)
	require.ErrorIs(t, err, errInUse)
	require.ErrorContains(t, err, "hint: end that one")
	require.Len(t, told(t, first), 1, "the first is not disturbed")

	require.NoError(t, os.RemoveAll(filepath.Join(c.StoreDir, storeName)))
	require.Eventually(t, func() bool { return first.Stats().SetAside == 1 && first.Ready() == nil }, soon, tick)
	_, err = Open(t.Context(), c)
	require.ErrorIs(t, err, errInUse, "a new store is locked as well")
	first.Close()
	openReady(t, c)
}
