package plugin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// comingWindows is how many openings of a window are shown.
const comingWindows = 3

// explainPolicy describes a policy.
func explainPolicy(spec *v1alpha1.RotationPolicySpec, p *renewal.Policy, now time.Time) v1alpha1.PolicyReport {
	report := v1alpha1.PolicyReport{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.PolicyReportKind, Time: now.UTC(), General: generalStatements(p, now)}
	for i := range p.Rules {
		report.Rules = append(report.Rules, explainRule(&p.Rules[i], matchWords(&spec.Rules[i].Match), now))
	}
	rest := "every certificate"
	if len(p.Rules) > 0 {
		rest = "every other certificate"
	}
	report.Rules = append(report.Rules, explainRule(&p.Default, rest, now))
	return report
}

func matchWords(m *v1alpha1.RotationPolicyMatch) string {
	text := "every certificate"
	if len(m.Services) > 0 {
		text = "certificates of " + printers.JoinServices(m.Services, ", ")
	}
	if m.NodeSelector != nil {
		text += " on nodes with " + metav1.FormatLabelSelector(m.NodeSelector.LabelSelector())
	}
	if len(m.Issuers) > 0 {
		text += " signed by " + strings.Join(m.Issuers, " or ")
	}
	return text
}

func explainRule(r *renewal.Rule, matches string, now time.Time) v1alpha1.PolicyRule {
	out := v1alpha1.PolicyRule{Name: r.Name}
	say := func(about, format string, args ...any) {
		out.Statements = append(out.Statements, v1alpha1.PolicyStatement{About: about, Text: fmt.Sprintf(format, args...)})
	}
	say("matches", "%s", matches)
	say("due", "with %s; where its component renews it too, with %s", nearWords(r.Threshold), nearWords(r.SelfManaged))
	if r.Mode == renewal.NotifyOnly {
		say("action", "notify-only: publishes events, never starts a rotation, not even where a certificate is compromised")
		return out
	}
	say("action", "rotates what is due, %s; what is compromised at once", windowWords(r))
	say("restarts", "%s; where it is compromised, %s", restartWords(r.Renewal), restartWords(r.Compromise))
	validity := "as the cluster's kubeadm configuration says, else that of the old certificate"
	if r.Validity != 0 {
		validity = certs.FormatDuration(r.Validity)
	}
	say("validity", "%s", validity)
	for _, w := range r.Windows {
		open, _ := w.OpenAt(now)
		schedule, _, _ := strings.Cut(w.Text, " for ")
		out.Windows = append(out.Windows, v1alpha1.PolicyWindow{
			Schedule: schedule, Duration: certs.FormatDuration(w.Duration), TimeZone: w.Zone.String(), Open: open, Next: w.NextOpenings(now, comingWindows),
		})
	}
	return out
}

func nearWords(n renewal.Threshold) string {
	part := fmt.Sprintf("%.4g%% of its validity", n.Fraction*100)
	switch {
	case n.Fraction == 0:
		return certs.FormatDuration(n.Duration) + " left"
	case n.Duration == 0:
		return part + " left"
	}
	return certs.FormatDuration(n.Duration) + " left, or " + part + " where that is less"
}

func windowWords(r *renewal.Rule) string {
	switch {
	case len(r.Windows) == 0:
		return "at any time"
	case r.Override.IsZero():
		return "in its windows, and before them only if it expires before the next one"
	}
	return "in its windows, and at any time with " + nearWords(r.Override)
}

func restartWords(p plan.RestartPolicy) string {
	switch p {
	case plan.RestartNever:
		return "nothing"
	case plan.RestartIfNeeded:
		return "components that do not re-read their files"
	case plan.RestartAlways:
	}
	return "every component whose certificate is replaced"
}

func generalStatements(p *renewal.Policy, now time.Time) []v1alpha1.PolicyStatement {
	perDay := "any number of rotations a day"
	if p.Limits.RotationsPerDay > 0 {
		perDay = fmt.Sprintf("at most %d within any 24 hours", p.Limits.RotationsPerDay)
	}
	out := []v1alpha1.PolicyStatement{
		{About: "freeze", Text: freezeWords(p.Freeze, now)},
		{About: "limits", Text: fmt.Sprintf("one rotation at a time, %s, of at most %s each; in it %s at a time. The number a day does not limit what is compromised",
			perDay, printers.CountOf(p.Limits.NodesPerRotation, "node"), workerWords(p.Limits.MaxUnavailable))},
		{About: "failures", Text: fmt.Sprintf("retried after %s, then after twice as long each time, up to %s; after %s once a day",
			certs.FormatDuration(p.Retry.Initial), certs.FormatDuration(p.Retry.Max), printers.CountOf(p.Retry.StopAfter, "failure"))},
		{About: "authorities", Text: "reported with " + nearWords(p.Authorities) + "; never renewed automatically"},
	}
	if len(p.FleetServices) > 0 {
		out = append(out, v1alpha1.PolicyStatement{About: "other clusters", Text: "may ask for " + printers.JoinServices(p.FleetServices, ", ") + ", outside windows and as often a day as rotations start automatically"})
	}
	return out
}

func workerWords(maxUnavailable string) string {
	if n, err := strconv.Atoi(maxUnavailable); err == nil {
		return printers.CountOf(n, "worker")
	}
	return maxUnavailable + " of the workers"
}

func freezeWords(f renewal.Freeze, now time.Time) string {
	switch {
	case !f.On:
		return "none"
	case !f.Until.IsZero() && !now.Before(f.Until):
		return "ended " + printers.UTCMinute(f.Until)
	}
	text := "nothing starts automatically"
	if !f.Until.IsZero() {
		text += " until " + printers.UTCMinute(f.Until)
	}
	var through []string
	if !f.HoldCompromised {
		through = append(through, "what is compromised")
	}
	if f.Override {
		through = append(through, "what is urgent enough to not wait for a window")
	}
	if len(through) > 0 {
		text += ", except " + strings.Join(through, " and ")
	}
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	return text
}

// policyProspect converts a prospect for printing.
func policyProspect(p renewal.Prospect, now time.Time) v1alpha1.PolicyProspect {
	out := v1alpha1.PolicyProspect{
		Node: p.Node, Service: p.Service, Name: p.Name, Path: p.Path, FingerprintSHA256: p.Fingerprint, NotAfter: p.NotAfter.UTC(),
		Rule: p.Rule, Due: p.Due.UTC(), Reason: string(p.Why), Message: p.Text,
	}
	if !p.Starts.IsZero() {
		starts := p.Starts.UTC()
		out.Starts = &starts
	}
	switch {
	case out.Starts == nil: // the operator has to act once it is due
		out.TooLate = !now.Before(p.Due)
	case p.Starts.After(now):
		out.TooLate = !p.InTime()
	}
	return out
}

// sortProspects puts certificates that are too late first, and sorts by time.
func sortProspects(items []v1alpha1.PolicyProspect) {
	at := func(p v1alpha1.PolicyProspect) time.Time {
		if p.Starts != nil {
			return *p.Starts
		}
		return p.NotAfter
	}
	slices.SortStableFunc(items, func(a, b v1alpha1.PolicyProspect) int {
		if a.TooLate != b.TooLate {
			return map[bool]int{true: -1, false: 1}[a.TooLate]
		}
		if by := at(a).Compare(at(b)); by != 0 {
			return by
		}
		return strings.Compare(a.Node+string(a.Service)+a.Name, b.Node+string(b.Service)+b.Name)
	})
}
