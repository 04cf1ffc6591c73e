package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
)

// TestHandlerReportsDeletedObjects, also where an object was deleted and made anew while the watch
// was interrupted: then it is an update.
func TestHandlerReportsDeletedObjects(t *testing.T) {
	object := func(uid types.UID) *v1alpha1.CertificateRotation {
		return &v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: "mine", UID: uid}}
	}
	var deleted []types.UID
	h := informerHandler(func(string, client.Object) {}, func(uid types.UID) { deleted = append(deleted, uid) })
	h.OnAdd(object("1"), false)
	h.OnUpdate(object("1"), object("1"))
	assert.Empty(t, deleted)
	h.OnUpdate(object("1"), object("2"))
	h.OnDelete(object("2"))
	h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "mine", Obj: object("3")})
	assert.Equal(t, []types.UID{"1", "2", "3"}, deleted)
}

// TestReasonForAnotherClusterHasNothingOfTheAPIServer: an admission webhook may say anything.
func TestReasonForAnotherClusterHasNothingOfTheAPIServer(t *testing.T) {
	for want, err := range map[string]error{
		"its CertificateRotation could not be created (BadRequest)": toBusError(apierrors.NewBadRequest("secret of node cp1")),
		"its CertificateRotation could not be created (Forbidden)":  toBusError(apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("x").GroupResource(), "y", errors.New("secret"))),
		`it belongs to cluster "x"`:                                 fmt.Errorf("%w: it belongs to cluster %q", bus.ErrPoison, "x"),
		"it could not be handled, see the log of the watcher there": errors.New("panic in the handler: secret"),
	} {
		assert.Equal(t, want, givenUpReason(err))
	}
}

// TestRefusalsAreReadAfterARestart of the watcher, as the one before has published them.
func TestRefusalsAreReadAfterARestart(t *testing.T) {
	server, err := bus.Open(t.Context(), bus.Config{Cluster: "prod", StoreDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	newWatcher := func() *watcher {
		log := slog.New(slog.DiscardHandler)
		w := &watcher{bus: server, Options: Options{Log: log}}
		objects, is := observerOf(t).objects.(client.Client)
		require.True(t, is)
		w.decider = controller.NewDecider(&controller.Decider{Client: objects, Events: publisher{bus: server, log: log}, Log: log}, nil)
		return w
	}
	before := newWatcher()
	asked := event.RotationAsked{Services: []certs.Service{certs.Etcd}, Cluster: "staging", User: "jane"}
	before.giveUp(t.Context(), event.Event{ID: "one", Data: asked}, fmt.Errorf("%w: too old", bus.ErrPoison))
	want := before.decider.AnswersFor(nil)
	require.Len(t, want, 1)
	require.Equal(t, "too old", want[0].Refused)
	require.Eventually(t, func() bool { return server.Stats().Published == 1 }, time.Minute, time.Millisecond)

	after := newWatcher()
	require.Empty(t, after.decider.AnswersFor(nil))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = after.answerOthers(ctx) })
	defer done.Wait()
	defer cancel()
	require.Eventually(t, func() bool { return len(after.decider.AnswersFor(nil)) == 1 }, time.Minute, time.Millisecond)
	got := after.decider.AnswersFor(nil)
	assert.WithinDuration(t, want[0].At, got[0].At, time.Minute)
	got[0].At = want[0].At
	assert.Equal(t, want, got)
}
