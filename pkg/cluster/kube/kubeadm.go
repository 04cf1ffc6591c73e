package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// CertificateValidity is the validity of certificates in the cluster's kubeadm configuration
// (certificateValidityPeriod, since kubeadm.k8s.io/v1beta4). It is 0, for the default, where
// there is no such configuration, it does not set it, or it may not be read.
func CertificateValidity(ctx context.Context, client kubernetes.Interface) (time.Duration, error) {
	const name = "kubeadm-config"
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	object, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read configmap %q: %w", metav1.NamespaceSystem+"/"+name, err)
	}
	var config struct {
		CertificateValidityPeriod *metav1.Duration `json:"certificateValidityPeriod"`
	}
	if err := yaml.Unmarshal([]byte(object.Data["ClusterConfiguration"]), &config); err != nil {
		return 0, hint.AddTo(fmt.Errorf("read ClusterConfiguration in configmap %q: %w", metav1.NamespaceSystem+"/"+name, err),
			"--validity sets the validity without it")
	}
	if config.CertificateValidityPeriod == nil || config.CertificateValidityPeriod.Duration <= 0 {
		return 0, nil
	}
	return config.CertificateValidityPeriod.Duration, nil
}
