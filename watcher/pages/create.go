package pages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// clock returns the time.
type clock = func() time.Time

// errPlanUsed means that a plan was carried out before.
var errPlanUsed = hint.AddTo(errors.New("this plan was begun already"), "plan again")

// runOnce carries a plan out: it creates a CertificateRotation, which the watcher runs as any other,
// and follows it.
func (c *userCluster) runOnce(request plan.Request, document v1alpha1.RotationPlan) func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
	var begun atomic.Bool
	return func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if begun.Swap(true) {
			return nil, fmt.Errorf("%w: %w", dashboard.ErrNotBegun, errPlanUsed)
		}
		rotation := &v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{GenerateName: watched.NamePrefix}, Spec: specOf(request)}
		err := c.createObject(ctx, rotation, startRole, createRotation, getRotation)
		switch {
		case err != nil && kube.IsRestarting(err):
			return nil, hint.AddTo(err, "it may have been created: kubectl get certificaterotations")
		case err != nil:
			return nil, fmt.Errorf("%w: %w", dashboard.ErrNotBegun, err)
		}
		return c.followed(rotation.Name).Follow(ctx, document, progress)
	}
}

// followed reads the status of a rotation as long as the user may.
func (c *userCluster) followed(name string) watched.Rotation {
	return watched.Rotation{
		Name: name, Now: c.Now, Pause: c.Pause, Explain: func(err error) string { return printers.CleanLines(err.Error()) },
		Read: func(ctx context.Context) (*v1alpha1.CertificateRotation, error) {
			if err := c.requireAccess(ctx, startRole, getRotation); err != nil {
				return nil, err
			}
			out := &v1alpha1.CertificateRotation{}
			err := c.Live.Get(ctx, client.ObjectKey{Name: name}, out)
			return out, err
		},
		Reports: func(ctx context.Context) ([]v1alpha1.NodeCertificateReport, error) {
			if err := c.requireAccess(ctx, startRole, listReports); err != nil {
				return nil, err
			}
			var list v1alpha1.NodeCertificateReportList
			err := c.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy)
			return list.Items, err
		},
	}
}

// createObject creates an object for a user with the permission at this moment. The API server knows the
// watcher as its author; its annotation and an Event name the user.
func (c *userCluster) createObject(ctx context.Context, object client.Object, role string, needed ...kube.Access) error {
	if c.NotifyOnly && needed[0] == createRotation {
		return errors.New(notifyOnly)
	}
	if err := c.requireAccess(ctx, role, needed...); err != nil {
		return err
	}
	object.SetAnnotations(map[string]string{v1alpha1.RequestedByAnnotation: c.user.Name})
	if err := c.Creator.Create(ctx, object, client.FieldOwner("rotate-certs-dashboard")); err != nil {
		return err
	}
	c.Log.Info("created for a user of the dashboard", "kind", fmt.Sprintf("%T", object), "name", object.GetName(), "user", c.user.Name)
	c.recordUser(object)
	return nil
}

// recordUser writes an Event that names the user.
func (c *userCluster) recordUser(object runtime.Object) {
	c.Recorder.Eventf(object, nil, corev1.EventTypeNormal, "RequestedByUser", "Create", "requested in the dashboard by %s", printers.CleanText(c.user.Name))
}

// MarkCompromised creates a CompromisedCertificate if it matches a reported certificate: without one,
// its keys would be believed to be replaced.
func (c *userCluster) MarkCompromised(ctx context.Context, m dashboard.Mark) error {
	if err := c.requireAccess(ctx, responderRole, createMark); err != nil {
		return err
	}
	list, err := c.readReports(ctx)
	if err != nil {
		return err
	}
	if !matchesAny(m, list.reports) {
		return hint.AddTo(errors.New("no reported certificate matches"), "check the service, the nodes and the fingerprint")
	}
	return c.createObject(ctx, &v1alpha1.CompromisedCertificate{
		ObjectMeta: metav1.ObjectMeta{GenerateName: string(m.Service) + "-"},
		Spec:       v1alpha1.CompromisedCertificateSpec{Service: m.Service, Nodes: m.Nodes, Fingerprint: m.Fingerprint, Reason: strings.TrimSpace(m.Reason)},
	}, responderRole, createMark)
}

// matchesAny reports whether a reported certificate is one that a mark is for.
func matchesAny(m dashboard.Mark, reports []v1alpha1.NodeCertificateReport) bool {
	for i := range reports {
		if len(m.Nodes) > 0 && !slices.Contains(m.Nodes, reports[i].Name) {
			continue
		}
		for _, c := range reports[i].Certificates {
			if c.Service == m.Service && (m.Fingerprint == "" || c.FingerprintSHA256 == m.Fingerprint) {
				return true
			}
		}
	}
	return false
}
