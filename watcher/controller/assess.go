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
		if !d.spentUp(r.Node, now) {
			_, _ = d.Events.Tell(r) // there is no state that it could be told from again
			d.spent[r.Node]++
		}
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
		d.tellAt = sooner(d.tellAt, d.tell(now, a.Notices))
	}
	var next time.Time
	again := !d.tellAt.IsZero() && !d.tellAt.After(now)
	if again {
		d.tellAt = time.Time{}
	}
	notices := 0
	for _, a := range d.assessed {
		next = sooner(next, a.Next)
		if again {
			d.tellAt = sooner(d.tellAt, d.tell(now, a.Notices))
		}
		notices += len(a.Notices)
	}
	if len(d.told) > 2*notices+enoughTold {
		d.forgetTold()
	}
	return sooner(next, d.tellAt)
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

// nodes are those of some names as they are now; without names, every node.
func (d *Decider) nodes(names []string) (out []renewal.Node) {
	if len(names) == 0 {
		names = d.Picture.Names()
	}
	for _, name := range names {
		if n, ok := d.node(name); ok {
			out = append(out, n)
		}
	}
	return out
}

// tellAgainAfter is how long after it was published what is still so is published again. It
// has the same id: NATS stores it once within the time in which it recognises those.
const tellAgainAfter = 24 * time.Hour

// tell publishes what was not told within a day, and returns when it is to be told again.
func (d *Decider) tell(now time.Time, notices []renewal.Notice) time.Time {
	var next time.Time
	for _, n := range notices {
		at, before := d.told[n.ID()]
		if before && now.Sub(at) < tellAgainAfter {
			next = sooner(next, at.Add(tellAgainAfter))
			continue
		}
		if !before && d.spentUp(n.Node, now) {
			next = sooner(next, d.spentSince.Add(tellAgainAfter))
			continue
		}
		data, reason, text := noticeData(n)
		if _, err := d.Events.Tell(data); err != nil {
			next = sooner(next, now.Add(askAgain))
			continue
		}
		d.told[n.ID()] = now
		if !before {
			d.spent[n.Node]++
		}
		next = sooner(next, now.Add(tellAgainAfter))
		if before {
			continue
		}
		if n.Kind != renewal.AuthorityExpiring || n.Node != "" {
			noteNode(d.Recorder, n.Node, warning, reason, text)
		}
	}
	return next
}

// noticesPerNode is how many events of one node are told within a day: twice what one report
// can hold. Whoever has a node's agent must not be able to fill the stream with
// invented certificates.
const noticesPerNode = 1000

// spentUp says that no more new events of a node are told within this day.
func (d *Decider) spentUp(node string, now time.Time) bool {
	if now.Sub(d.spentSince) >= tellAgainAfter {
		d.spent, d.spentSince = map[string]int{}, now
	}
	if d.spent[node] == noticesPerNode {
		d.spent[node]++ // said once
		d.Log.Warn("a node tells of more certificates than a node can have; no more events of it within this day", "node", node)
	}
	return d.spent[node] >= noticesPerNode
}

// enoughTold is how many ids of what is not so any more are kept before they are forgotten.
const enoughTold = 1000

// forgetTold drops the ids of what is not so any more.
func (d *Decider) forgetTold() {
	left := map[string]time.Time{}
	for _, a := range d.assessed {
		for _, n := range a.Notices {
			if at, ok := d.told[n.ID()]; ok {
				left[n.ID()] = at
			}
		}
	}
	d.told = left
}
