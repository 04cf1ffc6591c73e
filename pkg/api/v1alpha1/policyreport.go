package v1alpha1

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// PolicyReportKind is the kind of [PolicyReport].
const PolicyReportKind = "PolicyReport"

// PolicyReport is the output of `kubectl rotate-certs policy check`: an explanation of a
// RotationPolicy, and when certificates would rotate under it if nothing changed.
type PolicyReport struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"` // for which it was judged
	// Rules in the order of their evaluation; the last one has the defaults.
	Rules []PolicyRule `json:"rules"`
	// General are the settings outside of rules: the freeze, limits, retries, CAs.
	General []PolicyStatement `json:"general"`
	// Items are the cluster's certificates, by when they rotate; absent with --offline.
	Items        []PolicyProspect `json:"items,omitempty"`
	NotInspected []NotInspected   `json:"notInspected,omitempty"`
}

// PolicyRule explains a rule.
type PolicyRule struct {
	Name       string            `json:"name"`
	Statements []PolicyStatement `json:"statements"`
	Windows    []PolicyWindow    `json:"windows,omitempty"`
}

// PolicyStatement explains one setting.
type PolicyStatement struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// PolicyWindow is a window with its next openings, beginning with the current one.
type PolicyWindow struct {
	Schedule string      `json:"schedule"`
	Duration string      `json:"duration"`
	TimeZone string      `json:"timeZone"`
	Open     bool        `json:"open"`
	Next     []time.Time `json:"next"`
}

// PolicyProspect is the effect of a policy on one certificate.
type PolicyProspect struct {
	Node              string        `json:"node"`
	Service           certs.Service `json:"service"`
	Name              string        `json:"name"`
	Path              string        `json:"path"`
	FingerprintSHA256 string        `json:"fingerprintSHA256"`
	NotAfter          time.Time     `json:"notAfter"`
	Rule              string        `json:"rule"`
	Due               time.Time     `json:"due"`
	// Starts is when it may first be rotated automatically; absent: never.
	Starts *time.Time `json:"starts,omitempty"`
	// Reason is why it starts later than it is due, or never: Window, Freeze, NotifyOnly, CAExpiresSoon,
	// NoGain, NotControlPlane or NodeUnavailable.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// TooLate means that it expires before it is rotated, unless an operator intervenes.
	TooLate bool `json:"tooLate,omitempty"`
}
