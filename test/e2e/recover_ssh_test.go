//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests of this file ask real sshd for what a recovery needs. The nodes know two users beside
// root: "ops", who may use sudo, and "guest", who may not.

// TestRecoverTrustsNoUnknownHost: a host whose key is not known gets no program.
func TestRecoverTrustsNoUnknownHost(t *testing.T) {
	config, err := os.ReadFile(the.sshConfig(t))
	require.NoError(t, err)
	unknown := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(unknown, append([]byte("UserKnownHostsFile /dev/null\n"), config...), 0o600))
	o := the.recoverHosts(t, unknown, "--plan")
	assert.Equal(t, 1, o.exit, "%s", o)
	assert.Contains(t, o.stderr, "Host key verification failed")
	assert.Contains(t, o.stderr, "hint: its host key is not in known_hosts, or has changed")
}

// TestRecoverAsAUserWithSudo scans all hosts as such a user.
func TestRecoverAsAUserWithSudo(t *testing.T) {
	o := the.planRecovery(t, "ops")
	assert.Zero(t, o.exit, "%s", o)
	assert.Contains(t, o.stderr, "No certificate of these hosts has expired; nothing was changed.")
	the.assertNoProgram(t)
}

func TestRecoverIsRefusedToAUserWithoutSudo(t *testing.T) {
	o := the.planRecovery(t, "guest")
	assert.Equal(t, 1, o.exit, "%s", o)
	for _, n := range the.hosts() {
		assert.Contains(t, o.stderr, `host "guest@`+n.Name+`": root is needed`)
		assert.Contains(t, o.stderr, "--host root@"+n.Name)
	}
	the.assertNoProgram(t)
}

// TestRecoverNamesAnotherArchitecture: one host says that it is a machine for which there is no
// program. Nothing stays on the others.
func TestRecoverNamesAnotherArchitecture(t *testing.T) {
	other := the.nodes[len(the.nodes)-1].Name
	the.forTest(t, other, `printf '#!/bin/sh\n[ "$1" = -m ] && echo riscv64 || exec /usr/bin/uname "$@"\n' >/usr/local/bin/uname && chmod +x /usr/local/bin/uname`,
		"rm /usr/local/bin/uname")
	o := the.planRecovery(t, "root")
	assert.Equal(t, 1, o.exit, "%s", o)
	assert.Contains(t, o.stderr, `host "root@`+other+`" is Linux/riscv64: there is a node program for Linux on amd64 and arm64 only`)
	the.assertNoProgram(t)
}

// TestRecoverNamesAFullDisk: the program does not fit on one host.
func TestRecoverNamesAFullDisk(t *testing.T) {
	const directory = "/var/lib/rotate-certs/program"
	full := the.nodes[0].Name
	the.forTest(t, full, "mkdir -p "+directory+" && mount -t tmpfs -o size=1m tmpfs "+directory, "umount "+directory+"; rmdir "+directory)
	o := the.planRecovery(t, "root")
	assert.Equal(t, 1, o.exit, "%s", o)
	assert.Contains(t, o.stderr, `host "root@`+full+`"`)
	assert.Contains(t, o.stderr, "No space left on device")
	the.assertNoProgram(t)
}

// planRecovery asks for the plan of a recovery as a user.
func (l *lab) planRecovery(t *testing.T, user string) outcome {
	t.Helper()
	var hosts []string
	for _, n := range l.hosts() {
		hosts = append(hosts, user+"@"+n.Name)
	}
	return l.kubectl(t, "rotate-certs", "recover", "--ssh-config", l.sshConfig(t), "--host", strings.Join(hosts, ","), "--plan")
}

// forTest changes a node until the test ends.
func (l *lab) forTest(t *testing.T, node, change, undo string) {
	t.Helper()
	l.on(t, node, change)
	t.Cleanup(func() {
		_, err := l.try(context.WithoutCancel(t.Context()), node, undo)
		assert.NoError(t, err)
	})
}
