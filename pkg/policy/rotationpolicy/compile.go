package rotationpolicy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // windows have time zones, and container images have none

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// Compile returns the policy of a spec, with defaults for the missing fields. An error is an
// [Errors].
func Compile(spec *v1alpha1.RotationPolicySpec) (renewal.Policy, error) {
	var found Errors
	p := compileSpec(spec, func(field, format string, args ...any) {
		found = append(found, &Error{Field: "spec." + field, Message: fmt.Sprintf(format, args...)})
	})
	if len(found) > 0 {
		return renewal.Policy{}, found
	}
	return p, nil
}

// Limits of values, as in the CustomResourceDefinition.
const (
	maxStopAfter = 100
	maxRotations = 10000
	maxRules     = 200
)

// The patterns of the CustomResourceDefinition.
var (
	durationPattern = regexp.MustCompile(`^([1-9][0-9]{0,3}d([0-9]{1,4}h)?([0-9]{1,4}m)?|([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?)$`)
	fractionPattern = regexp.MustCompile(`^(0[.][0-9]{0,2}[1-9]|[1-9]([.][0-9]{1,3})?|[1-8][0-9]([.][0-9]{1,3})?|90)%$`)
	untilPattern    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$`)
)

// The values of enumerations, as the API names them.
var (
	modes    = map[string]renewal.Mode{"Automatic": renewal.Automatic, "NotifyOnly": renewal.NotifyOnly}
	restarts = map[string]plan.RestartPolicy{
		plan.RestartAlways.APIName(): plan.RestartAlways, plan.RestartIfNeeded.APIName(): plan.RestartIfNeeded, plan.RestartNever.APIName(): plan.RestartNever,
	}
)

// Exceptions of a freeze.
const (
	allowCompromised = "Compromised"
	allowOverride    = "Override"
)

// report records an error of a field.
type report func(field, format string, args ...any)

func compileSpec(spec *v1alpha1.RotationPolicySpec, bad report) renewal.Policy {
	p := renewal.Default()
	bad.applySettings("defaults", &spec.Defaults, &p.Default)
	if len(spec.Rules) > maxRules {
		bad("rules", "%d rules: at most %d", len(spec.Rules), maxRules)
		return p
	}
	names := map[string]bool{p.Default.Name: true}
	for i := range spec.Rules {
		r := &spec.Rules[i]
		field := fmt.Sprintf("rules[%d]", i)
		rule := p.Default
		rule.Name = r.Name
		switch {
		case r.Name == "":
			bad(field+".name", "a rule needs a name, by which messages refer to it")
		case names[r.Name]:
			bad(field+".name", "%q is taken: each rule has its own", r.Name)
		}
		names[r.Name] = true
		rule.Match = bad.compileMatch(field+".match", &r.Match)
		bad.applySettings(field, &r.RotationPolicySettings, &rule)
		p.Rules = append(p.Rules, rule)
	}
	bad.applyThreshold("authorities", spec.Authorities, &p.Authorities)
	bad.applyFreeze(&spec.Freeze, &p.Freeze)
	bad.applyLimits(&spec.Limits, &p.Limits)
	bad.applyRetry(&spec.Retry, &p.Retry)
	p.FleetServices = bad.knownServices("fleetRequests", spec.FleetRequests.Services)
	return p
}

func (bad report) applySettings(field string, s *v1alpha1.RotationPolicySettings, r *renewal.Rule) {
	if s.Mode != "" {
		r.Mode = oneOf(bad, field+".mode", "mode", s.Mode, modes)
	}
	bad.applyThreshold(field+".threshold", s.Threshold, &r.Threshold)
	bad.applyThreshold(field+".selfManaged", s.SelfManaged, &r.SelfManaged)
	if s.Windows != nil {
		r.Windows = nil
		for i, w := range s.Windows {
			r.Windows = append(r.Windows, bad.compileWindow(fmt.Sprintf("%s.windows[%d]", field, i), w))
		}
	}
	if s.Override.Never {
		r.Override = renewal.Threshold{}
		if s.Override.Duration != "" || s.Override.Fraction != "" {
			bad(field+".override.never", "excludes duration and fraction")
		}
	} else {
		bad.applyThreshold(field+".override", v1alpha1.RotationPolicyThreshold{Duration: s.Override.Duration, Fraction: s.Override.Fraction}, &r.Override)
	}
	bad.applyValidity(field, s, r)
	if s.Restart.Renewal != "" {
		r.Renewal = oneOf(bad, field+".restart.renewal", "restart policy", s.Restart.Renewal, restarts)
	}
	if s.Restart.Compromise != "" {
		if r.Compromise = oneOf(bad, field+".restart.compromise", "restart policy", s.Restart.Compromise, restarts); r.Compromise == plan.RestartNever {
			bad(field+".restart.compromise", "Never is not possible: a component that is not restarted continues to use the old key")
		}
	}
	if len(r.Windows) > 0 && (r.Override.Duration >= r.Threshold.Duration || r.Override.Fraction >= r.Threshold.Fraction) {
		bad(field+".override", "%s is not shorter than the threshold, %s: no certificate would wait for a window", describeThreshold(r.Override), describeThreshold(r.Threshold))
	}
}

// applyValidity checks a validity where it, or the threshold, is set. A validity that is not
// longer than the duration of the threshold is probably a mistake: only the fraction of the
// threshold would apply.
func (bad report) applyValidity(field string, s *v1alpha1.RotationPolicySettings, r *renewal.Rule) {
	if s.Validity != "" {
		r.Validity = bad.parseDuration(field+".validity", s.Validity)
	}
	r.AllowShortValidity = r.AllowShortValidity || s.AllowShortValidity
	if r.Validity == 0 || (s.Validity == "" && s.Threshold.Duration == "") {
		return
	}
	if err := plan.CheckValidity(r.Validity, r.AllowShortValidity); err != nil {
		bad(field+".validity", "%v (allowShortValidity: true)", err)
	} else if !r.AllowShortValidity && r.Validity <= r.Threshold.Duration {
		bad(field+".validity", "%s is not longer than the threshold, %s: make the threshold shorter, or set allowShortValidity: true",
			certs.FormatDuration(r.Validity), certs.FormatDuration(r.Threshold.Duration))
	}
}

func describeThreshold(n renewal.Threshold) string {
	return fmt.Sprintf("%s or %g%%", certs.FormatDuration(n.Duration), n.Fraction*100)
}

func (bad report) parseDuration(field string, s v1alpha1.DurationText) time.Duration {
	d, err := certs.ParseDuration(string(s))
	if err == nil && !durationPattern.MatchString(string(s)) {
		err = fmt.Errorf("duration %q: want whole numbers with units, such as 90d, 12h, 1d12h or 30m", s)
	}
	if err != nil {
		bad(field, "%v", err)
	}
	return d
}

func (bad report) applyThreshold(field string, t v1alpha1.RotationPolicyThreshold, n *renewal.Threshold) {
	if t.Duration != "" {
		n.Duration = bad.parseDuration(field+".duration", t.Duration)
	}
	if t.Fraction == "" {
		return
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(string(t.Fraction), "%"), 64)
	if err != nil || !fractionPattern.MatchString(string(t.Fraction)) {
		bad(field+".fraction", "%q: want a part of the whole life, such as 20%%, and at most 90%%", t.Fraction)
		return
	}
	n.Fraction = percent / 100
}

func (bad report) knownServices(field string, named []certs.Service) []certs.Service {
	known := map[string]certs.Service{}
	for _, s := range certs.Services() {
		known[string(s)] = s
	}
	var out []certs.Service
	for i, s := range named {
		out = append(out, oneOf(bad, fmt.Sprintf("%s.services[%d]", field, i), "service", string(s), known))
	}
	return out
}

func (bad report) compileMatch(field string, m *v1alpha1.RotationPolicyMatch) renewal.Match {
	out := renewal.Match{Issuers: m.Issuers, Services: bad.knownServices(field, m.Services)}
	for i, name := range m.Issuers {
		if name == "" {
			bad(fmt.Sprintf("%s.issuers[%d]", field, i), "want the common name of a CA, such as etcd-ca")
		}
	}
	labelled := m.NodeSelector != nil && len(m.NodeSelector.MatchLabels)+len(m.NodeSelector.MatchExpressions) > 0
	if labelled {
		s, err := metav1.LabelSelectorAsSelector(m.NodeSelector.LabelSelector())
		if err != nil {
			bad(field+".nodeSelector", "%v", err)
		} else {
			out.Nodes = func(l map[string]string) bool { return s.Matches(labels.Set(l)) }
		}
	}
	if len(m.Services)+len(m.Issuers) == 0 && !labelled {
		bad(field, "matches every certificate: name services, nodeSelector or issuers, or set it in defaults")
	}
	return out
}

func (bad report) applyFreeze(f *v1alpha1.RotationPolicyFreeze, out *renewal.Freeze) {
	out.On = f.Enabled
	out.Reason = f.Reason
	out.HoldCompromised = f.Allow != nil
	if f.Until != "" {
		until, err := time.Parse(time.RFC3339, f.Until)
		if err != nil || !untilPattern.MatchString(f.Until) {
			bad("freeze.until", "%q: want a time with its zone, such as 2027-01-03T06:00:00Z", f.Until)
		}
		out.Until = until
	}
	for i, exception := range f.Allow {
		switch oneOf(bad, fmt.Sprintf("freeze.allow[%d]", i), "exception", exception, map[string]string{allowCompromised: allowCompromised, allowOverride: allowOverride}) {
		case allowCompromised:
			out.HoldCompromised = false
		case allowOverride:
			out.Override = true
		}
	}
}

func (bad report) applyLimits(l *v1alpha1.RotationPolicyLimits, out *renewal.Limits) {
	bad.applyNumber("limits.rotationsPerDay", l.RotationsPerDay, 0, maxRotations, &out.RotationsPerDay)
	bad.applyNumber("limits.nodesPerRotation", l.NodesPerRotation, 1, renewal.MaxNodes, &out.NodesPerRotation)
	if l.MaxUnavailable != nil {
		out.MaxUnavailable = l.MaxUnavailable.String()
		if err := plan.ValidateMaxUnavailable(out.MaxUnavailable); err != nil {
			bad("limits.maxUnavailable", "%v", err)
		}
	}
}

func (bad report) applyRetry(r *v1alpha1.RotationPolicyRetry, out *renewal.Retry) {
	if r.InitialBackoff != "" {
		out.Initial = bad.parseDuration("retry.initialBackoff", r.InitialBackoff)
	}
	if r.MaxBackoff != "" {
		out.Max = bad.parseDuration("retry.maxBackoff", r.MaxBackoff)
	}
	if out.Initial > out.Max {
		bad("retry.initialBackoff", "%s is longer than maxBackoff, %s", certs.FormatDuration(out.Initial), certs.FormatDuration(out.Max))
	}
	bad.applyNumber("retry.stopAfter", r.StopAfter, 1, maxStopAfter, &out.StopAfter)
}

func (bad report) applyNumber(field string, v *int32, least, most int, out *int) {
	switch {
	case v == nil:
	case int(*v) < least || int(*v) > most:
		bad(field, "%d: want a number from %d to %d", *v, least, most)
	default:
		*out = int(*v)
	}
}
