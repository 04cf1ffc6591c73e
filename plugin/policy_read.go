package plugin

import (
	"context"
	"fmt"
	"io"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// maxPolicy bounds the size of a policy file.
const maxPolicy = 1 << 20

// policyFromFile reads the RotationPolicy of a file, or of standard input ("-"), and refuses
// the same as the watcher.
func policyFromFile(name string, in io.Reader) (*v1alpha1.RotationPolicy, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read policy file: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPolicy+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read policy file %q: %w", name, err)
	case len(text) > maxPolicy:
		return nil, fmt.Errorf("read policy file %q: it is larger than 1 MiB", name)
	}
	policy, err := rotationpolicy.Read(text)
	if err != nil {
		return nil, fmt.Errorf("policy file %q: %w", name, err)
	}
	// "kubectl get -o yaml" also writes fields that another cluster refuses.
	policy.ObjectMeta = metav1.ObjectMeta{Name: policy.Name, Labels: policy.Labels, Annotations: policy.Annotations}
	policy.Status = v1alpha1.RotationPolicyStatus{}
	return policy, nil
}

// installedPolicy reads the RotationPolicy of the cluster; nil: there is none.
func (a *app) installedPolicy(ctx context.Context, c connection) (*v1alpha1.RotationPolicy, error) {
	api, err := openObjects(c)
	if err != nil {
		return nil, err
	}
	policy, err := api.rotationPolicy(ctx)
	if noSuchKind(err) {
		return nil, nil // nothing is installed
	}
	return policy, err
}

// rotationPolicy is the RotationPolicy of the cluster; nil: there is none.
func (o *objects) rotationPolicy(ctx context.Context) (*v1alpha1.RotationPolicy, error) {
	found, err := o.resourceOf(policiesResource, "").Get(ctx, v1alpha1.RotationPolicyName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !noSuchKind(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read RotationPolicy %q: %w", v1alpha1.RotationPolicyName, err)
	}
	policy := new(v1alpha1.RotationPolicy)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, policy); err != nil {
		return nil, fmt.Errorf("read RotationPolicy %q: %w", v1alpha1.RotationPolicyName, err)
	}
	return policy, nil
}
