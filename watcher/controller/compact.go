package controller

import (
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// CompactObject is the transform of the informers: it drops unused fields, and stores texts
// once that thousands of nodes have in common.
func CompactObject(object any) (any, error) {
	switch o := object.(type) {
	case *v1alpha1.NodeCertificateReport:
		o.ManagedFields = nil
		o.Annotations = nil
		o.Labels = nil
		// Decoded slices have spare capacity.
		o.Certificates = slices.Clone(o.Certificates)
		o.Authorities = slices.Clone(o.Authorities)
		for i := range o.Certificates {
			c := &o.Certificates[i]
			c.SANs = nil
			c.Service = certs.Service(internText(string(c.Service)))
			for _, text := range []*string{&c.Name, &c.Path, &c.User, &c.Subject, &c.Issuer, &c.Reason, &c.KeptKey} {
				*text = internText(*text)
			}
			if c.NotRenewable != nil {
				c.NotRenewable.Reason = internText(c.NotRenewable.Reason)
				c.NotRenewable.Authority = internText(c.NotRenewable.Authority)
			}
		}
		for i := range o.Authorities {
			a := &o.Authorities[i]
			for _, text := range []*string{&a.ID, &a.Name, &a.Path, &a.Subject, &a.SerialNumber, &a.FingerprintSHA256} {
				*text = internText(*text)
			}
		}
	case *corev1.Node:
		o.ManagedFields = nil
		o.Annotations = nil
		o.Spec = corev1.NodeSpec{ProviderID: o.Spec.ProviderID, Taints: o.Spec.Taints}
		o.Status = corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: internText(o.Status.NodeInfo.OperatingSystem), Architecture: internText(o.Status.NodeInfo.Architecture)},
			Conditions: slices.DeleteFunc(o.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type != corev1.NodeReady }),
		}
	}
	return object, nil
}

func internText(s string) string { return unique.Make(s).Value() }
