package plugin

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// printInstalled prints the state of the watcher and of pending rotations; nothing where none
// is installed.
func printInstalled(w io.Writer, s *v1alpha1.WatcherStatus, command string, _ time.Time) {
	if s == nil {
		return
	}
	for _, line := range installedLines(s, command) {
		fmt.Fprintln(w, printers.CleanText(line))
	}
}

func installedLines(s *v1alpha1.WatcherStatus, command string) []string {
	var lines []string
	if h := s.Watcher; h != nil {
		lines = append(lines, watcherLine(h, s.Namespace))
		for line := range strings.SplitSeq(h.Problem, "\n") {
			if line != "" {
				lines = append(lines, "  "+line)
			}
		}
	} else if s.Namespace != "" {
		lines = append(lines, "Only agents are installed in the cluster, no watcher.")
	}
	if s.Skew != "" {
		lines = append(lines, "  "+s.Skew)
	}
	if s.Policy != nil {
		lines = append(lines, policyLines(s.Policy)...)
	}
	if a := s.Agents; a != nil {
		lines = append(lines, fmt.Sprintf("Agents: %d/%d ready.", a.Ready, a.Wanted))
	}
	const shown = 10
	for i, n := range s.WithoutReport {
		if i == shown {
			lines = append(lines, fmt.Sprintf("  and %d more nodes", len(s.WithoutReport)-shown))
			break
		}
		lines = append(lines, fmt.Sprintf("  %s: %s", n.Node, n.Reason))
	}
	for i, d := range s.Due {
		if i == shown {
			lines = append(lines, fmt.Sprintf("  and %d more nodes: kubectl get nodecertificatereports -o wide", len(s.Due)-shown))
			break
		}
		lines = append(lines, fmt.Sprintf("Due on %s (%s): %s", d.Node, d.Reason, d.Message))
	}
	for _, m := range s.CompromisedCertificates {
		lines = append(lines, compromisedLines(m)...)
	}
	failed := false
	for _, r := range s.Rotations {
		where := scopeInWords(printers.JoinServices(r.Services, ", "), r.Nodes)
		if r.NodeSelector != "" {
			where += " on nodes with " + r.NodeSelector
		}
		lines = append(lines, fmt.Sprintf("CertificateRotation %s, %s: %s", r.Name, where, stateWord(r.State)))
		if r.Message != "" {
			lines = append(lines, "  "+r.Message)
		}
		failed = failed || r.State == v1alpha1.StateFailed || r.State == v1alpha1.StateRolledBack || r.State == v1alpha1.StateManualInterventionRequired || r.State == v1alpha1.StateRefused
	}
	if failed {
		lines = append(lines, "The watcher retries its own rotations. To retry one at once, fix the cause and delete it: kubectl delete certificaterotation NAME")
	}
	for _, what := range s.NotSeen {
		lines = append(lines, "Not read: "+what)
	}
	if s.Watcher != nil && s.Watcher.Ready > 0 {
		lines = append(lines, "Events: "+command+" events --since 1d")
	}
	return lines
}

func watcherLine(h *v1alpha1.WatcherHealth, namespace string) string {
	text := fmt.Sprintf("Watcher: %d/%d ready, version %s, %s NATS", h.Ready, h.Wanted, cmp.Or(h.Version, "unknown"), h.NATS)
	if h.NotifyOnly {
		text += ", notify-only"
	}
	if h.Leader != "" {
		text += ", leader " + h.Leader
	}
	return text + fmt.Sprintf(" (namespace %s).", namespace)
}

func compromisedLines(m v1alpha1.OpenCompromisedCertificate) []string {
	line := fmt.Sprintf("CompromisedCertificate %s, %s: %s", m.Name, scopeInWords(string(m.Service), m.Nodes), m.Reason)
	waits := "  waits for the watcher"
	switch {
	case m.Message != "":
		waits = "  " + m.Message
	case m.Rotation != "":
		waits = "  CertificateRotation " + m.Rotation + " replaces it"
	}
	return []string{line, waits}
}

func scopeInWords(services string, nodes []string) string {
	if len(nodes) == 0 {
		return services
	}
	return services + " on " + printers.SomeNames(nodes)
}

// stateWord is a printed state, in capitals where the operator has to act.
func stateWord(s v1alpha1.RotationState) string {
	switch s {
	case v1alpha1.StatePending:
		return "pending"
	case v1alpha1.StateSuspended:
		return "suspended (spec.suspend)"
	case v1alpha1.StateRunning:
		return "in progress"
	case v1alpha1.StateInterrupted:
		return "interrupted; the watcher continues it"
	case v1alpha1.StateRolledBack:
		return "ROLLED BACK"
	case v1alpha1.StateFailed:
		return "FAILED, nothing was changed"
	case v1alpha1.StateRefused:
		return "REFUSED, nothing was changed"
	case v1alpha1.StateCanceled:
		return "canceled before its start"
	case v1alpha1.StateManualInterventionRequired:
		return "MANUAL INTERVENTION REQUIRED"
	case v1alpha1.StateSucceeded:
		return "succeeded"
	}
	return string(s)
}
