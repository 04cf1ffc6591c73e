package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// run is one rotation in progress.
type run struct {
	Options
	cluster   Cluster
	lock      Lock
	startTime time.Time
	scope     string             // of the request; every order carries it
	workers   map[string]*worker // by node, those whose process still runs
	open      map[string]*worker // by node, the same and those that were opened before their turn
	seen      map[string]*worker // by node, all that were ever opened
	early     earlyStaging
	signers   signers
	outcomes  map[string]outcome // by node, those begun
	restarts  map[string]map[string]Restart
	notes     []string
	changed   bool // a node, by this rotation
	// overridden are the findings that --force overrides.
	overridden []gate.Finding
	// absent are, in a recovery, the members of etcd that run on none of its hosts and do not answer.
	absent []inventory.Member
	// health is what the last gate saw, and asked when it asked; zero: since then a node
	// of the control plane was touched.
	health []inventory.Health
	asked  time.Time
	sync.Mutex
}

// outcome is how a node's part ended.
type outcome struct {
	result  v1alpha1.Result
	message string
}

func newRun(c Cluster, o Options) *run {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Timeout = cmp.Or(o.Timeout, nodeapi.ComponentTimeout)
	return &run{Options: o, cluster: c, startTime: o.startTime(o.Now()), scope: o.Request.ScopeText(),
		workers: map[string]*worker{}, open: map[string]*worker{}, seen: map[string]*worker{}, early: earlyStaging{workers: map[string]*worker{}}, signers: signers{byNode: map[string]*worker{}}, outcomes: map[string]outcome{}}
}

// rotate is the flow of a rotation. Nothing visible changes before every control-plane
// node is staged. controlPlane is the part of the control plane's nodes.
func (r *run) rotate(ctx context.Context, controlPlane func(context.Context) error) (*v1alpha1.RotationReport, error) {
	err := r.whileLocked(ctx, func() error {
		if err := r.removeOrphans(ctx); err != nil {
			return err
		}
		r.setLifetimes()
		busy := r.busySteps()
		if len(busy) == 0 {
			return r.finishRotation(ctx)
		}
		if err := r.compareClocks(); err != nil {
			return err
		}
		if err := r.cluster.Nodes.DryRun(ctx, r.ID, slices.Concat(busy, signingSteps(busy))); err != nil {
			return r.stoppedError("the API server refuses the node pods; nothing was changed", err)
		}
		r.restarts = r.observeRestarts(ctx, busy)
		if err := controlPlane(ctx); err != nil {
			return err
		}
		if err := r.rotateWorkers(ctx); err != nil {
			return err
		}
		return r.finishRotation(ctx)
	})
	err = r.asInterruption(ctx, err)
	var stop *StopError
	if errors.As(err, &stop) {
		stop.Changed = r.changed
	}
	return r.reportOf(context.WithoutCancel(ctx), err), err
}

// asInterruption is the error of a rotation whose ctx has ended: what it was asking then (for the lock,
// for the cluster's health) failed because of that, and it is interrupted. A node that failed or
// was undone is another matter: nodes are worked on to their end whatever becomes of ctx.
func (r *run) asInterruption(ctx context.Context, err error) error {
	stop := interruption(ctx)
	if stop == nil || err == nil || errors.Is(err, ErrInterrupted) || r.anyResult(v1alpha1.Failed, v1alpha1.RolledBack) {
		return err
	}
	return r.interruptedError(stop)
}

// anyResult says whether a node's part ended with one of these results.
func (r *run) anyResult(results ...v1alpha1.Result) bool {
	r.Lock()
	defer r.Unlock()
	for _, o := range r.outcomes {
		if slices.Contains(results, o.result) {
			return true
		}
	}
	return false
}

// whileLocked runs f while it holds the cluster's lock, and leaves no pod behind.
func (r *run) whileLocked(ctx context.Context, f func() error) error {
	lock, err := r.cluster.Locker.Acquire(ctx, r.ID, plan.HighestToken(r.Scanned))
	if err != nil {
		return err
	}
	r.lock = lock
	stopTelling := r.keepAlive(ctx)
	defer func() {
		stopTelling()
		// Also after an interrupt: a lock or a privileged pod must not outlive us.
		background := context.WithoutCancel(ctx)
		r.dropEarly()
		r.holdSigners()
		r.releaseWorkers(background, noNode)()
		r.showProgress(Progress{Phase: PhaseEnding, Text: "ending the nodes' processes"})
		closing, closed := context.WithTimeout(background, r.closePatience())
		defer closed()
		if _, closeErr := r.cluster.Nodes.Close(closing, r.ID); closeErr != nil {
			r.addNote("the nodes' processes of this rotation may not have ended (%v); the next rotation ends them", closeErr)
		}
		// A lock that is not released expires.
		releasing, released := context.WithTimeout(background, 10*time.Second)
		defer released()
		if releaseErr := lock.Release(releasing); releaseErr != nil {
			r.addNote("the lock could not be released (%v); it expires within a minute", releaseErr)
		}
	}()
	return f()
}

