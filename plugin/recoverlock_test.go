package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// expiredAdmin is a control-plane node whose admin.conf has expired.
func expiredAdmin(name string) inventory.Node {
	n := controlPlane(name)
	last := len(n.Certificates) - 1
	store := n.Certificates[last].Store
	n.Certificates[last] = leaf(certs.Admin, "admin.conf", "kubernetes", -day)
	n.Certificates[last].Store = store
	return n
}

func (s *sshHosts) recover(t *testing.T, f *fake, hosts ...string) (code int, stderr string) {
	t.Helper()
	code, _, stderr = f.run(t, append([]string{"recover", "--yes"}, s.flags(hosts...)[2:]...)...)
	return code, stderr
}

func TestRecoverTakesTheLockWhereTheAPIServerAnswers(t *testing.T) {
	s := newSSHHosts(t, expiredAdmin("cp1"))
	f := newFake(expiredAdmin("cp1"))
	code, stderr := s.recover(t, f, "cp1")
	require.Zero(t, code, stderr)
	assert.True(t, f.did("lock"), "%v", f.log)
	assert.NotContains(t, stderr, "Without the cluster's lock")
	assert.Contains(t, s.calls("cp1"), "  Commit\n")
}

func TestRecoverChangesNothingWhileAnotherRotationHoldsTheLock(t *testing.T) {
	s := newSSHHosts(t, expiredAdmin("cp1"))
	f := newFake(expiredAdmin("cp1"))
	f.heldNow = &kube.HeldError{Holder: "the watcher"}
	code, stderr := s.recover(t, f, "cp1")
	assert.Equal(t, 3, code, stderr)
	assert.Equal(t, "scan\n", s.calls("cp1"), "no process of a host is ended either")
}

func TestRecoverWorksWithoutTheLockWhereItCannotBeTaken(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://10.0.0.10:6443/api/v1/nodes", Err: syscall.ECONNREFUSED}
	for name, broken := range map[string]func(*fake){
		"no answer":                        func(f *fake) { f.down = refused },
		"the API server ends before":       func(f *fake) { f.held = refused },
		"the user may not list nodes":      func(f *fake) { f.down = apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil) },
		"the credentials have expired":     func(f *fake) { f.down = answerWith(http.StatusUnauthorized) },
		"the kubeconfig is of another one": func(f *fake) { f.nodes[0].Name = "other" },
	} {
		s := newSSHHosts(t, expiredAdmin("cp1"))
		f := newFake(expiredAdmin("cp1"))
		broken(f)
		code, stderr := s.recover(t, f, "cp1")
		assert.Zero(t, code, "%s: %s", name, stderr)
		assert.Contains(t, stderr, "Without the cluster's lock: ", name)
		assert.Contains(t, s.calls("cp1"), "  Commit\n", name)
	}
}

// lockThat answers Confirm in one way.
type lockThat struct {
	fleet.Lock

	confirms func(context.Context) error
}

func (l lockThat) Confirm(ctx context.Context) error { return l.confirms(ctx) }

func TestRecoveryStopsWhereTheLockIsLostButNotWhereItCannotBeRead(t *testing.T) {
	lost := recoveryLock{lockThat{confirms: func(context.Context) error { return fmt.Errorf("%w: the watcher holds it", fleet.ErrLockLost) }}}
	require.ErrorIs(t, lost.Confirm(t.Context()), fleet.ErrLockLost)
	unread := recoveryLock{lockThat{confirms: func(context.Context) error { return errors.New("connection refused") }}}
	require.NoError(t, unread.Confirm(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, unread.Confirm(ended), context.Canceled)
}

// noLocker waits until its caller gives up.
type noLocker struct{}

func (noLocker) Acquire(ctx context.Context, _ string, _ int64) (fleet.Lock, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRecoveryDoesNotWaitForTheLockOfAnAPIServerThatHasEnded(t *testing.T) {
	var why error
	l := recoveryLocker{api: noLocker{}, nodes: &fake{}, report: func(err error) { why = err }, timeout: time.Millisecond}
	lock, err := l.Acquire(t.Context(), "7f3c2a", 0)
	require.NoError(t, err)
	assert.NotNil(t, lock)
	require.Error(t, why)
}
