package plugin

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// secretFiles are the keys that the Secret for NATS has.
func (i *installer) secretFiles(ctx context.Context) ([]string, error) {
	name := i.settings.NATSSecret
	if name == "" {
		return nil, nil
	}
	secret, err := i.api.client.CoreV1().Secrets(i.targetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, i.missingSecret(ctx, name, "generic "+name+" --from-file=ca.crt=… --from-file=reporter.creds=… --from-file=rotator.creds=…", err)
	}
	var keys []string
	for _, key := range manifests.NATSSecretKeys(i.settings) {
		if _, has := secret.Data[key]; has {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("Secret %q has none of %s", name, natsKeys(i.settings)) //nolint:staticcheck // a kind's name
	}
	return keys, nil
}

// checkPullSecret refuses a Secret that is missing: no pod would start.
func (i *installer) checkPullSecret(ctx context.Context) error {
	name := i.settings.ImagePullSecret
	if name == "" {
		return nil
	}
	_, err := i.api.client.CoreV1().Secrets(i.targetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		return nil // the kubelets may still be allowed to read it
	}
	if err != nil {
		return i.missingSecret(ctx, name, "docker-registry "+name+" --docker-server=… --docker-username=… --docker-password=…", err)
	}
	return nil
}

// checkPriorityClass refuses a PriorityClass that does not exist: no pod could be created, and
// the running watcher would be removed by then.
func (i *installer) checkPriorityClass(ctx context.Context) error {
	name := i.settings.PriorityClass
	if name == "" {
		return nil
	}
	_, err := i.api.client.SchedulingV1().PriorityClasses().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return hint.AddTo(fmt.Errorf("PriorityClass %q does not exist", name), "kubectl get priorityclasses; --priority-class= installs without one")
	case apierrors.IsForbidden(err), err == nil:
		return nil
	}
	return fmt.Errorf("read PriorityClass %q: %w", name, err)
}

// missingSecret says how to create a Secret, and its namespace where there is none: the
// namespace needs the label that admits pods with hostPath volumes.
func (i *installer) missingSecret(ctx context.Context, name, create string, err error) error {
	namespace := ""
	if _, missing := i.api.client.CoreV1().Namespaces().Get(ctx, i.targetNamespace(), metav1.GetOptions{}); apierrors.IsNotFound(missing) {
		namespace = fmt.Sprintf("kubectl create namespace %s && kubectl label namespace %s %s=privileged && ", i.targetNamespace(), i.targetNamespace(), podSecurity)
	}
	return hint.AddTo(fmt.Errorf("read Secret %q: %w", name, err), "%skubectl -n %s create secret %s", namespace, i.targetNamespace(), create)
}
