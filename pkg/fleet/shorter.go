package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
)

// shorter tells of certificates whose life is clearly shorter than what was asked for,
// or than their predecessor's: a signer may grant less, and then they end, and are to be
// renewed, sooner than one would think.
func (r *run) shorter() []string {
	on := map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(r.seen)) {
		for _, rec := range r.seen[node].of(journal.Committed) {
			for _, renewal := range rec.Renewals {
				if words := r.shortened(renewal); words != "" {
					on[words] = append(on[words], node)
				}
			}
		}
	}
	var out []string
	for _, words := range slices.Sorted(maps.Keys(on)) {
		out = append(out, words+" ("+some(on[words])+")")
	}
	return out
}

func (r *run) shortened(n inventory.Renewal) string {
	got := life(n.New.NotBefore, n.New.NotAfter)
	want, than := life(n.Old.NotBefore, n.Old.NotAfter), "the old one was valid for"
	if r.Request.Validity > 0 {
		want, than = r.Request.Validity, "what was asked for is"
	}
	if got <= 0 || got*10 >= want*9 {
		return ""
	}
	name, _, _ := strings.Cut(n.ID, "@")
	return fmt.Sprintf("The new certificate of %s has a shorter life: it is valid for %s, %s %s. Its signer grants no more.",
		name, inWords(got), than, inWords(want))
}

func life(from, to time.Time) time.Duration { return to.Sub(from) }

// inWords is a certificate's life in whole days, or hours where it is short. Signers
// begin some minutes in the past, which nobody means.
func inWords(d time.Duration) string {
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

// some names a few nodes.
func some(nodes []string) string {
	const most = 5
	if more := len(nodes) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(nodes[:most], ", "), more)
	}
	return strings.Join(nodes, ", ")
}
