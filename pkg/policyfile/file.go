// Package policyfile reads the policy of the watcher as people write it: strict YAML with
// a version. Everything that is wrong is said at once, with line, column and field.
package policyfile

import (
	_ "embed"
	"fmt"
	_ "time/tzdata" // windows have time zones, and container images have none

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// What every file begins with.
const (
	APIVersion = "rotate-certs.io/v1alpha1"
	Kind       = "RotationPolicy"
)

// DefaultText is a file, with comments, that says what holds without one.
//
//go:embed default.yaml
var DefaultText string

// File is a policy file. What it does not say has the default; [File.Policy] knows it.
// Durations, fractions, times and schedules are texts, as people write them.
type File struct {
	APIVersion  string   `json:"apiVersion"`
	Kind        string   `json:"kind"`
	Defaults    Settings `json:"defaults,omitzero"`
	Rules       []Rule   `json:"rules,omitempty"`
	Authorities Near     `json:"authorities,omitzero"`
	Freeze      Freeze   `json:"freeze,omitzero"`
	Limits      Limits   `json:"limits,omitzero"`
	Retry       Retry    `json:"retry,omitzero"`
}

// Settings are what holds for certificates. In a rule, what is not set is as in defaults.
type Settings struct {
	Mode        string `json:"mode,omitempty"`
	Threshold   Near   `json:"threshold,omitzero"`
	SelfManaged Near   `json:"selfManaged,omitzero"`
	// Windows that are empty mean any time; nil ones are as in defaults.
	Windows  []Window `json:"windows,omitzero"`
	Override Override `json:"override,omitzero"`
	Validity string   `json:"validity,omitempty"`
	// AllowShortValidity takes a validity that is shorter than a day, or not longer than the
	// threshold's duration.
	AllowShortValidity bool    `json:"allowShortValidity,omitempty"`
	Restart            Restart `json:"restart,omitzero"`
}

// Rule is settings for some certificates.
type Rule struct {
	Name     string `json:"name"`
	Match    Match  `json:"match"`
	Settings `json:",inline"`
}

// Match says for which: those that fit everything that is set.
type Match struct {
	Services     []string             `json:"services,omitempty"`
	NodeSelector metav1.LabelSelector `json:"nodeSelector,omitzero"`
	Issuers      []string             `json:"issuers,omitempty"`
}

// Near is the smaller of a duration and a fraction of the whole life.
type Near struct {
	Duration string `json:"duration,omitempty"`
	Fraction string `json:"fraction,omitempty"`
}

// Override is how near its end a certificate does not wait for a window.
type Override struct {
	Never    bool   `json:"never,omitempty"`
	Duration string `json:"duration,omitempty"`
	Fraction string `json:"fraction,omitempty"`
}

// Window is a time in which renewals may start.
type Window struct {
	Schedule string `json:"schedule"`
	Duration string `json:"duration"`
	TimeZone string `json:"timeZone,omitempty"`
}

// Restart says what restarts: always, if-needed or never.
type Restart struct {
	Renewal    string `json:"renewal,omitempty"`
	Compromise string `json:"compromise,omitempty"`
}

// Freeze stops what would start by itself.
type Freeze struct {
	Enabled bool   `json:"enabled"`
	Until   string `json:"until,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Allow is what goes through all the same. Empty: nothing; nil: what is compromised.
	Allow []string `json:"allow,omitzero"`
}

// Limits bound what starts by itself.
type Limits struct {
	RotationsPerDay  *int   `json:"rotationsPerDay,omitempty"`
	NodesPerRotation *int   `json:"nodesPerRotation,omitempty"`
	MaxUnavailable   string `json:"maxUnavailable,omitempty"`
}

// Retry says when what failed is tried again, and when it is not.
type Retry struct {
	InitialBackoff string `json:"initialBackoff,omitempty"`
	MaxBackoff     string `json:"maxBackoff,omitempty"`
	StopAfter      *int   `json:"stopAfter,omitempty"`
}

// Marshal writes a file as [Parse] reads it, without what is not set.
func Marshal(f *File) ([]byte, error) {
	text, err := yaml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return text, nil
}
