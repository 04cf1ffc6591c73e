package event

import (
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Fields without "omitempty" are required by the schema. The tag "schema" names a form in
// [forms], "doc" says what the field is; both end up in docs/events.md.

// Certificate is what may be told of a certificate on a node.
type Certificate struct {
	Node              string        `json:"node" schema:"name" doc:"The node it lies on."`
	Service           certs.Service `json:"service" schema:"service" doc:"The service that holds its private key."`
	Name              string        `json:"name" schema:"text" doc:"Its role, as kubeadm names it: apiserver, etcd-peer, admin.conf."`
	Path              string        `json:"path" schema:"text" doc:"The file it is in."`
	Subject           string        `json:"subject" schema:"text" doc:"Its distinguished name."`
	Issuer            string        `json:"issuer" schema:"text" doc:"Its issuer's distinguished name."`
	SerialNumber      string        `json:"serialNumber" schema:"serial" doc:"Its serial number, hexadecimal."`
	FingerprintSHA256 string        `json:"fingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the certificate, hexadecimal."`
	NotAfter          time.Time     `json:"notAfter" schema:"time" doc:"When it ends."`
}

func (c Certificate) place() string   { return c.Node }
func (c Certificate) subject() string { return string(c.Service) + "/" + c.Name }
func (c Certificate) identity(time.Time) []string {
	return []string{c.Node, string(c.Service), c.Name, c.Path, c.FingerprintSHA256}
}

// CertificateExpiring says: a certificate has come within the policy's threshold of its end.
type CertificateExpiring struct {
	Certificate
	Reason  string `json:"reason,omitempty" schema:"text" doc:"What becomes of it, in a word: the decision's reason."`
	Message string `json:"message,omitempty" schema:"text" doc:"The same in a sentence."`
}

// CertificateExpired says: a certificate is past its end.
type CertificateExpired struct {
	Certificate
	Reason  string `json:"reason,omitempty" schema:"text" doc:"What becomes of it, in a word: the decision's reason."`
	Message string `json:"message,omitempty" schema:"text" doc:"The same in a sentence."`
}

// CertificateRenewed says: another certificate lies where one lay before. Whoever renewed it.
type CertificateRenewed struct {
	Certificate
	OldFingerprintSHA256 string     `json:"oldFingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the one that it replaced."`
	OldNotAfter          *time.Time `json:"oldNotAfter,omitempty" schema:"time" doc:"When that one ends."`
}

// CertificateCompromised says: the keys of a service are in wrong hands, or may be. Those who
// may publish it start a rotation by it.
type CertificateCompromised struct {
	Service     certs.Service `json:"service" schema:"service" doc:"The service that holds the keys."`
	Nodes       []string      `json:"nodes,omitempty" schema:"names" doc:"The nodes on which they lie. Absent: every node."`
	Fingerprint string        `json:"fingerprint,omitempty" schema:"fingerprint" doc:"SHA-256 of the one certificate that is meant. Absent: all of the service."`
	Reason      string        `json:"reason" schema:"reason" doc:"Why, in a person's words. It is shown to others."`
	Mark        string        `json:"mark,omitempty" schema:"name" doc:"The CompromisedCertificate that this event is about. The watcher sets it; leave it away."`
}

// CAExpiring says: a certificate authority nears its end, which no renewal of what it signed
// can mend.
type CAExpiring struct {
	Name              string    `json:"name" schema:"text" doc:"Its common name."`
	Nodes             []string  `json:"nodes,omitempty" schema:"names" doc:"The nodes on which it lies."`
	Path              string    `json:"path,omitempty" schema:"text" doc:"The file it is in."`
	Subject           string    `json:"subject" schema:"text" doc:"Its distinguished name."`
	SerialNumber      string    `json:"serialNumber" schema:"serial" doc:"Its serial number, hexadecimal."`
	FingerprintSHA256 string    `json:"fingerprintSHA256" schema:"fingerprint" doc:"SHA-256 of the certificate, hexadecimal."`
	NotAfter          time.Time `json:"notAfter" schema:"time" doc:"When it ends."`
	Message           string    `json:"message,omitempty" schema:"text" doc:"What to do, in a sentence."`
}

// The reasons of [RotationRequested].
const (
	ReasonExpiring    = "Expiring"
	ReasonCompromised = "Compromised"
)

// RotationRequested says: a rotation is due. The CertificateRotation of that name is made of
// it; for how long new certificates are valid is taken from the policy then.
type RotationRequested struct {
	Name           string          `json:"name" schema:"objectname" doc:"The CertificateRotation's name: the same scope, old certificates and attempt give the same."`
	Services       []certs.Service `json:"services" schema:"services" doc:"What to rotate."`
	Nodes          []string        `json:"nodes,omitempty" schema:"names" doc:"Where. Absent: every node."`
	Restart        string          `json:"restart,omitempty" schema:"restart" doc:"Which components restart."`
	MaxUnavailable string          `json:"maxUnavailable,omitempty" schema:"unavailable" doc:"How many workers at a time."`
	Compromised    bool            `json:"compromised,omitempty" schema:"bool" doc:"The old keys are not trusted any more."`
	Reason         string          `json:"reason" schema:"trigger" doc:"Why it is due."`
	Fingerprints   []string        `json:"fingerprints,omitempty" schema:"fingerprints" doc:"SHA-256 of the certificates that are to go."`
	Attempt        int32           `json:"attempt" schema:"attempt" doc:"Counts from 1."`
	Marks          []string        `json:"marks,omitempty" schema:"names" doc:"The CompromisedCertificates behind it."`
	Message        string          `json:"message,omitempty" schema:"text" doc:"The same in a sentence."`
}

// Rotation is what all events of a rotation that runs tell.
type Rotation struct {
	Name       string `json:"name" schema:"objectname" doc:"The CertificateRotation."`
	RotationID string `json:"rotationID,omitempty" schema:"text" doc:"What \"kubectl rotate-certs history\" knows it by."`
}

func (r Rotation) place() string               { return "" }
func (r Rotation) subject() string             { return r.Name }
func (r Rotation) identity(time.Time) []string { return []string{r.Name, r.RotationID} }

// RotationStarted says: a rotation has begun.
type RotationStarted struct {
	Rotation
	Services []certs.Service `json:"services" schema:"services" doc:"What it rotates."`
	Nodes    []string        `json:"nodes,omitempty" schema:"names" doc:"Where. Absent: every node."`
	Reason   string          `json:"reason,omitempty" schema:"text" doc:"Why: Expiring, Compromised, or absent where a person asked."`
	Message  string          `json:"message,omitempty" schema:"text" doc:"The same in a sentence."`
}

// RotationNodeVerified says: a node serves its new certificates, and its components are healthy.
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
	ResultCanceled                   = "Canceled" // its CertificateRotation was deleted while it ran
)

