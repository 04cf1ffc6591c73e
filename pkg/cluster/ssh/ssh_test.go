package ssh

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// fakeSSH is a program "ssh" that runs commands on this machine, with the tools that a host has
// of its own first in PATH. A host that has a file "refuse" prints it, and fails as ssh does; a file
// "greeting" is what its login shell prints first.
const fakeSSH = `#!/bin/sh
options=
while [ "$1" != -- ]; do [ "$1" = -O ] && exit 0; options="$options $1"; shift; done
echo "$options" >>"$FAKE_HOSTS/calls"
host="$FAKE_HOSTS/${2#*@}"
[ -e "$host/refuse" ] && { cat "$host/refuse" >&2; exit 255; }
[ -e "$host/greeting" ] && cat "$host/greeting"
PATH="$host:$PATH" FAKE_HOST="$host" exec sh -c "$3"
`

// fakeNode is a node program that answers with files of its host, and writes down how it is called.
const fakeNode = `#!/bin/sh
echo "$*" >>"$FAKE_HOST/calls"
[ "$1" = version ] && exit 0
cat "$FAKE_HOST/$1.json"
exit "$(cat "$FAKE_HOST/$1.code" 2>/dev/null || echo 0)"
`

// world has fake hosts. Each is a directory with the tools and answers of its own.
type world struct {
	t       *testing.T
	dir     string
	options Options
}

func newWorld(t *testing.T, hosts ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.writeFile("bin/ssh", fakeSSH)
	w.writeFile("program", fakeNode)
	t.Setenv("PATH", filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH"))
	t.Setenv("FAKE_HOSTS", w.dir)
	for _, h := range hosts {
		w.answer(h, "scan", inventory.Node{Name: h})
	}
	w.options = Options{Addresses: hosts, directory: filepath.Join(w.dir, "state"), Program: func(string) (string, error) { return filepath.Join(w.dir, "program"), nil }}
	return w
}

func (w *world) writeFile(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(w.t, os.WriteFile(path, []byte(content), 0o755)) //nolint:gosec // a program
}

func (w *world) answer(host, command string, v any) {
	w.t.Helper()
	line, err := json.Marshal(v)
	require.NoError(w.t, err)
	w.writeFile(host+"/"+command+".json", string(line)+"\n")
}

func (w *world) calls(host string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, host, "calls"))
	require.NoError(w.t, err)
	return string(data)
}

func TestHostThatCannotBeWorkedOnIsAnErrorWithTheNextStep(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(w *world)
		want    []string
	}{
		"unknown host key": {func(w *world) { w.writeFile("cp1/refuse", "Host key verification failed.\n") },
			[]string{`connect to "cp1" over ssh: Host key verification failed.`, `hint: its host key is not in known_hosts, or has changed`}},
		"no key is accepted": {func(w *world) { w.writeFile("cp1/refuse", "root@cp1: Permission denied (publickey).\n") },
			[]string{"Permission denied", "hint: no key of yours is accepted there"}},
		"not reachable": {func(w *world) {
			w.writeFile("cp1/refuse", "ssh: connect to host cp1 port 22: Connection refused\n")
		},
			[]string{"Connection refused", `hint: "ssh cp1" must work from here first`}},
		"another system": {func(w *world) { w.writeFile("cp1/uname", "#!/bin/sh\necho OpenBSD\n") },
			[]string{`host "cp1" is OpenBSD/OpenBSD: there is a node program for Linux on amd64 and arm64 only`}},
		"another architecture": {func(w *world) {
			w.writeFile("cp1/uname", "#!/bin/sh\n[ $1 = -s ] && echo Linux || echo riscv64\n")
		}, []string{"is Linux/riscv64"}},
		"sudo with a password": {func(w *world) {
			w.writeFile("cp1/id", "#!/bin/sh\necho 1000\n")
			w.writeFile("cp1/sudo", "#!/bin/sh\necho 'sudo: a lecture' >&2; echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1\n")
		}, []string{"sudo asks for a password or refuses: sudo: sorry, you must have a tty to run sudo", "hint: allow this user"}},
		"no program for it": {func(w *world) {
			w.options.Program = func(arch string) (string, error) { return "", fmt.Errorf("no program for %s", arch) }
		}, []string{`host "cp1": no program for`}},
		"full disk": {func(w *world) {
			w.writeFile("cp1/cat", "#!/bin/sh\necho 'cat: write error: No space left on device' >&2\nexit 1\n")
		},
			[]string{`copy the node program: host "cp1": cat: write error: No space left on device`}},
		"a copy that differs": {func(w *world) { w.writeFile("cp1/cat", "#!/bin/sh\necho cut\n") },
			[]string{"the copy has another checksum"}},
		"a file system without exec": {func(w *world) { w.writeFile("program", "#!/no/such/shell\n") },
			[]string{"it cannot be run there", "mounted with noexec?"}},
		"nonsense instead of an inventory": {func(w *world) { w.writeFile("cp1/scan.json", "hello\n") },
			[]string{`host "cp1": read what "scan" printed`}},
		"a scan that fails": {func(w *world) { w.writeFile("cp1/scan.code", "1") }, []string{`cp1: "scan" failed with code 1`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "cp1")
			tc.prepare(w)
			_, err := Connect(t.Context(), w.options)
			for _, want := range tc.want {
				require.Contains(t, hint.TextOf(err), want)
			}
			left, _ := filepath.Glob(filepath.Join(w.options.directory, "*"))
			assert.Empty(t, left, "nothing stays on the host")
		})
	}
}

