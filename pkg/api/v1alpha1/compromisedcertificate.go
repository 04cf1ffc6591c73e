package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// CompromisedCertificate marks certificates of a service as compromised: their private keys are
// known to others, or may be. The watcher replaces the keys at once. RBAC controls the right to
// create one, and the audit log names its author. To withdraw it, delete it.
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
	// Status lists the certificates that matched, and whether they are replaced. Its
	// observedGeneration is -1 until the watcher has seen the object, so that kstatus does not
	// report it as done.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status CompromisedCertificateStatus `json:"status,omitempty"`
}

// CompromisedCertificateSpec selects the compromised certificates; it cannot be changed afterwards.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a CompromisedCertificate cannot be changed: delete it and create another"
// +kubebuilder:object:generate=true
type CompromisedCertificateSpec struct {
	// Service that uses the keys.
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	Service certs.Service `json:"service"`
	// Nodes on which the keys are; without it, every node.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +listType=set
	// +optional
	Nodes []string `json:"nodes,omitempty"`
	// Fingerprint (SHA-256, hex) of a single certificate; without it, all certificates of the
	// service match.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`
	// Reason describes what happened. It appears in events and messages.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`\S`
	Reason string `json:"reason"`
}

// The condition types of a CompromisedCertificate. Until the certificates are replaced it has
// [ConditionReconciling] too, or [ConditionStalled] if too many match.
const (
	// ConditionAccepted is True once status.certificates lists the certificates that match,
	// and False if none matches.
	ConditionAccepted = "Accepted"
	// ConditionReplaced is True once none of status.certificates is on a node anymore.
	ConditionReplaced = "Replaced"
)

// CompromisedCertificateStatus lists the certificates that matched, and whether they are replaced.
//
// +kubebuilder:object:generate=true
type CompromisedCertificateStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Certificates are those that matched when the watcher first saw the object. Certificates
	// that are issued later are not compromised by it.
	// +kubebuilder:validation:MaxItems=200000
	// +listType=atomic
	// +optional
	Certificates []CompromisedRef `json:"certificates,omitempty"`
	// PendingNodes had not reported when the watcher first saw the object. Their certificates
	// are added once they report.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	PendingNodes []string `json:"pendingNodes,omitempty"`
	// Rotation is the newest CertificateRotation that replaces these certificates.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Rotation string `json:"rotation,omitempty"`
	// Residual lists the access that the old certificates still give, until when, and how to stop
	// it: Kubernetes cannot revoke them.
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

// CompromisedCertificateList is a list of CompromisedCertificates.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
type CompromisedCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CompromisedCertificate `json:"items"`
}
