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
