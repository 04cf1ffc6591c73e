package printers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// MaxHints bounds how many hints are printed; the table and -o json have everything.
const MaxHints = 12

// CheckHints adds to the table why a certificate needs attention, and where a rotation would not
// help.
func CheckHints(list v1alpha1.CertificateList, now time.Time) []string {
	var out []string
	for _, c := range list.Items {
		if h := certificateHint(c, now); h != "" {
			out = append(out, CleanText(h))
		}
	}
	for _, a := range list.Authorities {
		if a.Status != certs.OK {
			out = append(out, CleanText(authorityHint(a, now)))
		}
	}
	if more := len(out) - MaxHints; more > 0 {
		out = append(out[:MaxHints], fmt.Sprintf("and %d more: -o wide has every reason.", more))
	}
	return out
}

func certificateHint(c v1alpha1.Certificate, now time.Time) string {
	switch {
	case c.Status == certs.NotServed && c.Served != nil && c.Served.NotAfter != nil:
		return fmt.Sprintf("%s: %s still serves a certificate that %s, on %s; %s on disk %s. Restart %s.",
			c.Node, c.Service, ExpiryInWords(*c.Served.NotAfter, now), c.Served.Address, c.Name, ExpiryInWords(c.NotAfter, now), c.Service)
	case c.Status == certs.NotServed:
		return fmt.Sprintf("%s: %s does not serve %s, which is on disk: %s. Restart %s.", c.Node, c.Service, c.Name, c.Reason, c.Service)
	case c.Status == certs.Invalid && c.NotRenewable == "":
		return fmt.Sprintf("%s: %s %s: %s. A rotation renews it.", c.Node, c.Name, c.Path, strings.TrimSuffix(c.Reason, "."))
	case c.Status == certs.Invalid:
		return fmt.Sprintf("%s: %s %s: %s. Rotations leave it out until this is fixed.", c.Node, c.Name, c.Path, strings.TrimSuffix(c.Reason, "."))
	case c.NotRenewable != "" && (c.Status == certs.Expiring || c.Status == certs.Expired):
		return fmt.Sprintf("%s: %s %s %s, and cannot be renewed here: %s.", c.Node, c.Name, c.Path, ExpiryInWords(c.NotAfter, now), strings.TrimSuffix(c.NotRenewable, "."))
	case c.Status == certs.OK && c.Reason != "" && c.Reason == c.NotRenewable:
		return "" // the verdict counts it
	case c.Status == certs.NotYetValid:
		return fmt.Sprintf("%s: %s is %s.", c.Node, c.Name, c.Reason)
	case c.Served != nil && c.Served.FingerprintSHA256 == "":
		return fmt.Sprintf("%s: %s does not answer on %s: %s", c.Node, c.Service, c.Served.Address, c.Served.Error)
	case c.Status == certs.OK && c.Reason != "":
		return fmt.Sprintf("%s: %s %s: %s", c.Node, c.Name, c.Path, c.Reason)
	}
	return ""
}

func authorityHint(a v1alpha1.Authority, now time.Time) string {
	if a.Status == certs.Invalid {
		return fmt.Sprintf("CA %s on %s: %s", a.Name, SomeNames(a.Nodes), a.Reason)
	}
	return fmt.Sprintf("CA %s %s. Its certificates expire with it at the latest, and a rotation keeps the CA: replace it by hand, "+
		"https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/", a.Name, ExpiryInWords(a.NotAfter, now))
}

// NeedsAttention reports whether the operator can and should act now, which makes the exit code
// of check 1: a certificate or CA has another status than OK, or something could not be inspected.
func NeedsAttention(list v1alpha1.CertificateList) bool {
	return countGaps(list.NotInspected) > 0 ||
		slices.ContainsFunc(list.Items, func(c v1alpha1.Certificate) bool { return c.Status != certs.OK }) ||
		slices.ContainsFunc(list.Authorities, func(a v1alpha1.Authority) bool { return a.Status != certs.OK })
}

// countGaps counts the items that should have been inspected and could not be.
func countGaps(items []v1alpha1.NotInspected) int {
	n := 0
	for _, x := range items {
		if !x.Informational {
			n++
		}
	}
	return n
}

