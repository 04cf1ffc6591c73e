package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the objects in this package.
var GroupVersion = schema.GroupVersion{Group: "rotate-certs.io", Version: "v1alpha1"}

// AddToScheme makes the objects known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&NodeCertificateReport{}, &NodeCertificateReportList{},
		&CertificateRotation{}, &CertificateRotationList{},
		&CompromisedCertificate{}, &CompromisedCertificateList{},
		&RotationPolicy{}, &RotationPolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
