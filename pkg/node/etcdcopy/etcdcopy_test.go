package etcdcopy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writeMember makes the data of a member that was last written to an hour ago.
func writeMember(t *testing.T) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "etcd")
	require.NoError(t, os.MkdirAll(filepath.Join(data, "member", "wal"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(data, "member", "snap"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(data, "member", "snap", "db"), []byte("pages"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(data, "member", "wal", "0.wal"), []byte("entries"), 0o640))
	ageAll(t, data)
	return data
}

// ageAll makes everything an hour old.
func ageAll(t *testing.T, data string) {
	t.Helper()
	entries, err := listAll(filepath.EvalSymlinks, []string{data})
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Chtimes(e.path, time.Time{}, time.Now().Add(-time.Hour)))
	}
}

func TestCopyHasEverythingWithItsModes(t *testing.T) {
	data := writeMember(t)
	wal := filepath.Join(t.TempDir(), "elsewhere-wal")
	require.NoError(t, os.Mkdir(wal, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(wal, "1.wal"), []byte("more"), 0o600))
	ageAll(t, wal)
	to := filepath.Join(t.TempDir(), "copy")

	synctest.Test(t, func(t *testing.T) {
		size, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data, wal)
		require.NoError(t, err)
		assert.Equal(t, int64(len("pages")+len("entries")+len("more")), size)
	})

	for path, want := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"etcd/member/snap/db": {"pages", 0o600}, "etcd/member/wal/0.wal": {"entries", 0o640}, "elsewhere-wal/1.wal": {"more", 0o600},
	} {
		content, err := os.ReadFile(filepath.Join(to, path))
		require.NoError(t, err)
		assert.Equal(t, want.content, string(content))
		info, err := os.Stat(filepath.Join(to, path))
		require.NoError(t, err)
		assert.Equal(t, want.mode, info.Mode().Perm(), path)
	}
	info, err := os.Stat(to)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "for root only")
	assert.NoDirExists(t, to+".partial")
}

// whileWritten changes a member's data as soon as the copy waits for quiet, and again whenever it
// does, a number of times.
func whileWritten(t *testing.T, times int, change func(n int)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range times {
			time.Sleep(time.Second / 2)
			change(n)
			time.Sleep(time.Second / 2)
		}
	}()
	t.Cleanup(func() { <-done })
}

// TestCopyWaitsUntilNothingIsWritten: a member that ceases to write is copied once it is quiet.
func TestCopyWaitsUntilNothingIsWritten(t *testing.T) {
	for name, change := range map[string]func(data string, n int) error{
		"written": func(data string, n int) error {
			return os.Chtimes(filepath.Join(data, "member", "snap", "db"), time.Time{}, time.Unix(int64(n), 0))
		},
		"removed and added": func(data string, n int) error {
			path := filepath.Join(data, "member", "wal")
			return errors.Join(os.RemoveAll(filepath.Join(path, fmt.Sprint(n-1))), os.WriteFile(filepath.Join(path, fmt.Sprint(n)), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := writeMember(t)
			to := filepath.Join(t.TempDir(), "copy")
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				whileWritten(t, 3, func(n int) { assert.NoError(t, change(data, n)) })
				_, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data)
				require.NoError(t, err)
				assert.Equal(t, 4*time.Second, time.Since(began))
			})
			want, err := listAll(filepath.EvalSymlinks, []string{data})
			require.NoError(t, err)
			got, err := listAll(filepath.EvalSymlinks, []string{filepath.Join(to, "etcd")})
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for i := range want {
				assert.Equal(t, want[i].below, got[i].below)
			}
		})
	}
}

// TestNoCopyIsKeptOfWhatIsWritten: a member that has its quorum writes all the time.
func TestNoCopyIsKeptOfWhatIsWritten(t *testing.T) {
	data := writeMember(t)
	to := filepath.Join(t.TempDir(), "copy")
	synctest.Test(t, func(t *testing.T) {
		whileWritten(t, 20, func(n int) {
			assert.NoError(t, os.Chtimes(filepath.Join(data, "member", "snap", "db"), time.Time{}, time.Unix(int64(n), 0)))
		})
		_, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data)
		assert.ErrorIs(t, err, ErrWritten)
	})
	assert.NoDirExists(t, to)
	assert.NoDirExists(t, to+".partial")
}

// TestWhatIsWrittenWhileItIsCopiedIsNotKept: the lists before and after the copy differ.
func TestWhatIsWrittenWhileItIsCopiedIsNotKept(t *testing.T) {
	data := writeMember(t)
	db := filepath.Join(data, "member", "snap", "db")
	before, err := listAll(filepath.EvalSymlinks, []string{data})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(db, []byte("PAGES"), 0o600)) // the same size
	after, err := listAll(filepath.EvalSymlinks, []string{data})
	require.NoError(t, err)
	assert.NotEqual(t, before, after)
}

