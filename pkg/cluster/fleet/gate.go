package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// awaitGate picks the next node from among, and waits up to the given time until it may be
// touched. With among empty, it judges the cluster as it is. Findings for which forced returns
// true do not count.
func (r *run) awaitGate(ctx context.Context, among []string, within time.Duration, forced func(gate.Finding) bool) (next string, err error) {
	return r.awaitGateBy(ctx, among, within, forced, r.judgeCluster)
}

// judgeCluster returns the reasons not to touch the next node, or any: all checks of package gate
// but that of the clocks. Every control-plane node of the cluster counts, also those that the
// rotation does not change.
func (r *run) judgeCluster(healths []inventory.Health, next string) []gate.Finding {
	if r.Request.Recover {
		gone := slices.DeleteFunc(gate.AbsentMembers(r.Scanned, healths), func(m inventory.Member) bool { return m.Healthy })
		r.noteAbsent(gone)
	}
	found := append(gate.CheckHealth(healths, next), gate.CheckCoverage(r.Scanned, r.Unscanned, healths)...)
	return append(found, r.missingMembers(healths)...)
}

// missingMembers returns the etcd members that run on no scanned node. Where the API server can
// be asked, the lock protects these, and there are none.
func (r *run) missingMembers(healths []inventory.Health) []gate.Finding {
	if !r.WithoutAPI {
		return nil
	}
	return gate.CheckMembers(r.Scanned, healths)
}

// awaitGateBy is awaitGate with a judgement of its own.
func (r *run) awaitGateBy(ctx context.Context, among []string, within time.Duration, forced func(gate.Finding) bool,
	judge func(healths []inventory.Health, next string) []gate.Finding) (next string, err error) {
	deadline := time.Now().Add(within)
	for first := true; ; first = false {
		// By the wall clock: the other one stands still while a laptop sleeps.
		asked := r.Now().Round(0)
		healths := r.health
		// Answers of the last second are used again, if no node was touched since: the check
		// after one node is also the check before the next.
		if age := asked.Sub(r.asked); !first || age < 0 || age > time.Second {
			healths = r.askHealth(ctx)
			r.health = healths
			r.asked = asked
		}
		if len(among) > 0 {
			next = gate.NextNode(among, healths)
		}
		r.warnOnce(gate.HealthWarnings(healths))
		found := judge(healths, next)
		// Overridden findings are not waited for. They are reported once nothing else is wrong.
		open := slices.DeleteFunc(slices.Clone(found), forced)
		if len(open) == 0 {
			for _, f := range found {
				r.overrideFinding(f)
			}
			return next, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			texts := make([]string, 0, len(open))
			for _, f := range open {
				texts = append(texts, f.Text)
			}
			return next, errors.New(strings.Join(texts, "; "))
		}
		r.showProgress(Progress{Node: next, Phase: PhaseWaiting, Text: open[0].Text})
		_ = wait.SleepFor(ctx, wait.ConnectEvery) // see above
	}
}

// overriddenAtStart is the gate before the start: with Force, whatever it finds is overridden.
func (r *run) overriddenAtStart(gate.Finding) bool { return r.Force }

// overriddenSinceStart is the gate from then on. Only what was wrong before this rotation
// touched anything stays overridden, and that a member which was down already costs
// the quorum: damage that comes up on the way may be ours, and stops it. A recovery, whose etcd may not
// answer at the start, does not wait for members that run on none of its hosts and do not answer.
func (r *run) overriddenSinceStart(f gate.Finding) bool {
	return r.Force && (f.AboutNext() || r.isOverridden(f) || slices.ContainsFunc(r.absentMembers(), f.AboutMember))
}

func (r *run) noteAbsent(members []inventory.Member) {
	r.Lock()
	defer r.Unlock()
	r.absent = members
}

func (r *run) absentMembers() []inventory.Member {
	r.Lock()
	defer r.Unlock()
	return r.absent
}

func (r *run) isOverridden(f gate.Finding) bool {
	r.Lock()
	defer r.Unlock()
	return slices.ContainsFunc(r.overridden, func(o gate.Finding) bool { return o.Key == f.Key })
}

// overrideFinding reports, once, a finding that --force overrides.
func (r *run) overrideFinding(f gate.Finding) {
	if r.isOverridden(f) {
		return
	}
	r.Lock()
	r.overridden = append(r.overridden, f)
	r.Unlock()
	r.showProgress(Progress{Phase: PhaseForced, Done: true, Text: "overridden by --force: " + f.Text})
}

// warnOnce reports each warning once.
func (r *run) warnOnce(texts []string) {
	for _, text := range texts {
		r.Lock()
		known := slices.Contains(r.notes, text)
		r.Unlock()
		if !known {
			r.addNote("%s", text)
			r.showProgress(Progress{Phase: PhaseWaiting, Done: true, Text: "warning: " + text})
		}
	}
}

// compareClocks refuses a rotation of nodes whose clocks differ too much.
func (r *run) compareClocks() error {
	for _, f := range gate.CheckClocks(r.Scanned) {
		if !r.Force {
			return r.refusedByGate("the clocks of the nodes are too far apart to start; nothing was changed", errors.New(f.Text))
		}
		r.overrideFinding(f)
	}
	return nil
}

// refusedByGate is the error of a rotation that the gate has refused.
func (r *run) refusedByGate(what string, why error) error {
	err := r.stoppedError(what, why)
	var stop *StopError
	if errors.As(err, &stop) && !r.Force {
		stop.Next += "\n  or, knowing what it risks, add --force: it overrides these findings and nothing else"
		for _, m := range r.absentMembers() {
			stop.Next += fmt.Sprintf("\n  etcd member %q does not answer: if it runs on another machine, name that with --host, too; if its machine was removed, once etcd answers: etcdctl member remove %x", m.Name, m.ID)
		}
	}
	return err
}
