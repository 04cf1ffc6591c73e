package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// CertificateRotation requests one rotation and reports its state. The watcher creates
// CertificateRotations automatically; you can also create one with kubectl or Git. A
// finished rotation is never run again: to rotate again, create another. Deleting one cancels
// it: the node in progress is finished or rolled back, and no other node is started.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={app.kubernetes.io/name=rotate-certs,app.kubernetes.io/managed-by=rotate-certs}
// +kubebuilder:resource:scope=Cluster,shortName=certrot,categories=rotate-certs
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Services",type=string,JSONPath=`.spec.services`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.spec.nodes`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.trigger.reason`
// +kubebuilder:printcolumn:name="Rotation",type=string,JSONPath=`.status.rotationID`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`,priority=1
type CertificateRotation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec CertificateRotationSpec `json:"spec"`
	// Status is the state of the rotation. Its observedGeneration is -1 until the watcher has seen
	// the object, so that kstatus does not report it as done.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status CertificateRotationStatus `json:"status,omitempty"`
}

// CertificateRotationSpec is the scope of a rotation. Only suspend and ttlSecondsAfterFinished
// can be changed afterwards.
//
// +kubebuilder:validation:XValidation:rule="self.services == oldSelf.services && has(self.nodes) == has(oldSelf.nodes) && (!has(self.nodes) || self.nodes == oldSelf.nodes) && has(self.nodeSelector) == has(oldSelf.nodeSelector) && (!has(self.nodeSelector) || self.nodeSelector == oldSelf.nodeSelector) && has(self.restart) == has(oldSelf.restart) && (!has(self.restart) || self.restart == oldSelf.restart) && has(self.validity) == has(oldSelf.validity) && (!has(self.validity) || self.validity == oldSelf.validity) && has(self.allowShortValidity) == has(oldSelf.allowShortValidity) && (!has(self.allowShortValidity) || self.allowShortValidity == oldSelf.allowShortValidity) && has(self.maxUnavailable) == has(oldSelf.maxUnavailable) && (!has(self.maxUnavailable) || self.maxUnavailable == oldSelf.maxUnavailable) && has(self.pause) == has(oldSelf.pause) && (!has(self.pause) || self.pause == oldSelf.pause) && has(self.timeout) == has(oldSelf.timeout) && (!has(self.timeout) || self.timeout == oldSelf.timeout) && has(self.compromised) == has(oldSelf.compromised) && (!has(self.compromised) || self.compromised == oldSelf.compromised) && has(self.requireAll) == has(oldSelf.requireAll) && (!has(self.requireAll) || self.requireAll == oldSelf.requireAll) && has(self.trigger) == has(oldSelf.trigger) && (!has(self.trigger) || self.trigger == oldSelf.trigger)",message="only suspend and ttlSecondsAfterFinished can be changed: create another"
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.nodeSelector)",message="nodes and nodeSelector exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(self.validity) || self.validity.contains('d') || duration(self.validity) >= duration('24h') || (has(self.allowShortValidity) && self.allowShortValidity && duration(self.validity) >= duration('10m'))",message="validity is too short: at least 24h, or, with allowShortValidity, 10m"
// +kubebuilder:validation:XValidation:rule="!has(self.compromised) || !self.compromised || !has(self.restart) || self.restart != 'Never'",message="compromised excludes restart Never: a component that is not restarted continues to use the old key"
// +kubebuilder:object:generate=true
type CertificateRotationSpec struct {
	// Services to rotate, as in "kubectl rotate-certs --service".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	// +listType=set
	Services []certs.Service `json:"services"`
	// Nodes to rotate on; without it, every node.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +listType=set
	// +optional
	Nodes []string `json:"nodes,omitempty"`
	// NodeSelector selects the nodes to rotate on by their labels, when the rotation begins. It
	// excludes nodes.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="an empty nodeSelector selects every node: omit it instead"
	// +optional
	NodeSelector *NodeSelector `json:"nodeSelector,omitempty"`
	// Suspend keeps the rotation from starting. In a rotation that is in progress, the current
	// node is finished or rolled back, and no other is started until suspend is false again.
	// Other rotations are not affected.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Restart is Always, IfNeeded (only components that do not reload their files) or Never.
	// +kubebuilder:validation:Enum=Always;IfNeeded;Never
	// +kubebuilder:default=Always
	// +optional
	Restart string `json:"restart,omitempty"`
	// Validity of the new certificates, such as "90d"; without it, as the cluster's kubeadm
	// configuration says, else 365 days. At least 24 hours, unless allowShortValidity is set.
	// +kubebuilder:validation:XValidation:rule="size(self) <= 20 && (self.matches('^[1-9][0-9]{0,3}d([0-9]{1,4}h)?([0-9]{1,4}m)?$') || (self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('0s')))",message="want a time such as 90d, 1d12h, 2160h or 90m"
	// +optional
	Validity *Duration `json:"validity,omitempty"`
	// AllowShortValidity allows a validity of less than 24 hours, and of 10 minutes at least. All
	// renewed certificates expire at its end.
	// +optional
	AllowShortValidity bool `json:"allowShortValidity,omitempty"`
	// MaxUnavailable is the number of workers that may be in progress at a time, 3 or "10%".
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 999999999 : self.matches('^[1-9][0-9]{0,8}%?$')",message="want a number of workers, or a percentage of them such as 10%"
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// Pause is how long to wait between two control-plane nodes, 30 minutes at most, for load
	// balancers that are slow to detect that an API server is available again.
	// +kubebuilder:validation:XValidation:rule="size(self) <= 20 && self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('30m')",message="want a time of 30m at most, such as 90s"
	// +optional
	Pause *Duration `json:"pause,omitempty"`
	// Timeout is how long a component may take to become healthy, such as "2m30s"; one
	// minute without it.
	// +kubebuilder:validation:XValidation:rule="size(self) <= 20 && (self.matches('^[1-9][0-9]{0,3}d([0-9]{1,4}h)?([0-9]{1,4}m)?$') || (self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('0s')))",message="want a time such as 90d, 1d12h, 2160h or 90m"
	// +optional
	Timeout *Duration `json:"timeout,omitempty"`
	// Compromised means that the old keys are not trusted: the new certificates are signed with
	// the CA's key instead of requested with the identity of a node, and the old keys are
	// destroyed once the new ones are verified.
	// +optional
	Compromised bool `json:"compromised,omitempty"`
	// RequireAll refuses the rotation if a certificate in scope cannot be renewed. Without it,
	// such a certificate is left out and listed in the status, and the others are renewed.
	// +optional
	RequireAll bool `json:"requireAll,omitempty"`
	// TTLSecondsAfterFinished is how long after its end the watcher deletes this object. Without
	// it, only objects that the watcher created are deleted.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
	// Trigger is why the watcher created this rotation. Absent: another user created it.
	// +optional
	Trigger *RotationTrigger `json:"trigger,omitempty"`
}