func TestAddressesAreNoOptionsAndUnique(t *testing.T) {
	for _, addresses := range [][]string{{"-oProxyCommand=true"}, {""}, {"cp1 cp2"}, {"cp1", "cp1"}} {
		_, err := Connect(t.Context(), Options{Addresses: addresses})
		assert.ErrorContains(t, err, "host", addresses)
	}
	for _, address := range []string{"root@cp1:2222", "[2001:db8::1]", "root@[2001:db8::1]:22"} {
		_, err := Connect(t.Context(), Options{Addresses: []string{address}})
		assert.ErrorContains(t, err, fmt.Sprintf("host %q: want [USER@]HOST without a port and without brackets", address))
		assert.Contains(t, hint.TextOf(err), "hint: name the port in your ssh configuration, or in a file for --ssh-config")
	}
}

// TestAddressesOfIPv6AreTakenAsSSHTakesThem: without brackets, perhaps with a zone.
func TestAddressesOfIPv6AreTakenAsSSHTakesThem(t *testing.T) {
	w := newWorld(t, "2001:db8::1", "fe80::1%eth0", "ssh://cp1:2222")
	hosts, err := Connect(t.Context(), w.options)
	require.NoError(t, err)
	assert.True(t, hosts.Has("2001:db8::1"))
	require.NoError(t, hosts.Disconnect(t.Context()))
}

func TestTwoHostsOfOneName(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.answer("b", "scan", inventory.Node{Name: "a"})
	_, err := Connect(t.Context(), w.options)
	assert.ErrorContains(t, err, `are both node "a"`)
}

