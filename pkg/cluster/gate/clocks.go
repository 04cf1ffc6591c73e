package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// MaxClockDifference is by how much two clocks may differ. A certificate is valid from
// [certs.Backdate] before it is signed, by the clock of its signer; a minute of that is kept
// for the time until it is used.
const MaxClockDifference = certs.Backdate - time.Minute

// clock is by how much a clock is ahead of that of this machine, at least and at most: a scan
// takes time.
type clock struct {
	name        string
	least, most time.Duration
}

// CheckClocks returns a finding if clocks differ so much that a certificate signed by one of
// them would not be valid yet by another. Clocks that were read at an unknown moment are
// compared with each other only.
func CheckClocks(nodes []inventory.Node) []Finding {
	known := []clock{{name: "this machine"}}
	unknown := []clock(nil)
	var base time.Time
	for _, n := range nodes {
		switch {
		case n.Time.IsZero():
		case !n.Scanned.To.IsZero():
			known = append(known, clock{n.Name, n.Time.Sub(n.Scanned.To), n.Time.Sub(n.Scanned.From)})
		default:
			if base.IsZero() {
				base = n.Time
			}
			unknown = append(unknown, clock{n.Name, n.Time.Sub(base), n.Time.Sub(base)})
		}
	}
	var out findings
	for _, group := range [][]clock{known, unknown} {
		if most := minDifference(group); most > MaxClockDifference {
			out.addOnce("clocks", "clocks differ by %s: %s; a certificate is valid from %s before it is signed, so what one of them signs would not be valid yet for the other: synchronize them (timedatectl status, chronyc tracking)",
				most.Round(time.Second), strings.Join(outlierTexts(group), ", "), inMinutes(certs.Backdate))
		}
	}
	return out
}

// minDifference is by how much two of the clocks differ at least.
func minDifference(clocks []clock) time.Duration {
	var most time.Duration
	for _, a := range clocks {
		for _, b := range clocks {
			most = max(most, a.least-b.most)
		}
	}
	return most
}

// outlierTexts names the clocks that are far from the median, and by how much.
func outlierTexts(clocks []clock) []string {
	sorted := slices.Clone(clocks)
	slices.SortFunc(sorted, func(a, b clock) int { return int(a.least - b.least) })
	middle := sorted[(len(sorted)-1)/2]
	var out []string
	for _, c := range clocks {
		switch by := c.least - middle.least; {
		case by > MaxClockDifference/2:
			out = append(out, fmt.Sprintf("%s is %s ahead", c.name, by.Round(time.Second)))
		case by < -MaxClockDifference/2:
			out = append(out, fmt.Sprintf("%s is %s behind", c.name, (-by).Round(time.Second)))
		}
	}
	const shown = 8
	if more := len(out) - shown; more > 0 {
		out = append(out[:shown], fmt.Sprintf("and %d more", more))
	}
	return out
}

func inMinutes(d time.Duration) string { return fmt.Sprintf("%d minutes", d/time.Minute) }
