package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// PolicyReportKind is the kind of [PolicyReport].
const PolicyReportKind = "PolicyReport"

// PolicyReport is what `kubectl rotate-certs policy check` prints: what a RotationPolicy
// means, and what would rotate when under it if nothing changed.
type PolicyReport struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"` // for which it was judged
	// Rules in the order in which they are asked; the last one is for all the rest.
	Rules []PolicyRule `json:"rules"`
	// General is what holds whatever the rule: the freeze, limits, retries, CAs.
	General []PolicyStatement `json:"general"`
	// Items are the cluster's certificates, by when they rotate; absent with --offline.
	Items        []PolicyProspect `json:"items,omitempty"`
	NotInspected []NotInspected   `json:"notInspected,omitempty"`
}

// PolicyRule is a rule in words.
type PolicyRule struct {
	Name       string            `json:"name"`
	Statements []PolicyStatement `json:"statements"`
	Windows    []PolicyWindow    `json:"windows,omitempty"`
}

// PolicyStatement is one thing that a policy says.
type PolicyStatement struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// PolicyWindow is a window and when it opens next. One that is open comes first.
type PolicyWindow struct {
	Schedule string      `json:"schedule"`
	Duration string      `json:"duration"`
	TimeZone string      `json:"timeZone"`
	Open     bool        `json:"open"`
	Next     []time.Time `json:"next"`
}

// PolicyProspect is what a policy means for one certificate.
type PolicyProspect struct {
	Node              string        `json:"node"`
	Service           certs.Service `json:"service"`
	Name              string        `json:"name"`
	Path              string        `json:"path"`
	FingerprintSHA256 string        `json:"fingerprintSHA256"`
	NotAfter          time.Time     `json:"notAfter"`
	Rule              string        `json:"rule"`
	Due               time.Time     `json:"due"`
	// Starts is the first moment at which it may be rotated automatically; absent: there is none.
	Starts *time.Time `json:"starts,omitempty"`
	// Reason is why that is not when it is due: Window, Freeze, NotifyOnly, CANearEnd,
	// NoGain, NotControlPlane or NodeAway.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// TooLate says that a person must see to it, or it ends before it is rotated.
	TooLate bool `json:"tooLate,omitempty"`
}
