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
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// lifetimeNotes lists certificates whose life is clearly shorter than what was asked for,
// or than their predecessor's, and those that have their old key, each with its nodes.
func (r *run) lifetimeNotes() []string {
	shorter := map[string][]string{}
	kept := map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(r.seen)) {
		w := r.seen[node]
		for _, rec := range w.recordsOf(nodeapi.Committed) {
			for _, renewal := range rec.Renewals {
				if words := r.shorterLife(w.step, renewal); words != "" {
					shorter[words] = append(shorter[words], node)
				}
				if words := keptKey(renewal); words != "" {
					kept[words] = append(kept[words], node)
				}
			}
		}
	}
	var out []string
	for _, on := range []map[string][]string{shorter, kept} {
		for _, words := range slices.Sorted(maps.Keys(on)) {
			out = append(out, words+" ("+printers.SomeNames(on[words])+")")
		}
	}
	return out
}

// shorterLife says that a certificate has a shorter life: a signer may grant less, and then it
// expires, and is to be renewed, sooner than expected.
func (r *run) shorterLife(s plan.Step, n inventory.Renewal) string {
	got := n.New.NotAfter.Sub(n.New.NotBefore)
	want := n.Old.NotAfter.Sub(n.Old.NotBefore)
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
	if got <= 0 || !plan.IsShorterLife(want, got) {
		return ""
	}
	name, _, _ := strings.Cut(n.ID, "@")
	return fmt.Sprintf("The new certificate of %s has a shorter life: it is valid for %s, %s %s.%s",
		name, printers.ValidityInWords(got), than, printers.ValidityInWords(want), whyShorter(target))
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

// keptKey says that a certificate has its old key, and what else uses the key.
func keptKey(n inventory.Renewal) string {
	if n.KeptKey == "" {
		return ""
	}
	name, _, _ := strings.Cut(n.ID, "@")
	return fmt.Sprintf("The new certificate of %s is for its old key, which %s", name, n.KeptKey)
}
