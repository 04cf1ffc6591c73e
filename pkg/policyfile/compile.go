package policyfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// Policy is what the file means, with the defaults for what it does not say.
func (f *File) Policy() (renewal.Policy, error) {
	var found Errors
	p := compile(f, func(field, format string, args ...any) {
		found = append(found, &Error{Field: field, Message: fmt.Sprintf(format, args...)})
	})
	if len(found) > 0 {
		return renewal.Policy{}, found
	}
	return p, nil
}

// Longest and shortest of what a policy can say.
const (
	maxFraction    = 0.9
	maxStopAfter   = 100
	maxRotations   = 10000
	maxRulesNumber = 200
)

// What a freeze can let through.
const (
	allowCompromised = "compromised"
	allowOverride    = "override"
)

// report notes what is wrong with a field.
type report func(field, format string, args ...any)

func compile(f *File, bad report) renewal.Policy {
	p := renewal.Default()
	if f.APIVersion != APIVersion {
		bad("apiVersion", "%q: want %s", f.APIVersion, APIVersion)
	}
	if f.Kind != Kind {
		bad("kind", "%q: want %s", f.Kind, Kind)
	}
	bad.settings("defaults", f.Defaults, &p.Default)
	if len(f.Rules) > maxRulesNumber {
		bad("rules", "%d rules: at most %d", len(f.Rules), maxRulesNumber)
		return p
	}
	names := map[string]bool{p.Default.Name: true}
	for i, r := range f.Rules {
		field := fmt.Sprintf("rules[%d]", i)
		rule := p.Default
		rule.Name = r.Name
		switch {
		case r.Name == "":
			bad(field+".name", "a rule needs a name, by which messages call it")
		case names[r.Name]:
			bad(field+".name", "%q is taken: each rule has its own", r.Name)
		}
		names[r.Name] = true
		rule.Match = bad.match(field+".match", r.Match)
		bad.settings(field, r.Settings, &rule)
		p.Rules = append(p.Rules, rule)
	}
	bad.near("authorities", f.Authorities.Duration, f.Authorities.Fraction, &p.Authorities)
	bad.freeze(f.Freeze, &p.Freeze)
	bad.limits(f.Limits, &p.Limits)
	bad.retry(f.Retry, &p.Retry)
	return p
}

func (bad report) settings(field string, s Settings, r *renewal.Rule) {
	if s.Mode != "" {
		r.Mode = renewal.Mode(bad.oneOf(field+".mode", "mode", s.Mode, string(renewal.Automatic), string(renewal.NotifyOnly)))
	}
	bad.near(field+".threshold", s.Threshold.Duration, s.Threshold.Fraction, &r.Threshold)
	bad.near(field+".selfManaged", s.SelfManaged.Duration, s.SelfManaged.Fraction, &r.SelfManaged)
	if s.Windows != nil {
		r.Windows = nil
		for i, w := range s.Windows {
			r.Windows = append(r.Windows, bad.window(fmt.Sprintf("%s.windows[%d]", field, i), w))
		}
	}
	if s.Override.Never {
		r.Override = renewal.Near{}
		if s.Override.Duration != "" || s.Override.Fraction != "" {
			bad(field+".override.never", "excludes duration and fraction")
		}
	} else {
		bad.near(field+".override", s.Override.Duration, s.Override.Fraction, &r.Override)
	}
	bad.validity(field, s, r)
	if s.Restart.Renewal != "" {
		r.Renewal = bad.restart(field+".restart.renewal", s.Restart.Renewal)
	}
	if s.Restart.Compromise != "" {
		if r.Compromise = bad.restart(field+".restart.compromise", s.Restart.Compromise); r.Compromise == plan.RestartNever {
			bad(field+".restart.compromise", "never is not possible: what is not restarted continues to use the old key")
		}
	}
	if len(r.Windows) > 0 && (r.Override.Duration >= r.Threshold.Duration || r.Override.Fraction >= r.Threshold.Fraction) {
		bad(field+".override", "%s is not nearer than the threshold, %s: no window would ever be waited for", describe(r.Override), describe(r.Threshold))
	}
}

// validity judges a lifetime wherever it or what makes it too short is set. One that is not
// longer than the threshold's duration is more likely a mistake than meant: of that threshold
// only the fraction would count.
func (bad report) validity(field string, s Settings, r *renewal.Rule) {
	if s.Validity != "" {
		r.Validity = bad.duration(field+".validity", s.Validity)
	}
	r.AllowShortValidity = r.AllowShortValidity || s.AllowShortValidity
	if r.Validity == 0 || (s.Validity == "" && s.Threshold.Duration == "") {
		return
	}
	if err := plan.CheckValidity(r.Validity, r.AllowShortValidity); err != nil {
		bad(field+".validity", "%v (allowShortValidity: true)", err)
	} else if !r.AllowShortValidity && r.Validity <= r.Threshold.Duration {
		bad(field+".validity", "%s is not longer than the threshold, %s: make the threshold shorter, or say allowShortValidity: true",
			certs.FormatDuration(r.Validity), certs.FormatDuration(r.Threshold.Duration))
	}
}

