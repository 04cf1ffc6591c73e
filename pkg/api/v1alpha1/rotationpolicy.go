package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// RotationPolicyName is the name of the only RotationPolicy.
const RotationPolicyName = "default"

// RotationPolicy controls the automatic rotations of the watcher: which certificates it
// rotates, when, how many at a time, and when it starts nothing. There is one, named "default".
// Without it, and for every field that it does not set, the defaults in docs/policy.md apply.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rotpol,categories=rotate-certs
// +kubebuilder:metadata:labels={app.kubernetes.io/name=rotate-certs,app.kubernetes.io/managed-by=rotate-certs}
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="a cluster has one RotationPolicy: its name must be \"default\""
// +kubebuilder:printcolumn:name="Valid",type=string,JSONPath=`.status.conditions[?(@.type=="Valid")].status`
// +kubebuilder:printcolumn:name="In Force",type=string,JSONPath=`.status.conditions[?(@.type=="InForce")].status`
// +kubebuilder:printcolumn:name="Frozen",type=boolean,JSONPath=`.spec.freeze.enabled`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="InForce")].message`,priority=1
type RotationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec RotationPolicySpec `json:"spec,omitzero"`
	// Status is whether the policy is valid and in force. Its observedGeneration is -1 until the
	// watcher has seen the object, so that kstatus does not report it as done.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status RotationPolicyStatus `json:"status,omitzero"`
}

// RotationPolicySpec is the policy. Durations, fractions, times and schedules are strings that
// the watcher reads, so that an invalid one is reported in the status with its field.
//
// +kubebuilder:validation:XValidation:rule="(has(self.defaults) && has(self.defaults.allowShortValidity) && self.defaults.allowShortValidity) || ((!has(self.defaults) || !has(self.defaults.validity) || self.defaults.validity.contains('d') || duration(self.defaults.validity) >= duration('24h')) && (!has(self.rules) || self.rules.all(r, !has(r.validity) || (has(r.allowShortValidity) && r.allowShortValidity) || r.validity.contains('d') || duration(r.validity) >= duration('24h'))))",message="validity is too short: at least 24h, or, with allowShortValidity, 10m"
// +kubebuilder:object:generate=true
type RotationPolicySpec struct {
	// Defaults apply to every certificate.
	// +optional
	Defaults RotationPolicySettings `json:"defaults,omitzero"`
	// Rules are evaluated in order; the first whose match matches a certificate applies. Fields
	// that it does not set are as in defaults.
	// +kubebuilder:validation:MaxItems=200
	// +listType=map
	// +listMapKey=name
	// +optional
	Rules []RotationPolicyRule `json:"rules,omitempty"`
	// Authorities is how long before its expiry a CA is reported. CAs are never renewed
	// automatically.
	// +optional
	Authorities RotationPolicyThreshold `json:"authorities,omitzero"`
	// +optional
	Freeze RotationPolicyFreeze `json:"freeze,omitzero"`
	// +optional
	Limits RotationPolicyLimits `json:"limits,omitzero"`
	// +optional
	Retry RotationPolicyRetry `json:"retry,omitzero"`
	// +optional
	FleetRequests RotationPolicyFleetRequests `json:"fleetRequests,omitzero"`
}

// RotationPolicyFleetRequests permits rotations that users of other clusters ask for, where clusters
// share their summaries by NATS. By default none is permitted.
//
// +kubebuilder:object:generate=true
type RotationPolicyFleetRequests struct {
	// Services that may be asked for; an empty list: none.
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	// +listType=set
	// +optional
	Services []certs.Service `json:"services,omitempty"`
}

// RotationPolicySettings are the settings for certificates.
//
// +kubebuilder:object:generate=true
type RotationPolicySettings struct {
	// Mode is Automatic, or NotifyOnly: events and metrics, and no rotation starts
	// automatically, not even of compromised keys.
	// +kubebuilder:validation:Enum=Automatic;NotifyOnly
	// +optional
	Mode string `json:"mode,omitempty"`
	// Threshold is how long before its expiry a certificate is due.
	// +optional
	Threshold RotationPolicyThreshold `json:"threshold,omitzero"`
	// SelfManaged replaces threshold for a certificate that its component renews automatically,
	// too, as a kubelet does.
	// +optional
	SelfManaged RotationPolicyThreshold `json:"selfManaged,omitzero"`
	// Windows are when renewals may start; an empty list: at any time.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	Windows []RotationPolicyWindow `json:"windows,omitzero"`
	// Override is how long before its expiry a certificate does not wait for a window.
	// +optional
	Override RotationPolicyOverride `json:"override,omitzero"`
	// Validity of new certificates, such as "90d"; without it, that of the cluster's kubeadm
	// configuration. At least 24 hours, unless allowShortValidity is set.
	// +optional
	Validity DurationText `json:"validity,omitempty"`
	// AllowShortValidity allows a validity of less than 24 hours, and of 10 minutes at least, or
	// one that is not longer than the duration of threshold.
	// +optional
	AllowShortValidity bool `json:"allowShortValidity,omitempty"`
	// +optional
	Restart RotationPolicyRestart `json:"restart,omitzero"`
}

