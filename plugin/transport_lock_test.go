package plugin

import (
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

var errConnectionRefused = &url.Error{Op: "Get", URL: "https://10.0.0.10:6443/api/v1/nodes", Err: syscall.ECONNREFUSED}

// answerWith is the error that client-go makes of an HTTP status without a Status object.
func answerWith(code int) error {
	return apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{Resource: "nodes"}, "", "", 0, true)
}

// TestAPIServerThatRefusesTheUserStopsARotationOverSSH: where the API server works, another rotation
// may hold the lock.
func TestAPIServerThatRefusesTheUserStopsARotationOverSSH(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
		s := newSSHHosts(t, controlPlane("cp1"))
		f := newFake(controlPlane("cp1"))
		f.down = answerWith(status)
		code, _, stderr := f.run(t, append([]string{"--service", "etcd", "--yes"}, s.flags("cp1")...)...)
		assert.Equal(t, 1, code, status)
		assert.NotContains(t, stderr, "Without the cluster's lock", status)
		assert.Equal(t, "scan\n", s.calls("cp1"), status)
	}
}

// TestLoadBalancerWithoutAnAPIServerIsNoRefusal: its answers are those of no API server.
func TestLoadBalancerWithoutAnAPIServerIsNoRefusal(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
		s := newSSHHosts(t, controlPlane("cp1"))
		f := newFake(controlPlane("cp1"))
		f.down = answerWith(status)
		code, _, stderr := f.run(t, append([]string{"--service", "etcd", "--yes"}, s.flags("cp1")...)...)
		require.Zero(t, code, "%d: %s", status, stderr)
		assert.Contains(t, stderr, "Without the cluster's lock: ", status)
		assert.Contains(t, s.calls("cp1"), "  Commit\n", status)
	}
}

func TestRotationWithoutTheLockAndWithoutATerminalNeedsYes(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"))
	f.down = errConnectionRefused
	f.noTerminal = true
	code, _, stderr := f.run(t, append([]string{"--service", "etcd"}, s.flags("cp1")...)...)
	assert.Equal(t, 1, code, stderr)
	assert.Contains(t, stderr, "has to be agreed to, and there is no terminal\nhint: make sure that no other rotation is in progress, then add --yes")
	assert.Equal(t, "scan\n", s.calls("cp1"))

	code, _, stderr = f.run(t, append([]string{"plan", "--service", "etcd"}, s.flags("cp1")...)...)
	assert.Zero(t, code, stderr)
	code, _, stderr = f.run(t, append([]string{"--service", "etcd", "--yes"}, s.flags("cp1")...)...)
	assert.Zero(t, code, stderr)
	assert.Contains(t, s.calls("cp1"), "  Commit\n")
}

func TestRotationWithoutTheAPINeedsTheHostOfEveryEtcdMember(t *testing.T) {
	for _, hosts := range [][]string{{"cp1"}, {"cp1", "cp2"}} {
		s := newSSHHosts(t, controlPlane("cp1"), controlPlane("cp2"))
		for id, name := range []string{"cp1", "cp2"} {
			s.answer(name, "health", inventory.Health{Node: name, APIServer: &inventory.Probe{Healthy: true}, Etcd: &inventory.Etcd{LeaderID: 1, LocalID: uint64(id + 1), Members: []inventory.Member{
				{ID: 1, Name: "cp1", Healthy: true, LeaderID: 1, ClientURLs: []string{"https://10.0.0.11:2379"}},
				{ID: 2, Name: "cp2", Healthy: true, LeaderID: 1, ClientURLs: []string{"https://10.0.0.12:2379"}},
			}}})
		}
		f := newFake(controlPlane("cp1"), controlPlane("cp2"))
		f.down = errConnectionRefused
		code, _, stderr := f.run(t, append([]string{"--service", "etcd", "--node", "cp1", "--yes"}, s.flags(hosts...)...)...)
		if len(hosts) == 2 {
			require.Zero(t, code, stderr)
			assert.Contains(t, s.calls("cp1"), "  Commit\n")
			assert.NotContains(t, s.calls("cp2"), "Commit", "it is asked, and not changed")
			continue
		}
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, `etcd member "cp2" (https://10.0.0.12:2379) is on none of the hosts`)
		assert.NotContains(t, s.calls("cp1"), "Commit")
	}
}
