package dashboard

import (
	"fmt"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// condition is the state of a cluster or a certificate, as a word that pages show with a shape.
type condition string

// The conditions, the worst first.
const (
	unreachable condition = "unreachable"
	expired     condition = "expired"
	attention   condition = "attention" // invalid, not yet valid, or not the one that is served
	expiring    condition = "expiring"
	unknown     condition = "unknown"
	healthy     condition = "healthy"
)

var conditions = []condition{unreachable, expired, attention, expiring, unknown, healthy}

// rankOf is the place of a condition in lists: the worst is 0.
func rankOf(c condition) int {
	for i, other := range conditions {
		if c == other {
			return i
		}
	}
	return len(conditions)
}

// statusNow is the status of a certificate that may have expired since it was read.
func statusNow(status certs.Status, notAfter, now time.Time) certs.Status {
	if !notAfter.IsZero() && !now.Before(notAfter) {
		return certs.Expired
	}
	return status
}

func conditionOf(status certs.Status) condition {
	switch status {
	case certs.OK:
		return healthy
	case certs.Expiring:
		return expiring
	case certs.Expired:
		return expired
	}
	return attention
}

// statusWord is a status in small letters.
func statusWord(status certs.Status) string {
	switch status {
	case certs.NotServed:
		return "not served"
	case certs.NotYetValid:
		return "not yet valid"
	}
	return strings.ToLower(string(status))
}

// listSummary is the part of a list of certificates that the first page shows.
type listSummary struct {
	Total     int
	Attention int // certificates that are not OK
	Worst     condition
	Earliest  time.Time
	Whose     string // the certificate that expires first
}

func summarizeList(list v1alpha1.CertificateList, now time.Time) listSummary {
	out := listSummary{Total: len(list.Items), Worst: unknown}
	if out.Total > 0 {
		out.Worst = healthy
	}
	for _, c := range list.Items {
		status := statusNow(c.Status, c.NotAfter, now)
		if status != certs.OK {
			out.Attention++
		}
		out.addCondition(conditionOf(status))
		if !c.NotAfter.IsZero() && (out.Earliest.IsZero() || c.NotAfter.Before(out.Earliest)) {
			out.Earliest = c.NotAfter
			out.Whose = fmt.Sprintf("%s on %s", c.Name, c.Node)
		}
	}
	for _, a := range list.Authorities {
		if a.Renewed {
			continue
		}
		out.addCondition(conditionOf(statusNow(a.Status, a.NotAfter, now)))
		if !a.NotAfter.IsZero() && (out.Earliest.IsZero() || a.NotAfter.Before(out.Earliest)) {
			out.Earliest = a.NotAfter
			out.Whose = "the CA " + a.Name
		}
	}
	return out
}

func (l *listSummary) addCondition(c condition) {
	if l.Total > 0 && rankOf(c) < rankOf(l.Worst) {
		l.Worst = c
	}
}

// clusterSummary is the part of a State that the first page shows. It is small, so that one can be
// kept for every context.
type clusterSummary struct {
	Version  string
	Nodes    int
	List     *listSummary // nil: there are no reports
	Observed time.Time
	Watcher  string
	Problem  string // of the watcher
	Running  []string
	Due      []string
	NotRead  []string
	Denied   map[Right]string
	// Expirations are the earliest expiry dates by name, as knownExpirations has them; nil: there are
	// no reports.
	Expirations map[string]time.Time
}

func summarizeState(state State, now time.Time) clusterSummary {
	out := clusterSummary{Version: state.Version, Nodes: state.Nodes, Observed: state.Observed,
		Watcher: watcherWords(state), NotRead: state.NotRead, Denied: state.Denied}
	if state.Certificates != nil {
		list := summarizeList(*state.Certificates, now)
		out.List = &list
		out.Expirations = listExpirations(*state.Certificates)
	}
	out.Running = runningWords(state, now)
	if w := state.Watcher; w != nil {
		if w.Watcher != nil {
			out.Problem = w.Watcher.Problem
		}
		for i, due := range w.Due {
			if i == 3 {
				out.Due = append(out.Due, fmt.Sprintf("and %d more nodes", len(w.Due)-i))
				break
			}
			out.Due = append(out.Due, due.Node+": "+due.Message)
		}
	}
	return out
}

func watcherWords(state State) string {
	w := state.Watcher
	switch {
	case state.WatcherUnknown != "":
		return "unknown"
	case w == nil:
		return "not installed"
	case w.Watcher == nil:
		return "agents only"
	case w.Watcher.Ready == 0:
		return "installed, not ready"
	case w.Watcher.NotifyOnly:
		return "installed, notify-only"
	}
	return "installed"
}

// runningWords says which rotations are in progress: by the lock, and those of the watcher.
func runningWords(state State, now time.Time) []string {
	var out []string
	if h := state.Holder; h != nil {
		words := fmt.Sprintf("%s, since %s", h.Holder, printers.UTCMinute(h.Since))
		if h.RunsOut.Before(now) {
			words += "; it has not renewed its lock"
		}
		out = append(out, words)
	}
	if state.Watcher == nil {
		return out
	}
	for _, rotation := range state.Watcher.Rotations {
		if rotation.State == v1alpha1.StateRunning || rotation.State == v1alpha1.StateInterrupted {
			out = append(out, fmt.Sprintf("%s: %s", rotation.Name, printers.JoinServices(rotation.Services, ", ")))
		}
	}
	return out
}
