package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// shorterLives lists certificates whose life is clearly shorter than what was asked for,
// or than their predecessor's: a signer may grant less, and then they expire, and are to
// be renewed, sooner than expected.
func (r *run) shorterLives() []string {
	on := map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(r.seen)) {
		w := r.seen[node]
		for _, rec := range w.recordsOf(nodeapi.Committed) {
			for _, renewal := range rec.Renewals {
				if words := r.shorterLife(w.step, renewal); words != "" {
					on[words] = append(on[words], node)
				}
			}
		}
	}
	var out []string
	for _, words := range slices.Sorted(maps.Keys(on)) {
		out = append(out, words+" ("+someNodes(on[words])+")")
	}
	return out
}

func (r *run) shorterLife(s plan.Step, n inventory.Renewal) string {
	got := lifetime(n.New.NotBefore, n.New.NotAfter)
	want := lifetime(n.Old.NotBefore, n.Old.NotAfter)
	than := "the old one was valid for"
	target := targetOf(s, n.ID)
	if target.LifeSeconds > 0 {
		want = time.Duration(target.LifeSeconds) * time.Second // what it was made for
	}
	if r.Request.RollbackOf != "" {
		return ""
	}
	if r.Request.Validity > 0 {
		want = r.Request.Validity
		than = "what was asked for is"
	}
	if got <= 0 || got*10 >= want*9 {
		return ""
	}
	name, _, _ := strings.Cut(n.ID, "@")
	return fmt.Sprintf("The new certificate of %s has a shorter life: it is valid for %s, %s %s.%s",
		name, lifetimeInWords(got), than, lifetimeInWords(want), whyShorter(target))
}

// whyShorter is what is known of the reason: what the plan foresaw, or a signer that
// decides for itself.
func whyShorter(t plan.Target) string {
	switch {
	case t.LifeReason != "":
		return " The reason: " + t.LifeReason + "."
	case t.Issuer == string(inventory.KubernetesCSR):
		return " Its signer grants no more."
	case inventory.Issuer{Kind: inventory.IssuerKind(t.Issuer)}.IsByUnit():
		return " Its distribution decides that: " + plan.WhereValidityIs(inventory.IssuerKind(t.Issuer)) + "."
	}
	return ""
}

// targetOf is the target of a step that has an id; the zero value where it has none.
func targetOf(s plan.Step, id string) plan.Target {
	if at := slices.IndexFunc(s.Targets, func(t plan.Target) bool { return t.ID == id }); at >= 0 {
		return s.Targets[at]
	}
	return plan.Target{}
}

// keptKeys lists the certificates that have their old key, and the key's other uses.
func (r *run) keptKeys() []string {
	on := map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(r.seen)) {
		for _, rec := range r.seen[node].recordsOf(nodeapi.Committed) {
			for _, renewal := range rec.Renewals {
				if renewal.KeptKey == "" {
					continue
				}
				name, _, _ := strings.Cut(renewal.ID, "@")
				words := fmt.Sprintf("The new certificate of %s is for its old key, which also %s", name, renewal.KeptKey)
				on[words] = append(on[words], node)
			}
		}
	}
	var out []string
	for _, words := range slices.Sorted(maps.Keys(on)) {
		out = append(out, words+" ("+someNodes(on[words])+")")
	}
	return out
}

func lifetime(from, to time.Time) time.Duration { return to.Sub(from) }

// lifetimeInWords is a certificate's life in whole days, or hours where it is short. Signers
// begin some minutes in the past, which does not count.
func lifetimeInWords(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d.Round(day)/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d.Round(time.Hour)/time.Hour)
	default:
		return fmt.Sprintf("%d minutes", d.Round(time.Minute)/time.Minute)
	}
}

// someNodes names a few nodes.
func someNodes(nodes []string) string {
	const most = 5
	if more := len(nodes) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(nodes[:most], ", "), more)
	}
	return strings.Join(nodes, ", ")
}
