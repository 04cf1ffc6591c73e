package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// NodeCertificateReport is what the agent on a node sees of that node's certificates. It
// has the node's name and is owned by the node. It is written by nobody but that node's
// agent, so it is a hint: whoever acts on it looks at the node again. It holds nothing
// secret.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={app.kubernetes.io/name=rotate-certs,app.kubernetes.io/managed-by=rotate-certs}
// +kubebuilder:resource:scope=Cluster,shortName=ncr,categories=rotate-certs
// +kubebuilder:printcolumn:name="Earliest expiry",type=string,JSONPath=`.summary.earliestExpiry`
// +kubebuilder:printcolumn:name="Certificate",type=string,JSONPath=`.summary.earliestCertificate`
// +kubebuilder:printcolumn:name="Certificates",type=integer,JSONPath=`.summary.certificates`
// +kubebuilder:printcolumn:name="Problems",type=integer,JSONPath=`.summary.problems`
// +kubebuilder:printcolumn:name="Due",type=string,JSONPath=`.status.conditions[?(@.type=="CertificatesDue")].reason`
// +kubebuilder:printcolumn:name="Waits For",type=string,JSONPath=`.status.conditions[?(@.type=="CertificatesDue")].message`,priority=1
// +kubebuilder:printcolumn:name="Seen",type=string,JSONPath=`.summary.observedAt`,priority=1
type NodeCertificateReport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Summary ReportSummary `json:"summary"`
	// Certificates are those with a private key on the node.
	// +kubebuilder:validation:MaxItems=500
	// +listType=atomic
	// +optional
	Certificates []ReportedCertificate `json:"certificates,omitempty"`
	// +kubebuilder:validation:MaxItems=100
	// +listType=atomic
	// +optional
	Authorities []ReportedAuthority `json:"authorities,omitempty"`
	// NotInspected is what could not be looked at.
	// +kubebuilder:validation:MaxItems=500
	// +listType=atomic
	// +optional
	NotInspected []ReportedGap `json:"notInspected,omitempty"`
	// Status is what the watcher makes of the report.
	// +optional
	Status NodeCertificateReportStatus `json:"status,omitzero"`
}

const (
	// ReportHeartbeat is after how long an agent writes its report though nothing has
	// changed, so that a silent agent can be told from a quiet node.
	ReportHeartbeat = time.Hour
	// ReportFreshFor is how old a report may be before its agent counts as missing: it may
	// fail to write two.
	ReportFreshFor = 3 * ReportHeartbeat
)

// ConditionCertificatesDue is True while something on the node is due, or compromised, and
// not renewed yet. Its reason says what it waits for (Requested, Running, Window, Freeze,
// Limit, BackOff, Stopped, NotifyOnly, NotRenewable, CANearEnd …), its message the same in sentences.
const ConditionCertificatesDue = "CertificatesDue"

// A report, or entries of it, that the watcher does not take into account have the condition
// [ConditionAccepted] with the status False and the reason Malformed or NoNode. A report
// without that condition is accepted.