// TestOtherErrorsAreNotTakenForWrites: a file that cannot be copied is named, however long etcd
// wrote before.
func TestOtherErrorsAreNotTakenForWrites(t *testing.T) {
	data := writeMember(t)
	to := filepath.Join(t.TempDir(), "copy")
	last := 10 // seconds
	synctest.Test(t, func(t *testing.T) {
		whileWritten(t, last+1, func(n int) {
			if n == last {
				assert.NoError(t, os.Symlink("/etc", filepath.Join(data, "member", "link")))
				return
			}
			assert.NoError(t, os.Chtimes(filepath.Join(data, "member", "snap", "db"), time.Time{}, time.Unix(int64(n), 0)))
		})
		_, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data)
		assert.ErrorContains(t, err, "neither a file nor a directory")
		assert.NotErrorIs(t, err, ErrWritten)
	})
}

// TestRemovedFilesAreWrites: etcd removes old files while the copy goes through its list. A data
// directory that is missing is no write.
func TestRemovedFilesAreWrites(t *testing.T) {
	data := writeMember(t)
	entries, err := listAll(filepath.EvalSymlinks, []string{data})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(data))
	for _, e := range entries {
		if !e.mode.IsDir() {
			assert.ErrorIs(t, e.copyBelow(t.TempDir()), ErrWritten, e.below)
		}
	}
	_, err = listAll(filepath.EvalSymlinks, []string{data})
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NotErrorIs(t, err, ErrWritten)
}

func TestCopyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := filepath.Join(t.TempDir(), "copy")
	_, err := CopyTo(ctx, to, filepath.EvalSymlinks, writeMember(t))
	require.ErrorIs(t, err, context.Canceled)
	assert.NoDirExists(t, to)
	assert.NoDirExists(t, to+".partial")
}

func TestCopyNeedsSpace(t *testing.T) {
	err := requireSpace(t.TempDir(), 1<<60)
	assert.ErrorContains(t, err, "free")
}

// TestLinksAreNotFollowed: a link may lead to any other directory.
func TestLinksAreNotFollowed(t *testing.T) {
	data := writeMember(t)
	require.NoError(t, os.Symlink("/etc", filepath.Join(data, "member", "link")))
	_, err := CopyTo(t.Context(), filepath.Join(t.TempDir(), "copy"), filepath.EvalSymlinks, data)
	assert.ErrorContains(t, err, "neither a file nor a directory")
}

// TestLinkedDirectoriesOfAMemberAreCopied: the log is often on a disk of its own, behind a link.
func TestLinkedDirectoriesOfAMemberAreCopied(t *testing.T) {
	for _, linked := range []string{"member", "member/wal", "member/snap"} {
		t.Run(linked, func(t *testing.T) {
			data := writeMember(t)
			disk := filepath.Join(t.TempDir(), "disk")
			require.NoError(t, os.Rename(filepath.Join(data, linked), disk))
			require.NoError(t, os.Symlink(disk, filepath.Join(data, linked)))
			to := filepath.Join(t.TempDir(), "copy")
			synctest.Test(t, func(t *testing.T) {
				size, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data)
				require.NoError(t, err)
				assert.Equal(t, int64(len("pages")+len("entries")), size)
			})
			for path, want := range map[string]string{"etcd/member/snap/db": "pages", "etcd/member/wal/0.wal": "entries"} {
				content, err := os.ReadFile(filepath.Join(to, path))
				require.NoError(t, err)
				assert.Equal(t, want, string(content))
			}
			assert.NoFileExists(t, filepath.Join(to, "etcd", "member", "link"))
		})
	}
}

// TestDirectoriesOfTheSameName: the base names of --data-dir and --wal-dir may be equal.
func TestDirectoriesOfTheSameName(t *testing.T) {
	data := writeMember(t)
	wal := filepath.Join(t.TempDir(), "etcd")
	require.NoError(t, os.Rename(filepath.Join(data, "member", "wal"), wal))
	to := filepath.Join(t.TempDir(), "copy")
	synctest.Test(t, func(t *testing.T) {
		_, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data, wal)
		require.NoError(t, err)
	})
	assert.FileExists(t, filepath.Join(to, "etcd", "member", "snap", "db"))
	assert.FileExists(t, filepath.Join(to, "etcd-2", "0.wal"))
}

// TestNoCopyWithoutItsLog: a member does not start from its database without its write-ahead log.
func TestNoCopyWithoutItsLog(t *testing.T) {
	for name, test := range map[string]struct {
		change func(wal string) error
		want   string
	}{
		"missing":       {os.RemoveAll, "no file of etcd's write-ahead log"},
		"without files": {func(wal string) error { return os.Remove(filepath.Join(wal, "0.wal")) }, "no file of etcd's write-ahead log"},
		"a broken link": {func(wal string) error { return errors.Join(os.RemoveAll(wal), os.Symlink("/nowhere/wal", wal)) }, "member/wal"},
	} {
		t.Run(name, func(t *testing.T) {
			data := writeMember(t)
			require.NoError(t, test.change(filepath.Join(data, "member", "wal")))
			to := filepath.Join(t.TempDir(), "copy")
			synctest.Test(t, func(t *testing.T) {
				_, err := CopyTo(t.Context(), to, filepath.EvalSymlinks, data)
				require.ErrorContains(t, err, test.want)
				assert.NotErrorIs(t, err, ErrWritten)
			})
			assert.NoDirExists(t, to)
		})
	}
}
