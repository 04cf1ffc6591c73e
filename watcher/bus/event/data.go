package event

import (
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Fields without "omitempty" are required by the schema. The tag "schema" names a form in
// [forms], "doc" says what the field is; docs/events.md has both.

// Certificate are the public facts about a certificate on a node.
type Certificate struct {
	Node              string        `json:"node" schema:"name" doc:"The node of the certificate."`
	Service           certs.Service `json:"service" schema:"service" doc:"The service that uses its private key."`
	Name              string        `json:"name" schema:"text" doc:"Its role, as kubeadm names it: apiserver, etcd-peer, admin.conf."`
	Path              string        `json:"path" schema:"text" doc:"Its file."`
	Subject           string        `json:"subject" schema:"text" doc:"Its distinguished name."`
	Issuer            string        `json:"issuer" schema:"text" doc:"Its issuer's distinguished name."`
	SerialNumber      string        `json:"serialNumber" schema:"serial" doc:"Its serial number, hexadecimal."`
	FingerprintSHA256 string        `json:"fingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the certificate, hexadecimal."`
	NotAfter          time.Time     `json:"notAfter" schema:"time" doc:"When it expires."`
}

func (c Certificate) nodeName() string    { return c.Node }
func (c Certificate) subjectName() string { return string(c.Service) + "/" + c.Name }
func (c Certificate) identityParts(time.Time) []string {
	return []string{c.Node, string(c.Service), c.Name, c.Path, c.FingerprintSHA256}
}

// CertificateExpiring is published when a certificate expires within the threshold of the
// policy.
type CertificateExpiring struct {
	Certificate
	Reason  string `json:"reason,omitempty" schema:"text" doc:"The reason of the decision about it, in CamelCase."`
	Message string `json:"message,omitempty" schema:"text" doc:"An explanation."`
}

// CertificateExpired is published when a certificate has expired.
type CertificateExpired struct {
	Certificate
	Reason  string `json:"reason,omitempty" schema:"text" doc:"The reason of the decision about it, in CamelCase."`
	Message string `json:"message,omitempty" schema:"text" doc:"An explanation."`
}

// CertificateRenewed is published when a certificate was replaced, by a rotation or otherwise.
type CertificateRenewed struct {
	Certificate
	OldFingerprintSHA256 string     `json:"oldFingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the replaced certificate."`
	OldNotAfter          *time.Time `json:"oldNotAfter,omitempty" schema:"time" doc:"When the replaced certificate expires."`
}

// CertificateCompromised reports that the keys of a service are known to others, or may be.
// Users that may publish it start a rotation by it.
type CertificateCompromised struct {
	Service                certs.Service `json:"service" schema:"service" doc:"The service that uses the keys."`
	Nodes                  []string      `json:"nodes,omitempty" schema:"names" doc:"The nodes on which the keys are. Absent: every node."`
	Fingerprint            string        `json:"fingerprint,omitempty" schema:"fingerprint" doc:"SHA-256 of a single certificate. Absent: all certificates of the service."`
	Reason                 string        `json:"reason" schema:"reason" doc:"What happened. It appears in events and messages."`
	CompromisedCertificate string        `json:"compromisedCertificate,omitempty" schema:"name" doc:"The CompromisedCertificate of this event. The watcher sets it; omit it in your own events."`
}

// CAExpiring is published when a certificate authority expires soon. Renewing the certificates
// that it signed does not help.
type CAExpiring struct {
	Name              string    `json:"name" schema:"text" doc:"Its common name."`
	Nodes             []string  `json:"nodes,omitempty" schema:"names" doc:"The nodes on which it is."`
	Path              string    `json:"path,omitempty" schema:"text" doc:"Its file."`
	Subject           string    `json:"subject" schema:"text" doc:"Its distinguished name."`
	SerialNumber      string    `json:"serialNumber" schema:"serial" doc:"Its serial number, hexadecimal."`
	FingerprintSHA256 string    `json:"fingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the certificate, hexadecimal."`
	NotAfter          time.Time `json:"notAfter" schema:"time" doc:"When it expires."`
	Message           string    `json:"message,omitempty" schema:"text" doc:"What to do."`
}

// The reasons of [RotationRequested].
const (
	ReasonExpiring    = "Expiring"
	ReasonCompromised = "Compromised"
)

// RotationRequested is published when a rotation is due. The watcher creates the
// CertificateRotation of that name from it; the validity of new certificates is that of the
// policy at that time.
type RotationRequested struct {
	Name                    string          `json:"name" schema:"objectname" doc:"The name of the CertificateRotation. It follows from the scope, the old certificates and the attempt."`
	Services                []certs.Service `json:"services" schema:"services" doc:"The services to rotate."`
	Nodes                   []string        `json:"nodes,omitempty" schema:"names" doc:"The nodes. Absent: every node."`
	Restart                 string          `json:"restart,omitempty" schema:"restart" doc:"Which components restart."`
	MaxUnavailable          string          `json:"maxUnavailable,omitempty" schema:"unavailable" doc:"How many workers may be in progress at a time."`
	Compromised             bool            `json:"compromised,omitempty" schema:"bool" doc:"The old keys are not trusted."`
	Reason                  string          `json:"reason" schema:"trigger" doc:"Why it is due."`
	Fingerprints            []string        `json:"fingerprints,omitempty" schema:"fingerprints" doc:"SHA-256 of the certificates to replace."`
	Attempt                 int32           `json:"attempt" schema:"attempt" doc:"Counts from 1."`
	CompromisedCertificates []string        `json:"compromisedCertificates,omitempty" schema:"names" doc:"The CompromisedCertificates that caused it."`
	Message                 string          `json:"message,omitempty" schema:"text" doc:"An explanation."`
}

// RotationAsked asks for a rotation in another cluster. The watcher there publishes it again with
// its answer.
type RotationAsked struct {
	Services []certs.Service `json:"services" schema:"services" doc:"The services to rotate, on every node."`
	Cluster  string          `json:"cluster" schema:"name" doc:"The cluster from which it is asked for. The last token of the subject is the same."`
	User     string          `json:"user" schema:"name" doc:"The user, by the word of that cluster."`
	Request  string          `json:"request,omitempty" schema:"text" doc:"The id of the request. Only in an answer."`
	Rotation string          `json:"rotation,omitempty" schema:"objectname" doc:"The CertificateRotation that was created. Only in an answer."`
	Refused  string          `json:"refused,omitempty" schema:"text" doc:"Why none was created. Only in an answer."`
}

func (r RotationAsked) nodeName() string    { return "" }
func (r RotationAsked) subjectName() string { return r.Cluster }
func (r RotationAsked) identityParts(time.Time) []string {
	return []string{r.Cluster, r.User, r.Request, r.Rotation, r.Refused}
}

// Rotation is common to all events of a rotation in progress.
type Rotation struct {
	Name       string `json:"name" schema:"objectname" doc:"The CertificateRotation."`
	RotationID string `json:"rotationID,omitempty" schema:"text" doc:"Its id in \"kubectl rotate-certs history\"."`
}

func (r Rotation) nodeName() string                 { return "" }
func (r Rotation) subjectName() string              { return r.Name }
func (r Rotation) identityParts(time.Time) []string { return []string{r.Name, r.RotationID} }

// RotationStarted is published when a rotation has started.
type RotationStarted struct {
	Rotation
	Services []certs.Service `json:"services" schema:"services" doc:"The rotated services."`
	Nodes    []string        `json:"nodes,omitempty" schema:"names" doc:"The nodes. Absent: every node."`
	Reason   string          `json:"reason,omitempty" schema:"text" doc:"Why: Expiring or Compromised. Absent: another user created it."`
	Message  string          `json:"message,omitempty" schema:"text" doc:"An explanation."`
}

// RotationNodeVerified is published when a node presents its new certificates, and its
// components are healthy.
type RotationNodeVerified struct {
	Rotation
	Node    string `json:"node" schema:"name" doc:"The node."`
	Message string `json:"message,omitempty" schema:"text" doc:"What was verified."`
}

// The results of a rotation.
const (
	ResultSucceeded                  = "Succeeded"
	ResultRolledBack                 = "RolledBack"
	ResultFailed                     = "Failed"
	ResultManualInterventionRequired = "ManualInterventionRequired"
	ResultRefused                    = "Refused"
	ResultCanceled                   = "Canceled" // its CertificateRotation was deleted while it was in progress
)

// Outcome is the end of a rotation.
type Outcome struct {
	Rotation
	Result  string `json:"result" schema:"result" doc:"The result."`
	Node    string `json:"node,omitempty" schema:"name" doc:"The failed node."`
	Reason  string `json:"reason,omitempty" schema:"text" doc:"Why, in CamelCase."`
	Message string `json:"message,omitempty" schema:"text" doc:"An explanation."`
}

// RotationSucceeded is published when a rotation is done and verified on every node, or there
// was nothing to do.
type RotationSucceeded struct{ Outcome }

// RotationRolledBack is published when a rotation stopped and the failed node was rolled back.
type RotationRolledBack struct{ Outcome }

// RotationFailed is published when a rotation stopped before anything was changed on the
// failed node; with the result Refused, before any node was touched; with
// ManualInterventionRequired, the state of a node is unknown.
type RotationFailed struct{ Outcome }

// EventType is [TypeCertificateExpiring].
func (CertificateExpiring) EventType() Type { return TypeCertificateExpiring }

// EventType is [TypeCertificateExpired].
func (CertificateExpired) EventType() Type { return TypeCertificateExpired }

// EventType is [TypeCertificateRenewed].
func (CertificateRenewed) EventType() Type { return TypeCertificateRenewed }

// EventType is [TypeCertificateCompromised].
func (CertificateCompromised) EventType() Type { return TypeCertificateCompromised }

// EventType is [TypeCAExpiring].
func (CAExpiring) EventType() Type { return TypeCAExpiring }

// EventType is [TypeRotationRequested].
func (RotationRequested) EventType() Type { return TypeRotationRequested }

// EventType implements [Data].
func (RotationAsked) EventType() Type { return TypeRotationAsked }

// EventType is [TypeRotationStarted].
func (RotationStarted) EventType() Type { return TypeRotationStarted }

// EventType is [TypeRotationNodeVerified].
func (RotationNodeVerified) EventType() Type { return TypeRotationNodeVerified }

// EventType is [TypeRotationSucceeded].
func (RotationSucceeded) EventType() Type { return TypeRotationSucceeded }

// EventType is [TypeRotationRolledBack].
func (RotationRolledBack) EventType() Type { return TypeRotationRolledBack }

// EventType is [TypeRotationFailed].
func (RotationFailed) EventType() Type { return TypeRotationFailed }

func (c CertificateCompromised) nodeName() string {
	if len(c.Nodes) == 1 {
		return c.Nodes[0]
	}
	return ""
}

func (c CertificateCompromised) subjectName() string {
	if c.Fingerprint != "" {
		return string(c.Service) + "/" + c.Fingerprint
	}
	return string(c.Service)
}

func (c CertificateCompromised) identityParts(time.Time) []string {
	if c.CompromisedCertificate != "" {
		return []string{"object", c.CompromisedCertificate}
	}
	nodes := slices.Sorted(slices.Values(c.Nodes))
	return []string{string(c.Service), strings.Join(nodes, ","), c.Fingerprint, c.Reason}
}

func (c CAExpiring) nodeName() string                 { return "" }
func (c CAExpiring) subjectName() string              { return "ca/" + c.Name }
func (c CAExpiring) identityParts(time.Time) []string { return []string{c.FingerprintSHA256} }

func (r RotationRequested) nodeName() string    { return "" }
func (r RotationRequested) subjectName() string { return r.Name }

// identityParts changes every five minutes, within which repetitions count as the same event. A
// request that was given up, since the API server was unavailable for longer than it is delivered
// again, must be received when it is published again.
func (r RotationRequested) identityParts(at time.Time) []string {
	return []string{r.Name, at.UTC().Truncate(5 * time.Minute).Format(time.RFC3339)}
}

func (r RotationNodeVerified) nodeName() string { return r.Node }
func (r RotationNodeVerified) identityParts(time.Time) []string {
	return []string{r.Name, r.RotationID, r.Node}
}
