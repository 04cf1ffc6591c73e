package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// NodeCertificateReport lists the certificates of a node, as its agent found them. It has the
// name of the node and is owned by it. Only the agent of that node can write it, so it is not
// trusted: every rotation scans the node again. It holds no secrets.
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
// +kubebuilder:printcolumn:name="Waiting On",type=string,JSONPath=`.status.conditions[?(@.type=="CertificatesDue")].message`,priority=1
// +kubebuilder:printcolumn:name="Last Report",type=string,JSONPath=`.summary.observedAt`,priority=1
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
	// NotInspected are files and components that could not be scanned.
	// +kubebuilder:validation:MaxItems=500
	// +listType=atomic
	// +optional
	NotInspected []ReportedGap `json:"notInspected,omitempty"`
	// Status is the watcher's assessment of the report.
	// +optional
	Status NodeCertificateReportStatus `json:"status,omitzero"`
}

// ReportHeartbeat is how often an agent writes its report if nothing has changed. Without
// it, a stopped agent would look like a node without changes.
const ReportHeartbeat = time.Hour

// FreshFor is how old a report or a summary may be before it counts as stale, by its heartbeat: an
// agent or a watcher may fail to write two.
func FreshFor(heartbeat time.Duration) time.Duration { return 3 * heartbeat }

// ConditionCertificatesDue is True while a certificate on the node is due or compromised. Its
// reason is why it waits (Requested, Running, Window, Freeze,
// Limit, BackOff, Stopped, NotifyOnly, NotRenewable, CAExpiresSoon …), its message the same in sentences.
const ConditionCertificatesDue = "CertificatesDue"

// A report, or entries of it, that the watcher does not take into account have the condition
// [ConditionAccepted] with the status False and the reason Malformed or NoNode. A report
// without that condition is accepted.

// NodeCertificateReportStatus is the watcher's assessment of a report.
//
// +kubebuilder:object:generate=true
type NodeCertificateReportStatus struct {
	// +kubebuilder:validation:MaxItems=10
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReportSummary is for printer columns. Its times are texts (RFC 3339, UTC): kubectl prints
// dates in the future as "<invalid>".
//
// +kubebuilder:object:generate=true
type ReportSummary struct {
	// EarliestExpiry is when the first certificate expires. Empty if there is none.
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$`
	// +optional
	EarliestExpiry string `json:"earliestExpiry,omitempty"`
	// EarliestCertificate is the certificate that expires first, "service/name".
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	EarliestCertificate string `json:"earliestCertificate,omitempty"`
	Certificates        int32  `json:"certificates"`
	// Problems counts certificates that are invalid or not presented, and files and components
	// that could not be scanned. Certificates that expire soon or have expired are not counted:
	// reports change only when the node does.
	Problems int32 `json:"problems"`
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$`
	ObservedAt string `json:"observedAt"`
	// ProgramVersion is the version of the agent.
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
	// The dates are missing if the certificate cannot be parsed.
	// +optional
	NotBefore metav1.Time `json:"notBefore,omitzero"`
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitzero"`
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=512
	// +optional
	SANs []string `json:"sans,omitempty"`
	// SelfManaged means that its component renews it automatically, too.
	// +optional
	SelfManaged bool `json:"selfManaged,omitempty"`
	// Reason is why it is invalid: it does not match its key, or an endpoint presents another
	// certificate. Empty: it is valid. Expiry does not count.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Reason string `json:"reason,omitempty"`
	// NotRenewable is why it cannot be renewed on this node. Absent: it can.
	// +optional
	NotRenewable *NotRenewable `json:"notRenewable,omitempty"`
	// KeptKey is why a renewal keeps its key, even a compromised one. Empty: the key is
	// replaced.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	KeptKey string `json:"keptKey,omitempty"`
}

// NotRenewable is why a certificate cannot be renewed on its node.
//
// +kubebuilder:object:generate=true
type NotRenewable struct {
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// MaxRestart is the strongest restart policy with which it can still be renewed: IfNeeded
	// (and Never), or Never. Empty: with none.
	// +kubebuilder:validation:Enum=IfNeeded;Never
	// +optional
	MaxRestart string `json:"maxRestart,omitempty"`
	// Authority is the id of the CA that signed it, if only the key of that CA is missing on this
	// node: a control-plane node that has the key can sign.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{64})?$`
	// +optional
	Authority string `json:"authority,omitempty"`
}

// ReportedAuthority is the certificate of a certificate authority on the node.
//
// +kubebuilder:object:generate=true
type ReportedAuthority struct {
	// ID identifies it on all nodes, whatever its certificate: the SHA-256 of name and key.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{64})?$`
	// +optional
	ID string `json:"id,omitempty"`
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
	// HasKey means that its private key is on this node.
	// +optional
	HasKey bool `json:"hasKey,omitempty"`
}

// ReportedGap is a file or component that could not be scanned.
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
	// Informational means that this is expected, or cannot be changed. It is not counted as a
	// problem.
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
