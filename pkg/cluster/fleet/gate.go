package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// fresh is for how long what the nodes said of the cluster's health stands, as long as
// nothing was touched since: the look that ends a node's turn begins the next one's.
const fresh = time.Second

// gate waits up to the given time for a cluster that may be touched, also without the
// node that it picks among some to be taken next; with none it judges the cluster as
// it is. What forced returns true for does not count.
func (r *run) gate(ctx context.Context, among []string, within time.Duration, forced func(gate.Finding) bool) (next string, err error) {
	return r.gateBy(ctx, among, within, forced, r.judge)
}

// judge is what speaks against touching the next node, or any: every control-plane node
// of the cluster counts, also those that the rotation does not change.
func (r *run) judge(healths []inventory.Health, next string) []gate.Finding {
	return append(gate.Gate(healths, next), gate.Coverage(r.Scanned, r.Unscanned, healths)...)
}

// gateBy is gate with a judgement of its own.
func (r *run) gateBy(ctx context.Context, among []string, within time.Duration, forced func(gate.Finding) bool,
	judge func(healths []inventory.Health, next string) []gate.Finding) (next string, err error) {
	deadline := time.Now().Add(within)
	for first := true; ; first = false {
		// By the wall clock: the other one stands still while a laptop sleeps.
		asked := r.Now().Round(0)
		healths := r.health
		if age := asked.Sub(r.asked); !first || age < 0 || age > fresh {
			healths = r.healths(ctx)
			r.health, r.asked = healths, asked
		}
		if len(among) > 0 {
			next = gate.Next(among, healths)
		}
		r.warn(gate.Warnings(healths))
		found := judge(healths, next)
		// What is overridden is not waited for, and told only once nothing else is wrong.
		open := slices.DeleteFunc(slices.Clone(found), forced)
		if len(open) == 0 {
			for _, f := range found {
				r.override(f)
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
		r.say(Progress{Node: next, Phase: PhaseWaiting, Text: open[0].Text})
		select {
		case <-ctx.Done():
		case <-time.After(reconnectEvery):
		}
	}
}

// forced is the gate before the start: with Force, whatever it finds is overridden.
func (r *run) forced(gate.Finding) bool { return r.Force }

// forcedSince is the gate from then on. Only what was wrong before this rotation
// touched anything stays overridden, and that a member which was down already costs
// the quorum: damage that comes up on the way may be ours, and stops it.
func (r *run) forcedSince(f gate.Finding) bool {
	return r.Force && (f.AboutNext() || r.known(f))
}

func (r *run) known(f gate.Finding) bool {
	r.Lock()
	defer r.Unlock()
	return slices.ContainsFunc(r.overridden, func(o gate.Finding) bool { return o.Key == f.Key })
}

// override says, once, what --force goes on in spite of.
func (r *run) override(f gate.Finding) {
	if r.known(f) {
		return
	}
	r.Lock()
	r.overridden = append(r.overridden, f)
	r.Unlock()
	r.say(Progress{Phase: PhaseForced, Done: true, Text: "overridden by --force: " + f.Text})
}

// warn says what will stop a rotation before long, once each.
func (r *run) warn(texts []string) {
	for _, text := range texts {
		r.Lock()
		told := slices.Contains(r.notes, text)
		r.Unlock()
		if !told {
			r.note("%s", text)
			r.say(Progress{Phase: PhaseWaiting, Done: true, Text: "warning: " + text})
		}
	}
}

// clocks refuses a rotation of nodes whose clocks differ too much.
func (r *run) clocks() error {
	for _, f := range gate.Clocks(r.Scanned) {
		if !r.Force {
			return r.refused("the clocks of the nodes are too far apart to start; nothing was changed", errors.New(f.Text))
		}
		r.override(f)
	}
	return nil
}

// refused is the gate's no.
func (r *run) refused(what string, why error) error {
	err := r.stopped(what, why)
	var stop *StopError
	if errors.As(err, &stop) && !r.Force {
		stop.Next += "\n  or, knowing what it risks, add --force: it overrides these findings and nothing else"
	}
	return err
}