// CheckVerdict is the last line of a check: a summary and the next step. command is how the
// plugin is called, with the connection flags that were given; nodes are those that --node
// names.
func CheckVerdict(list v1alpha1.CertificateList, command string, nodes []string, now time.Time) string {
	bad := 0
	services := []certs.Service{}
	var affected []string
	for _, c := range list.Items {
		if c.Status == certs.OK {
			continue
		}
		bad++
		if c.NotRenewable == "" && (c.Status == certs.Expiring || c.Status == certs.Expired || c.Status == certs.NotServed || c.Status == certs.Invalid) {
			services = append(services, c.Service)
			affected = append(affected, c.Node)
		}
	}
	rest := verdictDetails(list)
	switch {
	case len(list.Items) == 0:
		return "No certificate was found." + rest
	case bad == 0:
		return fmt.Sprintf("%s. The next one expires %s.%s", allOK(len(list.Items)), firstExpiry(list.Items, now), rest)
	case len(services) == 0:
		return fmt.Sprintf("%d of %s.%s", bad, ofAll(bad, len(list.Items)), rest)
	}
	next := command + " --service " + JoinServices(certs.SortServices(services), ",")
	if len(nodes) == 0 {
		nodes = nodesToName(affected, list.Items)
	}
	if len(nodes) > 0 {
		next += " --node " + strings.Join(nodes, ",")
	}
	return fmt.Sprintf("%d of %s.%s Next: %s", bad, ofAll(bad, len(list.Items)), rest, next)
}

// nodesToName returns the affected nodes, so that the command restarts nothing on others; none
// where all nodes are affected, or too many for a command line.
func nodesToName(affected []string, all []v1alpha1.Certificate) []string {
	const most = 6
	slices.Sort(affected)
	affected = slices.Compact(affected)
	other := func(c v1alpha1.Certificate) bool { return !slices.Contains(affected, c.Node) }
	if len(affected) > most || !slices.ContainsFunc(all, other) {
		return nil
	}
	return affected
}

// verdictDetails summarizes everything but the certificates that need attention.
func verdictDetails(list v1alpha1.CertificateList) string {
	rest := ""
	left := 0
	for _, c := range list.Items {
		if c.NotRenewable != "" {
			left++
		}
	}
	if left > 0 {
		rest += fmt.Sprintf(" %d cannot be renewed here: -o wide says why.", left)
	}
	if n := countGaps(list.NotInspected); n > 0 {
		rest += fmt.Sprintf(" %s not inspected: see above.", wasWere(n, "item"))
	}
	if n := badAuthorities(list); n > 0 {
		rest += fmt.Sprintf(" %s attention: see above.", needNeeds(n, "CA"))
	}
	return rest
}

func badAuthorities(list v1alpha1.CertificateList) int {
	n := 0
	for _, a := range list.Authorities {
		if a.Status != certs.OK {
			n++
		}
	}
	return n
}

func allOK(n int) string {
	if n == 1 {
		return "The certificate is OK"
	}
	return fmt.Sprintf("All %d certificates are OK", n)
}

// ExpiryInWords says when a certificate expires or expired, for a sentence.
func ExpiryInWords(t, now time.Time) string {
	if d := t.Sub(now); d >= 0 {
		return "expires in " + RemainingTime(d)
	}
	return "expired " + RemainingTime(now.Sub(t)) + " ago"
}

func wasWere(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return fmt.Sprintf("%d %ss were", n, noun)
}

func needNeeds(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " needs"
	}
	return fmt.Sprintf("%d %ss need", n, noun)
}

// ofAll is "41 certificates need attention": the verb goes with the bad ones.
func ofAll(bad, all int) string {
	verb := "need"
	if bad == 1 {
		verb = "needs"
	}
	return fmt.Sprintf("%s %s attention", CountOf(all, "certificate"), verb)
}

// firstExpiry names the certificate that expires first.
func firstExpiry(items []v1alpha1.Certificate, now time.Time) string {
	first := items[0]
	for _, c := range items {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return fmt.Sprintf("in %s (%s on %s, %s)", RemainingTime(first.NotAfter.Sub(now)), first.Name, first.Node, UTCMinute(first.NotAfter))
}
