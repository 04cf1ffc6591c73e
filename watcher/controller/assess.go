package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// assess judges the nodes that have changed or whose time has come, all of them under a
// new policy; it returns when the clock changes one next.
func (d *Decider) assess(now time.Time) time.Time {
	changed, renewed := d.Picture.Changed()
	for _, r := range renewed {
		d.Events.Tell(r)
	}
	if p := d.policy.Load(); p != d.judged {
		d.judged, d.assessed = p, map[string]renewal.Assessment{}
		for _, name := range d.Picture.Names() {
			changed[name] = d.Picture.Lookup(name)
		}
	}
	for name, a := range d.assessed {
		if _, anyway := changed[name]; !anyway && !a.Next.IsZero() && !a.Next.After(now) {
			changed[name] = d.Picture.Lookup(name)
		}
	}
	for name, n := range changed {
		delete(d.assessed, name)
		if n == nil {
			continue
		}
		a := renewal.Assess(now, d.judged, n)
		d.assessed[name] = a
		d.tell(a.Notices)
	}
	var next time.Time
	notices := 0
	for _, a := range d.assessed {
		next = sooner(next, a.Next)
		notices += len(a.Notices)
	}
	if len(d.told) > 2*notices+enoughTold {
		d.forgetTold()
	}
	return next
}

func (d *Decider) due() []renewal.Assessment {
	var out []renewal.Assessment
	for _, a := range d.assessed {
		if len(a.Items)+len(a.LeftOut) > 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b renewal.Assessment) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func (d *Decider) node(name string) (renewal.Node, bool) {
	n := d.Picture.Lookup(name)
	if n == nil {
		return renewal.Node{}, false
	}
	return *n, true
}

// tell publishes what has not been told before. Told again by a successor, it has the
// same id.
func (d *Decider) tell(notices []renewal.Notice) {
	for _, n := range notices {
		if d.told[n.ID()] {
			continue
		}
		d.told[n.ID()] = true
		data, reason, text := noticeData(n)
		d.Events.Tell(data)
		if n.Kind != renewal.AuthorityExpiring || n.Node != "" {
			noteNode(d.Recorder, n.Node, warning, reason, text)
		}
	}
}

// enoughTold is how many ids of what is not so any more are kept before they are forgotten.
const enoughTold = 1000

// forgetTold drops the ids of what is not so any more.
func (d *Decider) forgetTold() {
	left := map[string]bool{}
	for _, a := range d.assessed {
		for _, n := range a.Notices {
			if id := n.ID(); d.told[id] {
				left[id] = true
			}
		}
	}
	d.told = left
}