func describe(n renewal.Near) string {
	return fmt.Sprintf("%s or %g%%", certs.FormatDuration(n.Duration), n.Fraction*100)
}

func (bad report) restart(field, s string) plan.RestartPolicy {
	return plan.RestartPolicy(bad.oneOf(field, "restart policy", s,
		string(plan.RestartAlways), string(plan.RestartIfNeeded), string(plan.RestartNever)))
}

func (bad report) oneOf(field, what, s string, known ...string) string {
	if !slices.Contains(known, s) {
		bad(field, "%s", unknown(what, s, known))
	}
	return s
}

func (bad report) duration(field, s string) time.Duration {
	d, err := certs.ParseDuration(s)
	if err != nil {
		bad(field, "%v", err)
	}
	return d
}

func (bad report) near(field, duration, fraction string, n *renewal.Near) {
	if duration != "" {
		n.Duration = bad.duration(field+".duration", duration)
	}
	if fraction == "" {
		return
	}
	digits, percent := strings.CutSuffix(strings.TrimSpace(fraction), "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= maxFraction) {
		bad(field+".fraction", "%q: want a part of the whole life, such as 20%% or 0.2, and at most 90%%", fraction)
		return
	}
	n.Fraction = v
}

func (bad report) match(field string, m Match) renewal.Match {
	var out renewal.Match
	for i, s := range m.Services {
		at := fmt.Sprintf("%s.services[%d]", field, i)
		known := make([]string, 0, len(certs.Services()))
		for _, k := range certs.Services() {
			known = append(known, string(k))
		}
		out.Services = append(out.Services, certs.Service(bad.oneOf(at, "service", s, known...)))
	}
	for i, name := range m.Issuers {
		if name == "" {
			bad(fmt.Sprintf("%s.issuers[%d]", field, i), "want the common name of a CA, such as etcd-ca")
		}
	}
	out.Issuers = m.Issuers
	selector := m.NodeSelector
	labelled := len(selector.MatchLabels)+len(selector.MatchExpressions) > 0
	if labelled {
		s, err := metav1.LabelSelectorAsSelector(&selector)
		if err != nil {
			bad(field+".nodeSelector", "%v", err)
		} else {
			out.Nodes = func(l map[string]string) bool { return s.Matches(labels.Set(l)) }
		}
	}
	if len(m.Services)+len(m.Issuers) == 0 && !labelled {
		bad(field, "matches every certificate: name services, nodeSelector or issuers, or say it in defaults")
	}
	return out
}

func (bad report) freeze(f Freeze, out *renewal.Freeze) {
	out.On, out.Reason, out.HoldCompromised = f.Enabled, f.Reason, f.Allow != nil
	if f.Until != "" {
		until, err := time.Parse(time.RFC3339, f.Until)
		if err != nil {
			bad("freeze.until", "%q: want a time with its zone, such as 2027-01-03T06:00:00Z", f.Until)
		}
		out.Until = until
	}
	for i, what := range f.Allow {
		switch bad.oneOf(fmt.Sprintf("freeze.allow[%d]", i), "exception", what, allowCompromised, allowOverride) {
		case allowCompromised:
			out.HoldCompromised = false
		case allowOverride:
			out.Override = true
		}
	}
}

func (bad report) limits(l Limits, out *renewal.Limits) {
	bad.number("limits.rotationsPerDay", l.RotationsPerDay, 0, maxRotations, &out.RotationsPerDay)
	bad.number("limits.nodesPerRotation", l.NodesPerRotation, 1, renewal.MaxNodes, &out.NodesPerRotation)
	if l.MaxUnavailable != "" {
		if err := plan.ValidateMaxUnavailable(l.MaxUnavailable); err != nil {
			bad("limits.maxUnavailable", "%v", err)
		}
		out.MaxUnavailable = l.MaxUnavailable
	}
}

func (bad report) retry(r Retry, out *renewal.Retry) {
	if r.InitialBackoff != "" {
		out.Initial = bad.duration("retry.initialBackoff", r.InitialBackoff)
	}
	if r.MaxBackoff != "" {
		out.Max = bad.duration("retry.maxBackoff", r.MaxBackoff)
	}
	if out.Initial > out.Max {
		bad("retry.initialBackoff", "%s is longer than maxBackoff, %s", certs.FormatDuration(out.Initial), certs.FormatDuration(out.Max))
	}
	bad.number("retry.stopAfter", r.StopAfter, 1, maxStopAfter, &out.StopAfter)
}

func (bad report) number(field string, v *int, least, most int, out *int) {
	switch {
	case v == nil:
	case *v < least || *v > most:
		bad(field, "%d: want a number from %d to %d", *v, least, most)
	default:
		*out = *v
	}
}
