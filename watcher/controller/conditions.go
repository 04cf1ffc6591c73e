package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Conditions writes into the reports which certificates of their nodes are due, and what these
// wait for. It writes asynchronously: when all certificates of a cluster become due, ten
// thousand writes must not delay the rotation.
type Conditions struct {
	Client client.Client
	Log    *slog.Logger
	Now    func() time.Time
	// RefusedReports returns the reports that are not used, and why; may be nil.
	RefusedReports func() map[string]Refusal

	mu      sync.Mutex
	want    map[string]standing // of nodes with due certificates or a refused report
	written map[string]standing // nil: not read yet
	wake    chan struct{}
}

// standing is what the due certificates of a node wait for, and why its report is refused; the
// zero value: neither.
type standing struct {
	reason, message string
	refused         Refusal
}

// reasonRequested is the reason of certificates whose rotation was requested.
const reasonRequested = "Requested"

// NewConditions completes a Conditions.
func NewConditions(c *Conditions) *Conditions {
	c.wake = make(chan struct{}, 1)
	return c
}

// SetDecision derives the conditions of all nodes from a decision. It never blocks.
func (c *Conditions) SetDecision(decision renewal.Decision) {
	want := map[string]standing{}
	add := func(refs []renewal.Ref, reason, text string) {
		byNode := map[string][]string{}
		for _, ref := range refs {
			byNode[ref.Node] = append(byNode[ref.Node], ref.Name)
		}
		for node, names := range byNode {
			s := want[node]
			s.reason = cmp.Or(s.reason, reason)
			if s.message != "" {
				s.message += "; "
			}
			s.message += strings.Join(names, ", ") + ": " + text
			want[node] = s
		}
	}
	for _, r := range decision.Start {
		add(r.Certificates, reasonRequested, fmt.Sprintf("rotation %q was requested", r.Name))
	}
	for _, w := range decision.Waiting {
		text := w.Text
		if !w.Until.IsZero() {
			text += ", until " + w.Until.UTC().Format(time.RFC3339)
		}
		add(w.Certificates, string(w.Reason), text)
	}
	for node, s := range want {
		s.message = clipText(s.message, maxMessage) // as the API server stores it
		want[node] = s
	}
	if c.RefusedReports != nil {
		for node, why := range c.RefusedReports() {
			s := want[node]
			s.refused = why
			want[node] = s
		}
	}
	c.mu.Lock()
	same := maps.Equal(c.want, want)
	c.want = want
	c.mu.Unlock()
	if same {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// NeedLeaderElection keeps a second watcher from writing the same conditions.
func (c *Conditions) NeedLeaderElection() bool { return true }

// Start writes until ctx ends.
func (c *Conditions) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Minute) // failed writes are tried again
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
			c.written = nil // a report may have been deleted and created again
		}
		if err := c.writeAll(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("write conditions of reports, trying again in a minute", "error", err)
		}
	}
}

func (c *Conditions) writeAll(ctx context.Context) error {
	if c.written == nil {
		written, err := c.readWritten(ctx)
		if err != nil {
			return err
		}
		c.written = written
	}
	c.mu.Lock()
	want := maps.Clone(c.want)
	c.mu.Unlock()
	if want == nil {
		return nil // there is no decision yet
	}
	for node := range c.written {
		if _, due := want[node]; !due {
			want[node] = standing{}
		}
	}
	var refused error
	refusals := 0
	for _, node := range slices.Sorted(maps.Keys(want)) {
		s := want[node]
		if s == c.written[node] {
			continue
		}
		switch err := ignoreNotFound(c.patchReport(ctx, node, s)); {
		case permanentlyRefused(err) && refusals < maxRefusals:
			refusals++
			refused = cmp.Or(refused, fmt.Errorf("report of node %q: %w", node, err)) // other reports may accept theirs
			continue
		case err != nil:
			return err
		}
		c.written[node] = s
		if s == (standing{}) {
			delete(c.written, node)
		}
	}
	return refused
}

// maxRefusals ends a pass: after so many refused writes, all others would be refused.
const maxRefusals = 20

// readWritten reads the conditions that a previous leader has written.
func (c *Conditions) readWritten(ctx context.Context) (map[string]standing, error) {
	var list v1alpha1.NodeCertificateReportList
	if err := c.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	out := map[string]standing{}
	for i := range list.Items {
		r := &list.Items[i]
		var s standing
		if due := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionCertificatesDue); due != nil && due.Status == metav1.ConditionTrue {
			s.reason = due.Reason
			s.message = due.Message
		}
		if refused := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionAccepted); refused != nil {
			s.refused = Refusal{refused.Reason, refused.Message}
		}
		if s != (standing{}) {
			out[r.Name] = s
		}
	}
	return out, nil
}

// patchReport writes the conditions of a node into its report. A condition keeps its
// transition time while its status remains, and conditions of other writers are kept.
func (c *Conditions) patchReport(ctx context.Context, node string, s standing) error {
	report := &v1alpha1.NodeCertificateReport{}
	if err := c.Client.Get(ctx, client.ObjectKey{Name: node}, report, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	conditions := slices.Clone(report.Status.Conditions)
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: report.Generation,
			LastTransitionTime: metav1.NewTime(c.Now().UTC().Truncate(time.Second)),
		})
	}
	if s.reason != "" {
		set(v1alpha1.ConditionCertificatesDue, metav1.ConditionTrue, s.reason, s.message)
	} else {
		set(v1alpha1.ConditionCertificatesDue, metav1.ConditionFalse, "NothingDue", "")
	}
	if s.refused.Reason != "" {
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, s.refused.Reason, s.refused.Message)
	} else {
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionAccepted)
	}
	patch, err := json.Marshal(map[string]any{"status": v1alpha1.NodeCertificateReportStatus{Conditions: conditions}})
	if err != nil {
		return err
	}
	trying, cancel := context.WithTimeout(ctx, wait.AttemptTimeout)
	defer cancel()
	return c.Client.Status().Patch(trying, &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: node}}, client.RawPatch(types.MergePatchType, patch))
}