func TestRotationOnAHost(t *testing.T) {
	w := newWorld(t, "cp1", "w1")
	w.writeFile("w1/id", "#!/bin/sh\necho 1000\n")
	w.writeFile("w1/sudo", "#!/bin/sh\n[ \"$1 $2\" = '-n true' ] && exit 0\nshift 2\nexec \"$@\"\n")
	hosts, err := Connect(t.Context(), w.options)
	require.NoError(t, err)

	nodes, missing, err := hosts.Scan(t.Context(), []string{"cp1", "w1", "w2"})
	require.NoError(t, err)
	require.Len(t, nodes, 2)
	assert.False(t, nodes[0].Scanned.From.IsZero())
	require.Len(t, missing, 1)
	assert.Equal(t, "w2: it is not among the hosts", missing[0].String())
	assert.Equal(t, 1, strings.Count(w.calls("cp1"), "scan"), "the scan of the connection is used")
	_, _, err = hosts.Scan(t.Context(), []string{"cp1"})
	require.NoError(t, err)
	assert.Contains(t, w.calls("cp1"), "scan --node-name=cp1", "and then a new one")

	w.answer("w1", "start", map[string]bool{"started": true})
	s, err := hosts.Open(t.Context(), "7f3c2a", plan.Step{Node: "w1"})
	require.NoError(t, err)
	assert.Contains(t, w.calls("w1"), "start --node-name=w1 --rotation=7f3c2a")
	w.answer("w1", "follow", nodeapi.Record{Seq: 1, Node: "w1", Rotation: "7f3c2a", Kind: nodeapi.Staged})
	var seen []nodeapi.Kind
	require.NoError(t, s.Follow(t.Context(), 0, func(r nodeapi.Record) error { seen = append(seen, r.Kind); return nil }), "it ends with the process")
	assert.Equal(t, []nodeapi.Kind{nodeapi.Staged}, seen)

	w.answer("cp1", "end", map[string]bool{"ended": false})
	w.answer("w1", "end", map[string]bool{"ended": true})
	ended, err := hosts.Close(t.Context(), "7f3c2a")
	require.NoError(t, err)
	assert.Equal(t, 1, ended)

	renewed := time.Now()
	w.answer("w1", "ready", nodeapi.Readiness{Node: "w1", Ready: true, RenewTime: renewed})
	require.NoError(t, hosts.Ready(t.Context(), "w1", renewed.Add(-time.Second)))

	require.NoError(t, hosts.Disconnect(t.Context()))
	left, err := filepath.Glob(filepath.Join(w.options.directory, "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "the program is removed")
}

// TestLoginShellThatPrints: the files that a shell reads at its start may print anything, also lines
// that look like an answer, and need not end them.
func TestLoginShellThatPrints(t *testing.T) {
	w := newWorld(t, "cp1")
	w.writeFile("cp1/greeting", "Welcome to {cp1}\nroot no-sudo\n{\"name\":\"cp2\"}\nLast update: ")
	hosts, err := Connect(t.Context(), w.options)
	require.NoError(t, err)
	assert.True(t, hosts.Has("cp1"))
	require.NoError(t, hosts.Disconnect(t.Context()))
}

// TestHostKeysAreChecked: nothing in the operator's configuration can weaken it, since options of
// the command line come first (ssh_config(5)).
func TestHostKeysAreChecked(t *testing.T) {
	w := newWorld(t, "cp1")
	hosts, err := Connect(t.Context(), w.options)
	require.NoError(t, err)
	require.NoError(t, hosts.Disconnect(t.Context()))
	for call := range strings.Lines(w.calls("")) {
		assert.Contains(t, call, "-o BatchMode=yes -o StrictHostKeyChecking=yes")
		assert.Contains(t, call, "-o ForwardAgent=no")
		assert.Contains(t, call, "-o RemoteCommand=none", "ssh refuses two commands")
	}
}

func TestWhatIsInterruptedIsSettledFirst(t *testing.T) {
	w := newWorld(t, "cp1", "cp2")
	w.answer("cp1", "scan", inventory.Node{Name: "cp1", Rotations: []inventory.NodeRotation{{ID: "7f3c2a", State: inventory.Committing}}})
	for _, h := range w.options.Addresses {
		w.answer(h, "end", map[string]bool{"ended": false})
	}
	w.answer("cp1", "recover", nodeapi.Record{Kind: nodeapi.Committed, Unverified: true})
	w.writeFile("cp1/recover.code", "5")
	hosts, err := Connect(t.Context(), w.options)
	require.NoError(t, err)
	settled, err := hosts.SettleInterrupted(t.Context())
	assert.True(t, settled)
	var later *UnverifiedError
	require.ErrorAs(t, err, &later, "members of etcd become healthy only together")
	assert.NotContains(t, w.calls("cp2"), "recover")
	require.NoError(t, os.Remove(filepath.Join(w.dir, "cp1/recover.code")))
	_, err = hosts.SettleInterrupted(t.Context())
	require.NoError(t, err)
	w.writeFile("cp1/recover.code", "1")
	_, err = hosts.SettleInterrupted(t.Context())
	require.ErrorContains(t, err, `cp1: "recover" failed with code 1`)
	assert.False(t, errors.As(err, &later))
}

// TestSocketsHaveShortPaths: ssh ends where a socket's path has more than 104 bytes on macOS, whose
// TMPDIR alone has 48. It needs 40 for the hash of the connection and 17 while it makes the socket.
func TestSocketsHaveShortPaths(t *testing.T) {
	newWorld(t)
	t.Setenv("TMPDIR", "/var/folders/xx/"+strings.Repeat("y", 30)+"/T")
	c, closeClient, err := newClient("")
	require.NoError(t, err)
	defer closeClient()
	assert.Less(t, len(filepath.Join(c.sockets, strings.Repeat("x", 40)))+17, 104)
	info, err := os.Stat(c.sockets)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}
