package watcher

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
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
