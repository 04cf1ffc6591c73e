package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// procTree is a /proc as seen by process 100: its boot, its PID namespace, and the
// start time and state of some processes.
func procTree(t *testing.T, boot, namespace string, stats map[int]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	write("sys/kernel/random/boot_id", boot+"\n")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "self/ns"), 0o700))
	require.NoError(t, os.Symlink("pid:["+namespace+"]", filepath.Join(dir, "self/ns/pid")))
	for pid, stat := range stats {
		write(fmt.Sprintf("%d/stat", pid), stat)
	}
	return dir
}

func stat(pid int, name, state, start string) string {
	return fmt.Sprintf("%d (%s) %s 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %s 20", pid, name, state, start)
}

func TestDeadProcess(t *testing.T) {
	self := stat(100, "kubectl", "R", "5000")
	holder := func(t *testing.T) string {
		return describeProcess(procTree(t, "boot-1", "4026531836", map[int]string{200: stat(200, "x", "S", "777")}), 200)
	}
	for name, tc := range map[string]struct {
		boot, namespace string
		holder          string // its stat now; empty: gone
		want            bool
	}{
		"gone":                                 {"boot-1", "4026531836", "", true},
		"alive":                                {"boot-1", "4026531836", stat(200, "x", "S", "777"), false},
		"alive, with a name made to confuse":   {"boot-1", "4026531836", stat(200, "x) Z 1 (", "S", "777"), false},
		"its number was given to another":      {"boot-1", "4026531836", stat(200, "sshd", "S", "9999"), true},
		"a zombie":                             {"boot-1", "4026531836", stat(200, "x", "Z", "777"), true},
		"gone, but it was another machine's":   {"boot-2", "4026531836", "", false},
		"gone, but it was another container's": {"boot-1", "4026532999", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			stats := map[int]string{100: self}
			if tc.holder != "" {
				stats[200] = tc.holder
			}
			assert.Equal(t, tc.want, deadProcessIn(procTree(t, tc.boot, tc.namespace, stats), 100, holder(t)))
		})
	}
	for _, unclear := range []string{"", "x", "boot-1/4026531836/200", "boot-1/4026531836/x/777", "boot-1/4026531836/-1/777"} {
		assert.False(t, deadProcessIn(procTree(t, "boot-1", "4026531836", map[int]string{100: self}), 100, unclear), unclear)
	}
	assert.False(t, deadProcessIn(t.TempDir(), 100, holder(t)), "no /proc: not sure")
}
