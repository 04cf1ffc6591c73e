package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// API is what has to be asked of the API server.
type API interface {
	// Nodes lists all nodes.
	Nodes(ctx context.Context) ([]kubenode.Node, error)
	// MayRotate returns an error that names every permission that is missing.
	MayRotate(ctx context.Context) error
	// DefaultValidity is the lifetime that the cluster's kubeadm configuration gives
	// to certificates; 0 where there is none.
	DefaultValidity(ctx context.Context) (time.Duration, error)
}

// Rotation is a rotation that is ready to start: [Prepare] returns it, [Rotate] carries it out.
type Rotation struct {
	ID      string           // see plan.NewRotationID; that of the unfinished rotation that it continues
	Request plan.Request     // with the validity filled in
	Scanned []inventory.Node // with the control plane's nodes, also where it is about others
	Partial bool             // there are nodes that are not among them
	// Unscanned are the control-plane nodes that are not among them.
	Unscanned  []gate.Unscanned
	Plan       plan.Plan
	Unfinished *plan.Unfinished // that it continues; nil: it is new
	// Notes are what has to be done elsewhere because of it, for plan and report.
	Notes []string
}

// PrepareOptions tell [Prepare] what is different for its caller.
type PrepareOptions struct {
	Now      time.Time
	Scanning func(nodes int) // called once before nodes are scanned; may be nil
	// Held returns an error where another rotation holds the cluster's lock, so that no
	// node is scanned in vain; nil: the lock is not read.
	Held func(context.Context) error
	// Continue is the id of a rotation that was begun, and is continued whatever its age; empty:
	// one of the same scope is, if it began within [plan.ResumeWithin].
	Continue string
	// Look is the command that shows what is where, for hints.
	Look string
	// LeaveUnavailable lists nodes that were asked for by name and are unavailable or do not exist, as
	// those of a rotation of every node are; without it they are an error.
	LeaveUnavailable bool
}

// Prepare gets a rotation ready. Nothing is changed. The plugin and the watcher begin every
// rotation with it, so that both see and refuse the same:
//
//   - check that the user has every permission, and that no other rotation holds the lock
//   - choose the nodes that were asked for, and those of the control plane, which the gate needs
//   - scan them, each by a read-only pod
//   - take the lifetime from the cluster's kubeadm configuration, unless one was asked for
//   - find an unfinished rotation of the same scope, which is then continued
//   - plan, and refuse what [plan.Request] says is to be refused
//
// Nodes that cannot be scanned are listed in the plan's NotInspected, unless they were asked
// for by name: then they are an error. With RequireAll they are one, too, as is everything
// else that would be left out: [plan.RefusedError]. That no node in scope has the services
// wraps [plan.ErrNothing]; that no node could be scanned wraps [ErrNoNode].
func Prepare(ctx context.Context, api API, scanner Scanner, req plan.Request, o PrepareOptions) (Rotation, error) {
	if err := api.MayRotate(ctx); err != nil {
		return Rotation{}, err
	}
	if o.Held != nil {
		if err := o.Held(ctx); err != nil {
			return Rotation{}, err
		}
	}
	all, err := api.Nodes(ctx)
	if err != nil {
		return Rotation{}, err
	}
	named := req.Nodes
	if req.NodeSelector != "" {
		if req.Nodes, err = Matching(all, req.NodeSelector); err != nil {
			return Rotation{}, err
		}
	}
	asked := req.Nodes
	gone := []plan.NotInspected(nil)
	if o.LeaveUnavailable {
		asked, gone = splitExisting(all, req.Nodes)
	}
	var chosen Selection
	if len(asked) > 0 || len(gone) == 0 {
		if chosen, err = Choose(all, asked, o.Now); err != nil {
			return Rotation{}, err
		}
	}
	chosen.Excluded = append(chosen.Excluded, gone...)
	if o.LeaveUnavailable {
		named = nil
	}
	if err := refuseUnavailable(named, chosen.Excluded); err != nil {
		return Rotation{}, err
	}
	names := chosen.withControlPlane(all, o.Now)
	if o.Scanning != nil {
		o.Scanning(len(names))
	}
	nodes, missing, err := scanAll(ctx, scanner, all, names, o.Now)
	if err != nil {
		return Rotation{}, err
	}
	unscanned := controlPlaneWithout(nodes, all, missing, o.Now)
	if err := refuseUnavailable(named, missing); err != nil {
		return Rotation{}, err
	}
	missing = append(chosen.Excluded, missing...)
	if err := NoneScanned(nodes, missing); err != nil {
		return Rotation{}, err
	}
	if req.Validity == 0 && req.RollbackOf == "" {
		if req.Validity, err = api.DefaultValidity(ctx); err != nil {
			return Rotation{}, err
		}
		req.ValidityFrom = "the cluster's kubeadm configuration has it so (certificateValidityPeriod)"
	}
	r := Rotation{Request: req, Scanned: nodes, Partial: len(nodes) < len(all), Unscanned: unscanned, Unfinished: plan.FindUnfinished(nodes, req.ScopeText(), o.Now, o.Continue)}
	if r.Plan, err = plan.BuildPlan(nodes, req, r.Unfinished); err != nil {
		return Rotation{}, explainNothing(err, req, nodes, missing, o.Look)
	}
	r.Plan.NotInspected = append(r.Plan.NotInspected, markUnconcerned(missing, all, req)...)
	if err := r.Plan.RefuseIncomplete(req); err != nil {
		return Rotation{}, err
	}
	r.Notes = clusterAPINotes(all, r.Plan)
	if r.ID = plan.NewRotationID(); r.Unfinished != nil {
		r.ID = r.Unfinished.ID
	}
	return r, nil
}

// startTime is when the rotation began: in the past, where it continues one.
func (r Rotation) startTime(now time.Time) time.Time {
	if r.Unfinished != nil {
		return r.Unfinished.StartTime
	}
	return now
}

// explainNothing says where the services are, when no node in scope has them.
func explainNothing(err error, req plan.Request, nodes []inventory.Node, missing []plan.NotInspected, look string) error {
	if !errors.Is(err, plan.ErrNothing) {
		return err
	}
	var hint []string
	for _, s := range req.Services {
		if on := runningOn(nodes, s); len(on) > 0 {
			hint = append(hint, fmt.Sprintf("%s runs on %s", s, printers.SomeNames(on)))
		}
	}
	const reasons = 3 // more say the same
	for i, x := range missing {
		if i == reasons {
			hint = append(hint, fmt.Sprintf("not inspected: %d more", len(missing)-reasons))
			break
		}
		hint = append(hint, fmt.Sprintf("not inspected: %s: %s", x.Node, x.Reason))
	}
	hint = append(hint, "see what is where: "+look)
	return fmt.Errorf("%w\n%s", err, strings.Join(hint, "\n"))
}

func runningOn(nodes []inventory.Node, s certs.Service) []string {
	var out []string
	for i := range nodes {
		if nodes[i].ComponentOf(s) != nil {
			out = append(out, nodes[i].Name)
		}
	}
	return out
}
