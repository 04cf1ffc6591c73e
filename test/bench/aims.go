package main

import (
	"fmt"
	"io"
)

// aim is what was measured next to what it should be.
type aim struct {
	what, measured, wanted string
	met                    bool
}

func atMost(what string, measured, most float64, unit string) aim {
	return aim{what: what, measured: fmt.Sprintf("%.3g%s", measured, unit), wanted: fmt.Sprintf("≤ %g%s", most, unit), met: measured <= most}
}

// judge compares the procedures with the documented one.
func judge(l *lab, ms []*measurement) []aim {
	byName := map[string]*measurement{}
	for _, m := range ms {
		byName[m.name] = m
	}
	var out []aim
	if m := byName[ifNeeded]; m != nil && len(l.controlPlanes()) == 1 {
		return []aim{none("single control plane, if-needed: failed requests", m.worst(func(experience) bool { return true }))}
	}
	base := byName[documented]
	for _, want := range []struct {
		name       string
		wall, down float64
	}{{always, 0.5, 0.3}, {ifNeeded, 0.2, 0}} {
		m := byName[want.name]
		if m == nil {
			continue
		}
		if base != nil {
			out = append(out,
				atMost(want.name+": wall time, documented = 1", m.wall.Seconds()/base.wall.Seconds(), want.wall, ""),
				atMost(want.name+": longest gap of an API endpoint, documented = 1",
					m.outage()/base.outage(), want.down, ""))
		}
		out = append(out, none(want.name+": failed requests through the load balancer, new connections", m.worst(through)))
	}
	return out
}

// outage is the longest time in seconds without a good answer of an API server to new
// connections; a gap in which nothing failed is none.
func (m *measurement) outage() (longest float64) {
	for _, e := range m.experiences {
		if direct(e) && e.failed > 0 {
			longest = max(longest, e.gap.Seconds())
		}
	}
	return longest
}

func none(what string, e experience) aim {
	return aim{what: what, measured: fmt.Sprintf("%d of %d", e.failed, e.asked), wanted: "0", met: e.failed == 0 && e.asked > 0}
}

// printAims prints the aims and says whether all were met.
func printAims(w io.Writer, aims []aim) bool {
	if len(aims) == 0 {
		return true
	}
	all := true
	t := table{{"aim", "measured", "wanted", ""}}
	for _, a := range aims {
		verdict := "met"
		if !a.met {
			verdict, all = "MISSED", false
		}
		t = append(t, []string{a.what, a.measured, a.wanted, verdict})
	}
	fmt.Fprintln(w)
	t.print(w)
	return all
}
