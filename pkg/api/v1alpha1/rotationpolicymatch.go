package v1alpha1

import "github.com/rotate-certs/rotate-certs/pkg/certs"

// RotationPolicyMatch selects certificates.
//
// +kubebuilder:validation:XValidation:rule="(has(self.services) && size(self.services) > 0) || (has(self.issuers) && size(self.issuers) > 0) || (has(self.nodeSelector) && ((has(self.nodeSelector.matchLabels) && size(self.nodeSelector.matchLabels) > 0) || (has(self.nodeSelector.matchExpressions) && size(self.nodeSelector.matchExpressions) > 0)))",message="match selects every certificate: set services, nodeSelector or issuers, or use defaults"
// +kubebuilder:object:generate=true
type RotationPolicyMatch struct {
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	// +listType=set
	// +optional
	Services []certs.Service `json:"services,omitempty"`
	// NodeSelector selects by the labels of Node objects.
	// +optional
	NodeSelector *NodeSelector `json:"nodeSelector,omitempty"`
	// Issuers are common names of CAs.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Issuers []string `json:"issuers,omitempty"`
}

// DurationText is a duration such as "90d", "1d12h" or "90m".
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=20
// +kubebuilder:validation:Pattern=`^([1-9][0-9]{0,3}d([0-9]{1,4}h)?([0-9]{1,4}m)?|([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?)$`
type DurationText string

// FractionText is a part of a certificate's whole life, such as "20%", at most 90%.
//
// +kubebuilder:validation:MaxLength=7
// +kubebuilder:validation:Pattern=`^(0[.][0-9]{0,2}[1-9]|[1-9]([.][0-9]{1,3})?|[1-8][0-9]([.][0-9]{1,3})?|90)%$`
type FractionText string