// RequestedByAnnotation names the user for whom the dashboard in the cluster has created a
// CertificateRotation or CompromisedCertificate. It is a record: users with the permission to create these objects
// themselves can write it, too, and the audit log of the API server then has them as the author.
const RequestedByAnnotation = "rotate-certs.io/requested-by"

// The reasons of a trigger.
const (
	TriggerExpiring    = "Expiring"
	TriggerCompromised = "Compromised"
)

// RotationTrigger is why the watcher started a rotation.
//
// +kubebuilder:object:generate=true
type RotationTrigger struct {
	// Reason is Expiring or Compromised.
	// +kubebuilder:validation:Enum=Expiring;Compromised
	Reason string `json:"reason"`
	// Fingerprints (SHA-256, hex) of the certificates to replace. If none of them is on a node
	// anymore, there is nothing to do.
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxItems=20000
	// +listType=set
	// +optional
	Fingerprints []string `json:"fingerprints,omitempty"`
	// Attempt counts from 1.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Attempt int32 `json:"attempt"`
	// EventID is the id of the event that requested the rotation.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	EventID string `json:"eventID,omitempty"`
	// CompromisedCertificates are the objects that this rotation was created for.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +listType=set
	// +optional
	CompromisedCertificates []string `json:"compromisedCertificates,omitempty"`
}

// CertificateRotationStatus is the state of a rotation.
//
// +kubebuilder:object:generate=true
type CertificateRotationStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// RotationID is the id of the rotation in "kubectl rotate-certs history".
	// +kubebuilder:validation:MaxLength=253
	// +optional
	RotationID string `json:"rotationID,omitempty"`
	// SelectedNodes are those that spec.nodeSelector selected when the rotation began.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	SelectedNodes []string `json:"selectedNodes,omitempty"`
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Conditions are the state of the rotation: see the reason of Succeeded.
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Nodes is the state of each node.
	// +kubebuilder:validation:MaxItems=10000
	// +listType=map
	// +listMapKey=node
	// +optional
	Nodes []RotationNodeStatus `json:"nodes,omitempty"`
	// LeftOut are certificates in scope that could not be renewed, and why.
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	// +optional
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	// Notes are for the operator: access that an old certificate still gives and until when,
	// and missing verifications.
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=32768
	// +listType=atomic
	// +optional
	Notes []string `json:"notes,omitempty"`
}

// RotationNodeStatus is the state of one node.
//
// +kubebuilder:object:generate=true
type RotationNodeStatus struct {
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Phase is the current phase of the node: Waiting (for the cluster to be healthy enough), Starting
	// (its pod), Staging, Staged, Working (files replaced, components restarting), Verified,
	// Undoing, Undone, Failed, Forced, Ending or Skipped.
	// +kubebuilder:validation:Enum=Waiting;Starting;Staging;Staged;Working;Verified;Undoing;Undone;Failed;Forced;Ending;Skipped
	Phase string `json:"phase"`
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
}

// CertificateRotationList is a list of rotations.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
type CertificateRotationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CertificateRotation `json:"items"`
}
