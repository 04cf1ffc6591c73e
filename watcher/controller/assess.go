package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// assessNodes assesses the nodes that have changed or whose time has come, and all of them
// under a new policy. It returns when time alone changes an assessment.
func (d *Decider) assessNodes(now time.Time) time.Time {
	changed, renewed := d.Picture.TakeChanges()
	for _, r := range renewed {
		if !d.atEventLimit(r.Node, now) {
			_, _ = d.Events.Publish(r) // no state remains from which to publish it again
			d.newEvents[r.Node]++
		}
	}
	if p := d.policy.Load(); p != d.assessedBy {
		d.assessedBy = p
		d.assessed = map[string]renewal.Assessment{}
		for _, name := range d.Picture.NodeNames() {
			changed[name] = d.Picture.LookupNode(name)
		}
	}
	for name, a := range d.assessed {
		if _, anyway := changed[name]; !anyway && !a.Next.IsZero() && !a.Next.After(now) {
			changed[name] = d.Picture.LookupNode(name)
		}
	}
	for name, n := range changed {
		delete(d.assessed, name)
		if n == nil {
			continue
		}
		a := renewal.Assess(now, d.assessedBy, n)
		d.assessed[name] = a
		d.publishAt = renewal.EarlierOf(d.publishAt, d.publishNotices(now, a.Notices))
	}
	var next time.Time
	republish := !d.publishAt.IsZero() && !d.publishAt.After(now)
	if republish {
		d.publishAt = time.Time{}
	}
	notices := 0
	for _, a := range d.assessed {
		next = renewal.EarlierOf(next, a.Next)
		if republish {
			d.publishAt = renewal.EarlierOf(d.publishAt, d.publishNotices(now, a.Notices))
		}
		notices += len(a.Notices)
	}
	if len(d.published) > 2*notices+maxStalePublished {
		d.forgetPublished()
	}
	return renewal.EarlierOf(next, d.publishAt)
}

func (d *Decider) dueAssessments() []renewal.Assessment {
	var out []renewal.Assessment
	for _, a := range d.assessed {
		if len(a.Items)+len(a.LeftOut) > 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b renewal.Assessment) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func (d *Decider) lookupNode(name string) (renewal.Node, bool) {
	n := d.Picture.LookupNode(name)
	if n == nil {
		return renewal.Node{}, false
	}
	return *n, true
}

// lookupNodes returns the nodes of the given names; without names, every node.
func (d *Decider) lookupNodes(names []string) (out []renewal.Node) {
	if len(names) == 0 {
		names = d.Picture.NodeNames()
	}
	for _, name := range names {
		if n, ok := d.lookupNode(name); ok {
			out = append(out, n)
		}
	}
	return out
}

// publishNotices publishes the notices that were not published within a day, and returns when
// to publish again. A notice that still holds has the same id after a day, and NATS stores it once
// within its deduplication window.
func (d *Decider) publishNotices(now time.Time, notices []renewal.Notice) time.Time {
	var next time.Time
	for _, n := range notices {
		at, before := d.published[n.ID()]
		if before && now.Sub(at) < certs.Day {
			next = renewal.EarlierOf(next, at.Add(certs.Day))
			continue
		}
		if !before && d.atEventLimit(n.Node, now) {
			next = renewal.EarlierOf(next, d.countedSince.Add(certs.Day))
			continue
		}
		data, reason, text := noticeData(n)
		if _, err := d.Events.Publish(data); err != nil {
			next = renewal.EarlierOf(next, now.Add(requestInterval))
			continue
		}
		d.published[n.ID()] = now
		if !before {
			d.newEvents[n.Node]++
		}
		next = renewal.EarlierOf(next, now.Add(certs.Day))
		if before {
			continue
		}
		if n.Kind != renewal.AuthorityExpiring || n.Node != "" {
			recordNodeEvent(d.Recorder, n.Node, warning, reason, text)
		}
	}
	return next
}

// noticesPerNode is how many events of one node are published within a day: twice what one
// report can hold. A compromised agent must not fill the stream with invented certificates.
const noticesPerNode = 1000

// atEventLimit is true if no more new events of a node are published within this day.
func (d *Decider) atEventLimit(node string, now time.Time) bool {
	if now.Sub(d.countedSince) >= certs.Day {
		d.newEvents = map[string]int{}
		d.countedSince = now
	}
	if d.newEvents[node] == noticesPerNode {
		d.newEvents[node]++ // logged once
		d.Log.Warn("a node reports more certificates than a node can have; no more events of it are published today", "node", node)
	}
	return d.newEvents[node] >= noticesPerNode
}

// maxStalePublished is how many ids of outdated notices are kept before they are dropped.
const maxStalePublished = 1000

// forgetPublished drops the ids of outdated notices.
func (d *Decider) forgetPublished() {
	left := map[string]time.Time{}
	for _, a := range d.assessed {
		for _, n := range a.Notices {
			if at, ok := d.published[n.ID()]; ok {
				left[n.ID()] = at
			}
		}
	}
	d.published = left
}
