package background

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
)

// TestMain is also the program that the tests start: with "run" it holds the node's lock until it
// is asked to end.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "run" {
		os.Exit(holdLock(hostfs.Root(os.Args[3])))
	}
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		_, _ = os.Stderr.WriteString("some words\nerror: the journal is damaged\n")
		os.Exit(5)
	}
	os.Exit(m.Run())
}

func holdLock(root hostfs.Root) int {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	dir, err := statedir.OpenDir(root)
	if err != nil {
		return 1
	}
	release, err := dir.TakeLock(context.Background(), statedir.Holder{Rotation: "7f3c2a", PID: os.Getpid(), Since: time.Now()})
	if err != nil {
		return 1
	}
	<-end
	release()
	return 0
}

func TestProcessRunsUntilItIsEnded(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	program := []string{os.Args[0], "run", "--rotation=7f3c2a", string(root)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	ended, err := EndRun(ctx, root, "")
	require.NoError(t, err)
	assert.False(t, ended, "none runs yet")

	started, err := StartRun(ctx, root, "7f3c2a", program...)
	require.NoError(t, err)
	assert.True(t, started)
	holder, held, err := statedir.CurrentHolder(root)
	require.NoError(t, err)
	require.True(t, held)
	assert.Equal(t, "7f3c2a", holder.Rotation)
	assert.NotEqual(t, os.Getpid(), holder.PID)

	started, err = StartRun(ctx, root, "7f3c2a", program...)
	require.NoError(t, err)
	assert.False(t, started, "it runs already")

	ended, err = EndRun(ctx, root, "other1")
	require.NoError(t, err)
	assert.False(t, ended, "another rotation's process is none of its business")

	ended, err = EndRun(ctx, root, "7f3c2a")
	require.NoError(t, err)
	assert.True(t, ended)
	_, held, err = statedir.CurrentHolder(root)
	require.NoError(t, err)
	assert.False(t, held)
}

func TestProcessThatEndsAtOnceSaysWhy(t *testing.T) {
	_, err := StartRun(t.Context(), hostfs.Root(t.TempDir()), "7f3c2a", os.Args[0], "fail")
	assert.ErrorContains(t, err, `start the process of rotation "7f3c2a": it ended at once: error: the journal is damaged`)
}

// TestProcessStartsWithoutSystemd: where systemd does not answer, the program is started alone.
func TestProcessStartsWithoutSystemd(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	dir, err := statedir.OpenDir(root)
	require.NoError(t, err)
	r, err := dir.OpenRotation("7f3c2a")
	require.NoError(t, err)
	err = startFirst(t.Context(), root, r, [][]string{{os.Args[0], "fail"}, {os.Args[0], "run", "--rotation=7f3c2a", string(root)}})
	require.NoError(t, err)
	ended, err := EndRun(t.Context(), root, "7f3c2a")
	require.NoError(t, err)
	assert.True(t, ended)
}

// TestOnlyOwnProcessesAreEnded: the PID in the lock of a process in a pod is one of the pod's, and
// here belongs to another program.
func TestOnlyOwnProcessesAreEnded(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	dir, err := statedir.OpenDir(root)
	require.NoError(t, err)
	release, err := dir.TakeLock(t.Context(), statedir.Holder{Rotation: "7f3c2a", PID: os.Getpid(), Since: time.Now()})
	require.NoError(t, err)
	defer release()
	_, err = EndRun(t.Context(), root, "7f3c2a")
	assert.ErrorIs(t, err, ErrOtherProcess)
}
