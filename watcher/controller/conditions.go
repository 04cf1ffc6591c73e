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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// Conditions writes into the reports what is due on their nodes and what it waits for. It
// does so behind the decisions' back: when a whole fleet falls due, ten thousand writes
// must not hold up the one rotation that ends it.
type Conditions struct {
	Client client.Client
	Log    *slog.Logger
	Now    func() time.Time
	// Refused says which reports are not taken into account; may be nil.
	Refused func() map[string]Refusal

	mu      sync.Mutex
	want    map[string]standing // of nodes with something to say
	written map[string]standing // nil: not read yet
	wake    chan struct{}
}

// standing is what a node waits for, and what of its report is refused; the zero value: nothing.
type standing struct {
	reason, message string
	refused         Refusal
}

// reasonRequested is the reason where a rotation has been asked for.
const reasonRequested = "Requested"

// NewConditions completes it.
func NewConditions(c *Conditions) *Conditions {
	c.wake = make(chan struct{}, 1)
	return c
}

// Set says what a decision means for the nodes. It never blocks.
func (c *Conditions) Set(decision renewal.Decision) {
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
		add(r.Certificates, reasonRequested, fmt.Sprintf("rotation %q was asked for", r.Name))
	}
	for _, w := range decision.Waiting {
		text := w.Text
		if !w.Until.IsZero() {
			text += ", until " + w.Until.UTC().Format(time.RFC3339)
		}
		add(w.Certificates, string(w.Reason), text)
	}
	for node, s := range want {
		s.message = clip(s.message, maxWords) // as it is read back
		want[node] = s
	}
	if c.Refused != nil {
		for node, why := range c.Refused() {
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

// NeedLeaderElection keeps a second watcher from writing the same.
func (c *Conditions) NeedLeaderElection() bool { return true }

// Start writes until ctx ends.
func (c *Conditions) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Minute) // what could not be written is tried again
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
			c.written = nil // a report may have been deleted and made anew
		}
		if err := c.write(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("write what is due into the reports, trying again in a minute", "error", err)
		}
	}
}

func (c *Conditions) write(ctx context.Context) error {
	if c.written == nil {
		written, err := c.read(ctx)
		if err != nil {
			return err
		}
		c.written = written
	}
	c.mu.Lock()
	want := maps.Clone(c.want)
	c.mu.Unlock()
	if want == nil {
		return nil // nothing has been decided yet
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
		switch err := ignoreNotFound(c.patch(ctx, node, s)); {
		case isRefused(err) && refusals < mostRefusals:
			refusals++
			refused = cmp.Or(refused, fmt.Errorf("report of node %q: %w", node, err)) // the others may be written
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

// mostRefusals ends a pass: where so many are refused, all are.
const mostRefusals = 20

// isRefused says that the API server, or a webhook of its, does not want this very write.
func isRefused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// read takes over what a predecessor has written.
func (c *Conditions) read(ctx context.Context) (map[string]standing, error) {
	var list v1alpha1.NodeCertificateReportList
	if err := c.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	out := map[string]standing{}
	for i := range list.Items {
		r := &list.Items[i]
		var s standing
		if due := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionCertificatesDue); due != nil && due.Status == metav1.ConditionTrue {
			s.reason, s.message = due.Reason, due.Message
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

// patch writes what a node waits for into its report. A condition keeps the time of its last
// transition while its status stays, and those of others stay.
func (c *Conditions) patch(ctx context.Context, node string, s standing) error {
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
	trying, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.Client.Status().Patch(trying, &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: node}}, client.RawPatch(types.MergePatchType, patch))
}
