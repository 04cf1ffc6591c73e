package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// CompromisedCertificate states that the private keys of a service's certificates are in
// wrong hands, or may be: a fact that no certificate shows. The watcher rotates them at
// once. RBAC says who may state it, the audit log who did.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={app.kubernetes.io/name=rotate-certs,app.kubernetes.io/managed-by=rotate-certs}
// +kubebuilder:resource:scope=Cluster,shortName=compcert,categories=rotate-certs
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.service`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.spec.nodes`
// +kubebuilder:printcolumn:name="Replaced",type=string,JSONPath=`.status.conditions[?(@.type=="Replaced")].status`
// +kubebuilder:printcolumn:name="Rotation",type=string,JSONPath=`.status.rotation`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CompromisedCertificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec CompromisedCertificateSpec `json:"spec"`
	// Status is what was found to be compromised, and what became of it. Its observedGeneration is -1 until the
	// watcher has seen the object, so that kstatus does not take it for done.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status CompromisedCertificateStatus `json:"status,omitempty"`
}

// CompromisedCertificateSpec says what is compromised; it cannot be changed afterwards.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a mark cannot be changed; remove it and make another"
// +kubebuilder:object:generate=true
type CompromisedCertificateSpec struct {
	// Service that holds the keys.
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	Service certs.Service `json:"service"`
	// Nodes on which they lie; without it, every node.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +listType=set
	// +optional
	Nodes []string `json:"nodes,omitempty"`
	// Fingerprint (SHA-256, hex) of the one certificate that is meant; without it, all of
	// the service.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`
	// Reason in a person's words. It appears in events and messages.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`\S`
	Reason string `json:"reason"`
}

// The condition types of a CompromisedCertificate. Until the certificates are replaced it has
// [ConditionReconciling] too, or [ConditionStalled] where it means too many.
const (
	// ConditionAccepted is True once status.certificates says what the mark means, and
	// False where it means nothing.
	ConditionAccepted = "Accepted"
	// ConditionReplaced is True once none of status.certificates is on a node any more.
	ConditionReplaced = "Replaced"
)

// CompromisedCertificateStatus is what was found to be compromised, and what became of it.
//
// +kubebuilder:object:generate=true
type CompromisedCertificateStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Certificates are what the mark meant when it was seen first: what is issued later is
	// not compromised by it.
	// +kubebuilder:validation:MaxItems=200000
	// +listType=atomic
	// +optional
	Certificates []CompromisedRef `json:"certificates,omitempty"`
	// PendingNodes had not reported yet when the mark was seen first; what they turn out to
	// have is added then.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	PendingNodes []string `json:"pendingNodes,omitempty"`
	// Rotation is the newest CertificateRotation that this mark has caused.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Rotation string `json:"rotation,omitempty"`
	// Residual says what the old certificates still open, until when, and what stops it:
	// Kubernetes cannot revoke them.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=32768
	// +listType=atomic
	// +optional
	Residual []string `json:"residual,omitempty"`
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CompromisedRef is one compromised certificate.
//
// +kubebuilder:object:generate=true
type CompromisedRef struct {
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	Service certs.Service `json:"service"`
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{64})?$`
	FingerprintSHA256 string      `json:"fingerprintSHA256"`
	NotAfter          metav1.Time `json:"notAfter"`
}

// CompromisedCertificateList is a list of marks.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
type CompromisedCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CompromisedCertificate `json:"items"`
}
