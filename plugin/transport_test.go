package plugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// sshHosts are machines that a stand-in for the ssh program reaches: each is a directory with the
// answers of its node program. Its calls are in a file there.
type sshHosts struct {
	t   *testing.T
	dir string
}

const (
	standInSSH = `#!/bin/sh
while [ "$1" != -- ]; do [ "$1" = -O ] && exit 0; shift; done
host="$FAKE_HOSTS/${2#*@}"
[ -d "$host" ] || { echo "ssh: Could not resolve hostname $2" >&2; exit 255; }
case "$3" in
*"uname -s"*) printf 'system Linux\nmachine x86_64\nroot yes\n'; exit 0 ;;
*sha256sum*) cat >/dev/null; exit 0 ;;
*"rm -f"*) exit 0 ;;
esac
FAKE_HOST="$host" exec sh -c "$(printf %s "$3" | sed 's#/var/lib/rotate-certs/program/rotate-certs-node-[a-z0-9]*#'"$FAKE_HOSTS/program"'#')"
`
	standInNode = `#!/bin/sh
echo "$*" >>"$FAKE_HOST/calls"
cat "$FAKE_HOST/$1.json"
`
)

func newSSHHosts(t *testing.T, nodes ...inventory.Node) *sshHosts {
	t.Helper()
	s := &sshHosts{t: t, dir: t.TempDir()}
	s.write("bin/ssh", standInSSH)
	s.write("program", standInNode)
	s.write("programs/rotate-certs-node-linux-amd64", "")
	t.Setenv("PATH", filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	t.Setenv("FAKE_HOSTS", s.dir)
	for _, n := range nodes {
		s.answer(n.Name, "scan", n)
		s.answer(n.Name, "end", map[string]bool{"ended": false})
		s.answer(n.Name, "start", map[string]bool{"started": true})
	}
	return s
}

func (s *sshHosts) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(s.t, os.WriteFile(path, []byte(content), 0o700)) //nolint:gosec // a program
}

func (s *sshHosts) answer(host, command string, v any) {
	s.t.Helper()
	line, err := json.Marshal(v)
	require.NoError(s.t, err)
	s.write(host+"/"+command+".json", string(line)+"\n")
}

func (s *sshHosts) calls(host string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, host, "calls"))
	require.NoError(s.t, err)
	return string(data)
}

// flags are those for some of the hosts.
func (s *sshHosts) flags(hosts ...string) []string {
	return []string{"--transport", "ssh", "--host", strings.Join(hosts, ","), "--node-programs", filepath.Join(s.dir, "programs")}
}

func TestCheckOverSSHAsksNoAPIServer(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"), worker("w1"))
	f := healthy()
	f.down = assert.AnError
	code, stdout, stderr := f.run(t, append([]string{"check"}, s.flags("root@cp1", "w1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stderr, "Connecting to 2 hosts over ssh …")
	assert.Contains(t, stdout, "cp1")
	assert.Contains(t, stdout, "apiserver")
	assert.Empty(t, f.log)
	assert.Equal(t, "scan\n", s.calls("w1"))
}

func TestCheckOverSSHProposesARotationOverSSH(t *testing.T) {
	n := worker("w1")
	n.Certificates[0] = kubelet("w1", 2*day)
	s := newSSHHosts(t, n)
	code, _, stderr := healthy().run(t, append([]string{"check"}, s.flags("w1")...)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "Next: kubectl rotate-certs --transport ssh --host w1 --node-programs "+s.dir+"/programs --service kubelet")
}

func TestHostsThatCannotBeReachedFailACheck(t *testing.T) {
	s := newSSHHosts(t, worker("w1"))
	code, _, stderr := healthy().run(t, append([]string{"check"}, s.flags("w1", "w2")...)...)
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `connect to "w2" over ssh: ssh: Could not resolve hostname w2`)
}

func TestFlagsOfOneTransportAreRefusedWithAnother(t *testing.T) {
	for args, want := range map[string]string{
		"check --host cp1":                                       "--host needs --transport ssh",
		"check --host-file hosts":                                "--host-file needs --transport ssh",
		"check --transport ssh":                                  "no host is named",
		"check --transport nats":                                 "unknown --transport \"nats\"\nhint: want one of auto, ssh",
		"check --transport ssh --host cp1 --image x":             "--image and --transport ssh exclude each other",
		"check --transport ssh --host cp1 --image-pull-secret x": "--image-pull-secret and --transport ssh exclude each other",
		"check --transport ssh --host cp1 --find-secrets":        "check over ssh asks no API server",
		"check --transport ssh --host cp1 -l a=b":                "check over ssh asks no API server",
	} {
		code, _, stderr := healthy().run(t, strings.Fields(args)...)
		assert.NotZero(t, code, args)
		assert.Contains(t, stderr, want, args)
	}
}
