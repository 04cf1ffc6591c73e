package plugin

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

var policyColumns = []printers.Column{
	{Name: "Node"}, {Name: "Service"}, {Name: "Certificate"}, {Name: "Expires"}, {Name: "Rule"}, {Name: "Due"}, {Name: "Rotates"},
	{Name: "SHA256", Wide: true}, {Name: "Path", Wide: true},
}

// printPolicy prints a policy report in any format.
func printPolicy(w io.Writer, f printers.Format, r v1alpha1.PolicyReport) error {
	if f.IsDocument() {
		return printers.PrintDocument(w, f, r)
	}
	if len(r.Rules) > 1 {
		fmt.Fprintln(w, "The first rule that matches a certificate applies.")
	}
	for _, rule := range r.Rules {
		fmt.Fprintln(w, printers.CleanText(rule.Name))
		printStatements(w, rule.Statements)
		for _, window := range rule.Windows {
			printWindow(w, window)
		}
	}
	fmt.Fprintln(w, "for all rules")
	printStatements(w, r.General)
	if len(r.Items) > 0 {
		rows := make([][]string, 0, len(r.Items))
		for _, p := range r.Items {
			rows = append(rows, []string{p.Node, string(p.Service), p.Name, printers.UTCMinute(p.NotAfter), p.Rule, dueWord(p, r), rotatesWord(p, r), p.FingerprintSHA256, p.Path})
		}
		fmt.Fprintln(w)
		if err := printers.PrintTable(w, f, policyColumns, rows); err != nil {
			return err
		}
	}
	printers.PrintNotInspected(w, r.NotInspected)
	return nil
}

func printStatements(w io.Writer, statements []v1alpha1.PolicyStatement) {
	for _, s := range statements {
		fmt.Fprintf(w, "  %-11s  %s\n", s.About, printers.CleanText(s.Text))
	}
}

// printWindow prints the times of a window in UTC and in its own time zone.
func printWindow(w io.Writer, window v1alpha1.PolicyWindow) {
	state := "opens"
	if window.Open {
		state = "open since"
	}
	times := make([]string, 0, len(window.Next))
	for i, t := range window.Next {
		text := printers.UTCMinute(t)
		if local := t.Format("15:04 MST"); window.TimeZone != "UTC" {
			text += " (" + local + ")"
		}
		if i == 1 && window.Open {
			text = "again " + text
		}
		times = append(times, text)
	}
	fmt.Fprintf(w, "  %-11s  %q for %s, %s: %s %s\n", "window", printers.CleanText(window.Schedule), window.Duration, window.TimeZone, state, strings.Join(times, ", "))
}

func dueWord(p v1alpha1.PolicyProspect, r v1alpha1.PolicyReport) string {
	if !p.Due.After(r.Time) {
		return "now"
	}
	return printers.UTCDate(p.Due)
}

func rotatesWord(p v1alpha1.PolicyProspect, r v1alpha1.PolicyReport) string {
	text := "never"
	switch {
	case p.Starts == nil:
	case !p.Starts.After(r.Time):
		text = "now"
	default:
		text = printers.UTCMinute(*p.Starts)
	}
	if p.TooLate {
		text += ", TOO LATE"
	}
	switch renewal.Reason(p.Reason) {
	case "":
		return text
	case renewal.ReasonWindow:
		return text + " (window)"
	case renewal.ReasonFreeze:
		return text + " (freeze)"
	case renewal.ReasonNotifyOnly:
		return text + " (notify-only)"
	case renewal.ReasonCAExpiresSoon:
		return text + " (its CA expires)"
	case renewal.ReasonNoGain:
		return text + " (validity too short)"
	case renewal.ReasonNotControlPlane:
		return text + " (not a control-plane node)"
	}
	return text + " (" + p.Reason + ")"
}

// policyVerdict names certificates that would be rotated too late, or the first rotation.
func policyVerdict(r v1alpha1.PolicyReport) []string {
	var out []string
	seen := map[string]bool{}
	late := 0
	first := (*v1alpha1.PolicyProspect)(nil)
	for i := range r.Items {
		p := &r.Items[i]
		if p.Starts != nil && !p.TooLate && first == nil {
			first = p
		}
		if !p.TooLate {
			continue
		}
		late++
		why := p.Message
		if why == "" {
			why = map[string]string{
				string(renewal.ReasonWindow): "it expires before its next window",
				string(renewal.ReasonFreeze): "it expires before the freeze ends",
			}[p.Reason]
		}
		why = cmp.Or(why, "it has expired, or expires too soon")
		if line := fmt.Sprintf("%s of %s: %s", p.Name, p.Node, why); len(out) < printers.MaxHints && !seen[line] {
			seen[line] = true
			out = append(out, line)
		}
	}
	switch {
	case late > 0:
		return append(out, fmt.Sprintf("%d of %s would not be rotated in time by this policy. To rotate one now: %s --service NAME --node NODE",
			late, printers.CountOf(len(r.Items), "certificate"), displayName))
	case first == nil:
		return []string{"No certificate is rotated automatically under this policy, and none is due."}
	case !first.Starts.After(r.Time):
		return []string{fmt.Sprintf("All of %s would be rotated in time; the first now.", printers.CountOf(len(r.Items), "certificate"))}
	}
	return []string{fmt.Sprintf("All of %s would be rotated in time; the first in %s.", printers.CountOf(len(r.Items), "certificate"), printers.RemainingTime(first.Starts.Sub(r.Time)))}
}
