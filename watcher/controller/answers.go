package controller

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// The bounds of the answers in a summary. Other clusters choose how much they ask for.
const (
	refusalsOfOne   = 2   // of one asking cluster, so that it cannot replace those of others
	refusalsOfAll   = 24  // in memory
	answersShared   = 8   // in the summary
	rotationsShared = 4   // of them rotations
	reasonBytes     = 160 // as JSON, which may have six bytes for one of the text
)

// refusals are the requests of other clusters that were refused on the last day, oldest first.
// Rotations need no such list: their objects say the same.
type refusals struct {
	mu   sync.Mutex
	kept []refusal
}

type refusal struct {
	cluster string
	answer  v1alpha1.SummaryAnswer
}

// addRefusal keeps a refusal; false: the request was refused before.
func (r *refusals) addRefusal(cluster, id, why string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := event.AskedName(cluster, id)
	r.kept = slices.DeleteFunc(r.kept, func(one refusal) bool { return at.Sub(one.answer.At) > v1alpha1.AnswersKept })
	if slices.ContainsFunc(r.kept, func(one refusal) bool { return one.answer.Request == name }) {
		return false
	}
	ofCluster := func(one refusal) bool { return one.cluster == cluster }
	count := 0
	for _, one := range r.kept {
		if ofCluster(one) {
			count++
		}
	}
	switch {
	case count >= refusalsOfOne:
		first := slices.IndexFunc(r.kept, ofCluster)
		r.kept = slices.Delete(r.kept, first, first+1)
	case len(r.kept) >= refusalsOfAll:
		r.kept = slices.Delete(r.kept, 0, 1)
	}
	answer := v1alpha1.SummaryAnswer{Request: name, Refused: shortReason(why), At: at.UTC().Truncate(time.Second)}
	r.kept = append(r.kept, refusal{cluster: cluster, answer: answer})
	return true
}

func (r *refusals) hasRefused(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.kept, func(one refusal) bool { return one.answer.Request == name })
}

// newestFirst returns the refusals of the last day.
func (r *refusals) newestFirst(now time.Time) []v1alpha1.SummaryAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []v1alpha1.SummaryAnswer
	for _, one := range slices.Backward(r.kept) {
		if now.Sub(one.answer.At) <= v1alpha1.AnswersKept {
			out = append(out, one.answer)
		}
	}
	return out
}

// RestoreRefusal keeps a refusal that an earlier watcher has published.
func (d *Decider) RestoreRefusal(e event.Event) {
	if answer, is := e.Data.(event.RotationAsked); is && answer.Refused != "" {
		d.refusals.addRefusal(answer.Cluster, answer.Request, answer.Refused, e.Time)
	}
}

// AnswersFor are the answers to requests of other clusters, for the summary of this one.
func (d *Decider) AnswersFor(rotations []v1alpha1.CertificateRotation) []v1alpha1.SummaryAnswer {
	now := d.Now()
	var all []v1alpha1.SummaryAnswer
	for i := range rotations {
		c := &rotations[i]
		if isAskedName(c.Name) && now.Sub(c.CreationTimestamp.Time) <= v1alpha1.AnswersKept {
			all = append(all, v1alpha1.SummaryAnswer{Request: c.Name, State: c.State(), At: c.CreationTimestamp.UTC()})
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.SummaryAnswer) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.Request, b.Request))
	})
	all = append(all[:min(len(all), rotationsShared)], d.refusals.newestFirst(now)...)
	return all[:min(len(all), answersShared)]
}

// shortReason is a reason as far as a summary has room for it.
func shortReason(why string) string {
	text := printers.ShortText(why, reasonBytes)
	size := 0
	for at, r := range text {
		encoded, _ := json.Marshal(string(r)) // a string has no errors
		if size += len(encoded) - len(`""`); size > reasonBytes {
			return text[:at] + "…"
		}
	}
	return text
}

// isAskedName reports whether a name is one of [event.AskedName]. Users can create others.
func isAskedName(name string) bool {
	return strings.HasPrefix(name, event.AskedPrefix) && len(name) == len(event.AskedName("", ""))
}
