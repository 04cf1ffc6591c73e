package plugin

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// runByWatcher has the watcher carry a plan out, and follows it to its end.
func (d *contextCluster) runByWatcher(o *rotateOptions, c *cluster, document v1alpha1.RotationPlan) runFunc {
	return d.onceOnly(func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if err := d.checkLock(ctx, c); err != nil {
			return nil, err
		}
		api, err := openObjects(d.conn)
		if err != nil {
			return nil, d.notBegun(err)
		}
		name, err := d.createRotation(ctx, api, o)
		switch {
		case err != nil && kube.IsRestarting(err):
			return nil, hint.AddTo(explainError(err, d.flags), "it may have been created: kubectl get certificaterotations")
		case err != nil:
			return nil, d.notBegun(err)
		}
		rotation := watched.Rotation{
			Name: name, Read: func(ctx context.Context) (*v1alpha1.CertificateRotation, error) { return readRotation(ctx, api, name) },
			Reports: func(ctx context.Context) ([]v1alpha1.NodeCertificateReport, error) {
				return d.app.readReports(ctx, d.conn)
			},
			Explain: firstLine, Pause: d.app.pauseOnce, Now: d.app.now,
		}
		report, err := rotation.Follow(ctx, document, progress)
		if report == nil {
			err = explainError(err, d.flags)
		}
		return report, err
	})
}

// createRotation creates the object of a request, and returns its name.
func (d *contextCluster) createRotation(ctx context.Context, api *objects, o *rotateOptions) (string, error) {
	object, err := newObject(&v1alpha1.CertificateRotation{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "CertificateRotation"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: watched.NamePrefix},
		Spec: v1alpha1.CertificateRotationSpec{
			Services: o.request.Services, Nodes: o.request.Nodes, Restart: o.request.Restart.APIName(), Compromised: o.request.Compromised,
		},
	})
	if err != nil {
		return "", err
	}
	created, err := api.resourceOf(rotationsResource, "").Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsForbidden(err):
		return "", hint.AddTo(fmt.Errorf("create CertificateRotation: %w", err),
			"an administrator can bind the ClusterRole rotate-certs:start to you, or run: %s", o.sameCommand())
	case err != nil:
		return "", fmt.Errorf("create CertificateRotation: %w", err)
	}
	return created.GetName(), nil
}

func readRotation(ctx context.Context, api *objects, name string) (*v1alpha1.CertificateRotation, error) {
	object, err := api.resourceOf(rotationsResource, "").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := &v1alpha1.CertificateRotation{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out); err != nil {
		return nil, fmt.Errorf("read CertificateRotation %q: %w", name, err)
	}
	return out, nil
}
