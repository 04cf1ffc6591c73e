package printers

import (
	"fmt"
	"io"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// printUnused lists the certificates that no component uses, in the order of their expiry;
// only the wide format lists more than MaxHints.
func printUnused(w io.Writer, f Format, all []v1alpha1.UnusedCertificate, now time.Time) {
	own := slices.DeleteFunc(slices.Clone(all), func(u v1alpha1.UnusedCertificate) bool { return u.Kind == string(inventory.UnusedOther) })
	others := slices.DeleteFunc(slices.Clone(all), func(u v1alpha1.UnusedCertificate) bool { return u.Kind != string(inventory.UnusedOther) })
	printUnusedOf(w, f, "Not in use, never renewed", own, now)
	printUnusedOf(w, f, "Of other programs, never renewed here", others, now)
}

func printUnusedOf(w io.Writer, f Format, title string, all []v1alpha1.UnusedCertificate, now time.Time) {
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b v1alpha1.UnusedCertificate) int { return a.NotAfter.Compare(b.NotAfter) })
	width := 0
	for _, u := range all {
		width = max(width, len(u.Node))
	}
	fmt.Fprintln(w, "\n"+title)
	for i, u := range all {
		if i == MaxHints && f != Wide {
			fmt.Fprintf(w, "  and %d more: -o wide lists all\n", len(all)-MaxHints)
			return
		}
		fmt.Fprintf(w, "  %-*s  %s: %s\n", width, u.Node, CleanText(u.Path), CleanText(unusedText(u, now)))
	}
}

// unusedText says when an unused certificate expires, and why it is taken to be unused.
func unusedText(u v1alpha1.UnusedCertificate, now time.Time) string {
	text := u.Reason
	if u.User != "" {
		text = fmt.Sprintf("user %s; %s", u.User, text)
	}
	switch {
	case u.NotAfter.IsZero():
		return text
	case now.After(u.NotAfter):
		return fmt.Sprintf("expired %s; %s", UTCMinute(u.NotAfter), text)
	}
	return fmt.Sprintf("valid until %s; %s", UTCMinute(u.NotAfter), text)
}