// RotationPolicyRule is settings for some certificates.
//
// +kubebuilder:object:generate=true
type RotationPolicyRule struct {
	// Name by which messages refer to the rule.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self != 'defaults'",message="\"defaults\" is the name of the settings without a matching rule"
	Name string `json:"name"`
	// Match selects certificates that match everything that is set.
	Match RotationPolicyMatch `json:"match"`

	RotationPolicySettings `json:",inline"`
}

// RotationPolicyThreshold is a time before an expiry: the smaller of a duration and a fraction
// of the whole life. The one that is not set has its default.
//
// +kubebuilder:object:generate=true
type RotationPolicyThreshold struct {
	// +optional
	Duration DurationText `json:"duration,omitempty"`
	// +optional
	Fraction FractionText `json:"fraction,omitempty"`
}

// RotationPolicyOverride is a time before an expiry, or never.
//
// +kubebuilder:validation:XValidation:rule="!has(self.never) || !self.never || (!has(self.duration) && !has(self.fraction))",message="never excludes duration and fraction"
// +kubebuilder:object:generate=true
type RotationPolicyOverride struct {
	// Never makes a certificate always wait for a window.
	// +optional
	Never bool `json:"never,omitempty"`
	// +optional
	Duration DurationText `json:"duration,omitempty"`
	// +optional
	Fraction FractionText `json:"fraction,omitempty"`
}

// RotationPolicyWindow is a time in which renewals may start.
//
// +kubebuilder:object:generate=true
type RotationPolicyWindow struct {
	// Schedule is a cron expression for when the window opens: minute, hour, day of month,
	// month and day of week.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	Schedule string `json:"schedule"`
	// Duration is how long it stays open, from 1m to 7d.
	Duration DurationText `json:"duration"`
	// TimeZone of the schedule, such as Europe/Berlin; without it UTC.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self != 'Local'",message="want a name such as Europe/Berlin, or UTC"
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// RotationPolicyRestart selects the components that restart.
//
// +kubebuilder:object:generate=true
type RotationPolicyRestart struct {
	// Renewal selects the components that restart after a renewal: Always (every component whose
	// certificate is replaced), IfNeeded (those that do not reload their files), or Never.
	// +kubebuilder:validation:Enum=Always;IfNeeded;Never
	// +optional
	Renewal string `json:"renewal,omitempty"`
	// Compromise is the same for compromised keys. A component that is not restarted continues
	// to use the old key, so Never is not possible.
	// +kubebuilder:validation:Enum=Always;IfNeeded
	// +optional
	Compromise string `json:"compromise,omitempty"`
}

// RotationPolicyFreeze stops automatic rotations.
//
// +kubebuilder:object:generate=true
type RotationPolicyFreeze struct {
	// +optional
	Enabled bool `json:"enabled,omitempty"`
	// Until is the end of the freeze, such as 2027-01-03T06:00:00Z; without it, the freeze
	// remains until it is disabled.
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$`
	// +optional
	Until string `json:"until,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
	// Allow are exceptions from the freeze: Compromised, and Override (certificates that do not
	// wait for a window). Without it, Compromised; an empty list: no exceptions.
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Enum=Compromised;Override
	// +listType=set
	// +optional
	Allow []string `json:"allow,omitzero"`
}

// RotationPolicyLimits limit automatic rotations.
//
// +kubebuilder:object:generate=true
type RotationPolicyLimits struct {
	// RotationsPerDay is how many renewals may start within any 24 hours; 0: no limit.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	RotationsPerDay *int32 `json:"rotationsPerDay,omitempty"`
	// NodesPerRotation is how many nodes one rotation may have.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000
	// +optional
	NodesPerRotation *int32 `json:"nodesPerRotation,omitempty"`
	// MaxUnavailable is the number of workers that may be in progress at a time, 3 or "10%".
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 999999999 : self.matches('^[1-9][0-9]{0,8}%?$')",message="want a number of workers, or a percentage of them such as 10%"
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// RotationPolicyRetry controls retries after failures.
//
// +kubebuilder:object:generate=true
type RotationPolicyRetry struct {
	// InitialBackoff is the pause after the first failure; it doubles with each.
	// +optional
	InitialBackoff DurationText `json:"initialBackoff,omitempty"`
	// MaxBackoff is the longest pause.
	// +optional
	MaxBackoff DurationText `json:"maxBackoff,omitempty"`
	// StopAfter is after how many failures a certificate is tried once a day.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	StopAfter *int32 `json:"stopAfter,omitempty"`
}

// The condition types of a RotationPolicy. [ConditionStalled] is True while the spec is not
// valid, and absent otherwise.
const (
	// ConditionValid is False if the watcher cannot read the spec; the message has every error
	// with its field.
	ConditionValid = "Valid"
	// ConditionInForce is True once the watcher applies the spec, and False while it applies
	// another policy. Its message says which.
	ConditionInForce = "InForce"
)

// RotationPolicyStatus is whether the policy is valid and in force. The leading watcher writes
// it.
//
// +kubebuilder:object:generate=true
type RotationPolicyStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// InForceSince is since when the current policy is in force.
	// +optional
	InForceSince *metav1.Time `json:"inForceSince,omitempty"`
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RotationPolicyList is a list of policies.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
type RotationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RotationPolicy `json:"items"`
}