// closePatience is how long the node pods may take to go: longer than it takes a kubelet
// that reports; shorter where a node has failed, for its kubelet may have no API server
// to report to, and there is something to tell.
func (r *run) closePatience() time.Duration {
	if r.anyResult(v1alpha1.Failed) {
		return 10 * time.Second
	}
	return time.Minute
}

// removeOrphans ends the pods that a killed run left behind. They finish or undo what
// they were at, so the nodes are scanned again and the plan is made anew.
func (r *run) removeOrphans(ctx context.Context) error {
	n, err := r.cluster.Nodes.Close(ctx, "")
	if err != nil {
		return r.stoppedError("processes of an earlier run could not be ended; nothing was changed", err)
	}
	if n == 0 {
		return nil
	}
	r.showProgress(Progress{Phase: PhaseStarting, Done: true, Text: fmt.Sprintf("ended %d processes of an earlier run, scanning the nodes again", n)})
	names := make([]string, 0, len(r.Scanned))
	for _, s := range r.Scanned {
		names = append(names, s.Name)
	}
	scanned, missing, err := r.cluster.Scanner.Scan(ctx, names)
	if err != nil {
		return r.stoppedError("the nodes could not be scanned again; nothing was changed", err)
	}
	if len(missing) > 0 {
		return r.stoppedError(fmt.Sprintf("node %q could not be scanned again; nothing was changed", missing[0].Node), fmt.Errorf("%s", missing[0].Reason))
	}
	r.keepKnown(scanned)
	unfinished := r.Unfinished
	if found := plan.FindUnfinished(scanned, r.Request.ScopeText(), r.Now(), r.ID); found != nil {
		unfinished = found
	}
	p, err := plan.BuildPlan(scanned, r.Request, unfinished)
	if err != nil {
		return r.stoppedError("the plan could not be made anew; nothing was changed", err)
	}
	if r.OnlyPlanned && !p.RenewsSame(r.Plan) {
		return r.stoppedByChange("the nodes have changed since the plan; nothing was changed", "an earlier run had left processes on nodes, which have ended now")
	}
	for _, x := range r.Plan.NotInspected { // nodes that could not be scanned before either
		if x.Service == "" && x.Path == "" && !slices.Contains(names, x.Node) {
			p.NotInspected = append(p.NotInspected, x)
		}
	}
	r.Scanned = scanned
	r.Plan = p
	r.Unfinished = unfinished
	return nil
}

// keepKnown gives inventories of another scan what the API says of their nodes.
func (r *run) keepKnown(again []inventory.Node) {
	for i := range again {
		if before := r.inventoryOf(again[i].Name); before != nil {
			again[i].Known = before.Known
		}
	}
}

// busySteps returns the steps that have something to do.
func (r *run) busySteps() []plan.Step {
	var out []plan.Step
	for _, s := range r.Plan.AllSteps() {
		if !s.IsIdle() {
			out = append(out, s)
		}
	}
	return out
}

// planSteps returns the plan's steps. The plan may be made anew for a node while others are
// being opened, see planAgain.
func (r *run) planSteps() []plan.Step {
	r.Lock()
	defer r.Unlock()
	return r.Plan.AllSteps()
}

func (r *run) inventoryOf(node string) *inventory.Node {
	for i := range r.Scanned {
		if r.Scanned[i].Name == node {
			return &r.Scanned[i]
		}
	}
	return nil
}

func (r *run) showProgress(p Progress) {
	r.Lock()
	defer r.Unlock()
	if r.Progress != nil {
		r.Progress(p)
	}
}

func (r *run) addNote(format string, args ...any) {
	r.Lock()
	defer r.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *run) recordOutcome(node string, result v1alpha1.Result, message string) {
	r.Lock()
	defer r.Unlock()
	r.outcomes[node] = outcome{result: result, message: message}
	r.changed = r.changed || result == v1alpha1.Succeeded || result == v1alpha1.RolledBack
}