// NodeCertificateReportStatus is what the watcher makes of a report.
//
// +kubebuilder:object:generate=true
type NodeCertificateReportStatus struct {
	// +kubebuilder:validation:MaxItems=10
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReportSummary is what a person looks for first. Its times are texts (RFC 3339, UTC):
// kubectl prints dates of the future as "<invalid>".
//
// +kubebuilder:object:generate=true
type ReportSummary struct {
	// EarliestExpiry is when the first certificate ends. Empty where there is none.
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$`
	// +optional
	EarliestExpiry string `json:"earliestExpiry,omitempty"`
	// EarliestCertificate is which, "service/name".
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	EarliestCertificate string `json:"earliestCertificate,omitempty"`
	Certificates        int32  `json:"certificates"`
	// Problems counts what is invalid, not served, or could not be looked at. What a
	// clock alone changes (expiring, expired) is not counted: reports change only when
	// the node does.
	Problems int32 `json:"problems"`
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$`
	ObservedAt string `json:"observedAt"`
	// ProgramVersion is the agent's.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ProgramVersion string `json:"programVersion,omitempty"`
}

// ReportedCertificate is one certificate on the node.
//
// +kubebuilder:object:generate=true
type ReportedCertificate struct {
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	Service certs.Service `json:"service"`
	// Name is its role as kubeadm names it: "apiserver", "etcd-peer", "admin.conf".
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path"`
	// User is the entry in a kubeconfig.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	User string `json:"user,omitempty"`
	// +kubebuilder:validation:MaxLength=512
	Subject string `json:"subject"`
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`
	// +kubebuilder:validation:MaxLength=513
	// +kubebuilder:validation:Pattern=`^(-?[0-9a-f]{1,512})?$`
	SerialNumber string `json:"serialNumber"` // lower-case hex
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{64})?$`
	FingerprintSHA256 string `json:"fingerprintSHA256"` // lower-case hex; empty: it cannot be parsed
	// The dates are missing where it cannot be parsed.
	// +optional
	NotBefore metav1.Time `json:"notBefore,omitzero"`
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitzero"`
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=512
	// +optional
	SANs []string `json:"sans,omitempty"`
	// SelfManaged says that its component renews it by itself too.
	// +optional
	SelfManaged bool `json:"selfManaged,omitempty"`
	// Reason says what is wrong with it whatever the time: it does not fit its key, an
	// endpoint serves another one. Empty: nothing.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Reason string `json:"reason,omitempty"`
	// NotRenewable says that it cannot be renewed on this node, and why. Absent: it can.
	// +optional
	NotRenewable *NotRenewable `json:"notRenewable,omitempty"`
	// KeptKey says why its key is kept when it is renewed, so that a renewal does not
	// replace a compromised key. Empty: the key is replaced.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	KeptKey string `json:"keptKey,omitempty"`
}

// NotRenewable is why a certificate cannot be renewed where it is.
//
// +kubebuilder:object:generate=true
type NotRenewable struct {
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// MaxRestart is the restart policy with which it can be renewed all the same:
	// IfNeeded (then also with Never), or Never. Empty: with none.
	// +kubebuilder:validation:Enum=IfNeeded;Never
	// +optional
	MaxRestart string `json:"maxRestart,omitempty"`
}

// ReportedAuthority is the certificate of a certificate authority on the node.
//
// +kubebuilder:object:generate=true
type ReportedAuthority struct {
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"` // its common name
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path"`
	// +kubebuilder:validation:MaxLength=512
	Subject string `json:"subject"`
	// +kubebuilder:validation:MaxLength=513
	// +kubebuilder:validation:Pattern=`^-?[0-9a-f]{1,512}$`
	SerialNumber string `json:"serialNumber"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	FingerprintSHA256 string      `json:"fingerprintSHA256"`
	NotBefore         metav1.Time `json:"notBefore"`
	NotAfter          metav1.Time `json:"notAfter"`
	// HasKey says that its private key lies on this node.
	// +optional
	HasKey bool `json:"hasKey,omitempty"`
}

// ReportedGap is something that could not be looked at.
//
// +kubebuilder:object:generate=true
type ReportedGap struct {
	// +kubebuilder:validation:Enum=etcd;kubelet;kube-apiserver;kube-proxy;kube-scheduler;kube-controller-manager;admin
	// +optional
	Service certs.Service `json:"service,omitempty"`
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Path string `json:"path,omitempty"`
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// Informational says that it is as it should be, or that nobody can change it. It is
	// not counted as a problem.
	// +optional
	Informational bool `json:"informational,omitempty"`
}

// NodeCertificateReportList is a list of reports.
//
// +kubebuilder:object:generate=true
// +kubebuilder:object:root=true
type NodeCertificateReportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeCertificateReport `json:"items"`
}
