package watcher

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
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
