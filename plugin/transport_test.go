package plugin

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// sshHosts are machines that a stand-in for the ssh program reaches: each is a directory with the
// answers of its node program. Its calls are in a file there.
type sshHosts struct {
	t   *testing.T
	dir string
}

// standInSSH runs commands on this machine, with the stand-in for the node program.
const standInSSH = `#!/bin/sh
while [ "$1" != -- ]; do [ "$1" = -O ] && exit 0; shift; done
host="$FAKE_HOSTS/${2#*@}"
[ -d "$host" ] || { echo "ssh: Could not resolve hostname $2" >&2; exit 255; }
case "$3" in
*"uname -s"*) printf '\noutput of rotate-certs\nsystem Linux\nmachine x86_64\nroot yes\n'; exit 0 ;;
*sha256sum*) cat >/dev/null; exit 0 ;;
*"rm -f"*) exit 0 ;;
esac
FAKE_HOST="$host" exec sh -c "$(printf %s "$3" | sed 's#/var/lib/rotate-certs/program/rotate-certs-node-[a-z0-9]*#stand-in-node#')"
`

func newSSHHosts(t *testing.T, nodes ...inventory.Node) *sshHosts {
	t.Helper()
	s := &sshHosts{t: t, dir: t.TempDir()}
	s.write("bin/ssh", standInSSH)
	s.write("programs/rotate-certs-node-linux-amd64", "")
	t.Setenv("PATH", filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	t.Setenv("FAKE_HOSTS", s.dir)
	for _, n := range nodes {
		n.Authorities = slices.Clone(n.Authorities)
		for i := range n.Authorities {
			n.Authorities[i].ID = n.Authorities[i].Name
			if n.Authorities[i].Name == "kubernetes" {
				n.Authorities[i].ID = certs.AuthorityID(clusterCA())
			}
		}
		n.Time = time.Time{} // its clock is not judged: the scan takes place now, and not at noon
		s.answer(n.Name, "scan", n)
		s.answer(n.Name, "end", map[string]bool{"ended": false})
		s.answer(n.Name, "start", map[string]bool{"started": true})
		s.answer(n.Name, "health", inventory.Health{Node: n.Name, APIServer: &inventory.Probe{Healthy: true}})
		s.answer(n.Name, "ready", nodeapi.Readiness{Node: n.Name, Ready: true, RenewTime: time.Now()})
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

func TestRotationOverSSHHoldsTheLockOfTheCluster(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"), worker("w1"))
	f := newFake(controlPlane("cp1"), worker("w1"), worker("w2"))
	code, _, stderr := f.run(t, append([]string{"--service", "kubelet"}, s.flags("cp1", "w1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, strings.Join(f.log, "; "), "permissions for "+string(kube.UseRotateOverSSH))
	assert.True(t, f.did("lock"), "%v", f.log)
	assert.False(t, f.did("open"), "no pod: %v", f.log)
	assert.Contains(t, s.calls("w1"), "  Commit\n")
	assert.NotContains(t, stderr, "w2", "it is not among the hosts")
	assert.Contains(t, stderr, "check --transport ssh --host cp1,w1")
}

func TestRotationOverSSHIsRefusedWhileAnotherHoldsTheLock(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"))
	f.heldNow = &kube.HeldError{Holder: "the watcher"}
	code, _, stderr := f.run(t, append([]string{"--service", "etcd"}, s.flags("cp1")...)...)
	assert.Equal(t, 3, code, stderr)
	assert.Equal(t, "scan\n", s.calls("cp1"))
}

func TestRotationOverSSHWithoutTheAPISaysThatThereIsNoLock(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"))
	f.down = errConnectionRefused
	code, _, stderr := f.run(t, append([]string{"--service", "etcd", "--yes"}, s.flags("cp1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stderr, "Without the cluster's lock: the API server at https://10.0.0.10:6443 refuses the connection. Make sure that no other rotation is in progress.\n"+
		"If certificates have expired, use kubectl rotate-certs recover with the same hosts.\n")
	assert.False(t, f.did("lock"))
	assert.Contains(t, s.calls("cp1"), "  Commit\n")

	code, _, stderr = f.run(t, append([]string{"--service", "etcd"}, s.flags("cp1")...)...)
	assert.Equal(t, 130, code, "the operator has to agree")
	assert.Contains(t, stderr, "Continue?")
}

func TestPlanOverSSHWithoutTheAPINeedsNoLock(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"))
	f.down = errConnectionRefused
	code, stdout, stderr := f.run(t, append([]string{"plan", "--service", "etcd"}, s.flags("cp1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "etcd-peer")
	assert.Contains(t, stderr, "Without the API server: the API server at https://10.0.0.10:6443 refuses the connection.\n")
	assert.NotContains(t, stderr, "lock")
}

func TestHostOfAnExternalEtcdIsNoNode(t *testing.T) {
	etcd := controlPlane("etcd1")
	etcd.Components = etcd.Components[:1]
	etcd.Certificates = etcd.Certificates[:1]
	s := newSSHHosts(t, controlPlane("cp1"), etcd)
	code, stdout, stderr := newFake(controlPlane("cp1")).run(t, append([]string{"plan", "--service", "etcd", "-o", "json"}, s.flags("cp1", "etcd1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, `"node": "etcd1"`)
}

func TestRollbackOverSSHIsPlannedWithoutPods(t *testing.T) {
	f := etcdRotated()
	s := newSSHHosts(t, f.scanned...)
	var hosts []string
	for _, n := range f.scanned {
		hosts = append(hosts, n.Name)
	}
	code, _, stderr := f.run(t, append([]string{"rollback", "abcdef", "--dry-run=server"}, s.flags(hosts...)...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stderr, "Nothing was changed. To do it")
	assert.NotContains(t, stderr, "admits")
}

// podsThat answer Close in one way.
type podsThat struct {
	fleet.Nodes

	close error
}

func (p podsThat) Close(context.Context, string) (int, error) { return 1, p.close }

func TestPodsOfEarlierRotationsAreEndedBeforeOneOverSSH(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	for _, tc := range []struct {
		rotation string
		close    error
		want     int
		fails    bool
	}{
		{"", nil, 1, false}, {"", forbidden, 1, false}, {"", assert.AnError, 1, true},
		{"7f3c2a", assert.AnError, 0, false}, // its own processes are on the hosts alone
	} {
		ended, err := nodesOverSSH{Hosts: &ssh.Hosts{}, pods: podsThat{close: tc.close}}.Close(t.Context(), tc.rotation)
		assert.Equal(t, tc.fails, err != nil, "%+v: %v", tc, err)
		assert.Equal(t, tc.want, ended, "%+v", tc)
	}
}

func TestHostsOfAnotherClusterThanTheKubeconfigsAreRefused(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp9"))
	code, _, stderr := newFake(controlPlane("cp1")).run(t, append([]string{"plan", "--service", "etcd"}, s.flags("cp9")...)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `the kubeconfig is of another cluster: it has no node "cp9", as a host names itself`)
	assert.Contains(t, stderr, "hint: --kubeconfig and --context choose another one")
}

func TestControlPlaneNodeThatIsNoHostRefusesTheStartOverSSH(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"), controlPlane("cp2"))
	code, stdout, stderr := f.run(t, append([]string{"plan", "--service", "etcd"}, s.flags("cp1")...)...)
	require.Zero(t, code, stderr)
	const finding = "cp2 is a control-plane node, and its API server could not be probed: it is not among the hosts"
	assert.Contains(t, stdout, finding)
	code, _, stderr = f.run(t, append([]string{"--service", "etcd", "--component-timeout", "1ms"}, s.flags("cp1")...)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, finding)
	assert.NotContains(t, s.calls("cp1"), "Commit")
}

func TestHostThatIsReachedNeedNotBeReady(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"), worker("w1"))
	f := newFake(controlPlane("cp1"), worker("w1"))
	f.nodes[1].Ready = false
	code, stdout, stderr := f.run(t, append([]string{"plan", "--service", "kubelet", "--node", "w1"}, s.flags("cp1", "w1")...)...)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "w1")
}

func TestFlagsOfOneTransportAreRefusedWithAnother(t *testing.T) {
	for args, want := range map[string]string{
		"check --host cp1":                                       "--host needs --transport ssh",
		"check --host-file hosts":                                "--host-file needs --transport ssh",
		"check --transport ssh":                                  "no host is named",
		"check --transport nats":                                 "unknown --transport \"nats\"\nhint: want one of auto, ssh",
		"check --transport ssh --host cp1 --image x":             "--image and --transport ssh exclude each other",
		"check --transport ssh --host cp1 --image-pull-secret x": "--image-pull-secret and --transport ssh exclude each other",
		"--all --host cp1":                                       "--host needs --transport ssh",
		"plan --all --transport ssh --host cp1 --image x":        "--image and --transport ssh exclude each other",
		"--all --transport ssh --host cp1 --dry-run=client":      "--dry-run=client and --transport ssh exclude each other",
		"check --transport ssh --host cp1 --find-secrets":        "check over ssh asks no API server",
		"check --transport ssh --host cp1 -l a=b":                "check over ssh asks no API server",
	} {
		code, _, stderr := healthy().run(t, strings.Fields(args)...)
		assert.NotZero(t, code, args)
		assert.Contains(t, stderr, want, args)
	}
}