// Outcome is how a rotation ended.
type Outcome struct {
	Rotation
	Result  string `json:"result" schema:"result" doc:"How it ended."`
	Node    string `json:"node,omitempty" schema:"name" doc:"The node at which it stopped."`
	Reason  string `json:"reason,omitempty" schema:"text" doc:"Why, in a word."`
	Message string `json:"message,omitempty" schema:"text" doc:"How things stand, in a sentence."`
}

// RotationSucceeded says: done and verified on every node, or nothing was left to do.
type RotationSucceeded struct{ Outcome }

// RotationRolledBack says: stopped; the node that failed is as it was before.
type RotationRolledBack struct{ Outcome }

// RotationFailed says: stopped before anything was changed on the node that failed; with the
// result Refused, before any node was touched; with ManualInterventionRequired, a node is neither provably
// old nor new.
type RotationFailed struct{ Outcome }

// Type is [TypeCertificateExpiring].
func (CertificateExpiring) Type() Type { return TypeCertificateExpiring }

// Type is [TypeCertificateExpired].
func (CertificateExpired) Type() Type { return TypeCertificateExpired }

// Type is [TypeCertificateRenewed].
func (CertificateRenewed) Type() Type { return TypeCertificateRenewed }

// Type is [TypeCertificateCompromised].
func (CertificateCompromised) Type() Type { return TypeCertificateCompromised }

// Type is [TypeCAExpiring].
func (CAExpiring) Type() Type { return TypeCAExpiring }

// Type is [TypeRotationRequested].
func (RotationRequested) Type() Type { return TypeRotationRequested }

// Type is [TypeRotationStarted].
func (RotationStarted) Type() Type { return TypeRotationStarted }

// Type is [TypeRotationNodeVerified].
func (RotationNodeVerified) Type() Type { return TypeRotationNodeVerified }

// Type is [TypeRotationSucceeded].
func (RotationSucceeded) Type() Type { return TypeRotationSucceeded }

// Type is [TypeRotationRolledBack].
func (RotationRolledBack) Type() Type { return TypeRotationRolledBack }

// Type is [TypeRotationFailed].
func (RotationFailed) Type() Type { return TypeRotationFailed }

func (c CertificateCompromised) place() string {
	if len(c.Nodes) == 1 {
		return c.Nodes[0]
	}
	return ""
}

func (c CertificateCompromised) subject() string {
	if c.Fingerprint != "" {
		return string(c.Service) + "/" + c.Fingerprint
	}
	return string(c.Service)
}

func (c CertificateCompromised) identity(time.Time) []string {
	if c.Mark != "" {
		return []string{"mark", c.Mark}
	}
	nodes := slices.Sorted(slices.Values(c.Nodes))
	return []string{string(c.Service), strings.Join(nodes, ","), c.Fingerprint, c.Reason}
}

func (c CAExpiring) place() string               { return "" }
func (c CAExpiring) subject() string             { return "ca/" + c.Name }
func (c CAExpiring) identity(time.Time) []string { return []string{c.FingerprintSHA256} }

func (r RotationRequested) place() string   { return "" }
func (r RotationRequested) subject() string { return r.Name }

// identity changes every [RequestSlot]: a request that was given up (the API server was
// away for longer than it is delivered again) must be heard when it is told once more.
func (r RotationRequested) identity(at time.Time) []string {
	return []string{r.Name, at.UTC().Truncate(RequestSlot).Format(time.RFC3339)}
}

func (r RotationNodeVerified) place() string { return r.Node }
func (r RotationNodeVerified) identity(time.Time) []string {
	return []string{r.Name, r.RotationID, r.Node}
}
