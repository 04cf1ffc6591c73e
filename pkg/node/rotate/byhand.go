package rotate

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var (
	// ErrAsBefore means that a rotation by hand failed and the node is as it was.
	ErrAsBefore = errors.New("the node is as it was before")
	// ErrRolledBack means that certificates had been replaced and that the old ones were
	// restored and verified. It wraps [ErrAsBefore].
	ErrRolledBack = fmt.Errorf("rolled back, %w", ErrAsBefore)
	// ErrNotVerified means that the certificates in place could not be verified yet: new ones
	// that were kept since the old ones have expired, or those that another program has
	// written.
	ErrNotVerified = errors.New("the certificates in place are not verified yet")
	// ErrManualInterventionRequired means that neither the old nor the new certificates could
	// be verified.
	ErrManualInterventionRequired = errors.New("manual intervention required on this node")
	// ErrLeftOut means that a rotation by hand is done, and that certificates in scope were
	// left out because they cannot be renewed on the node.
	ErrLeftOut = errors.New("done, but certificates in scope were left out")
)

// RotateByHand rotates only this node, at the request of an operator on it: plan, stage,
// commit, with the same journal and the same rollback. It takes no lock over other nodes and
// passes no gate: the operator is responsible for the health of the cluster. Nothing to do is
// an error, [plan.ErrNothing] or a [plan.RefusedError]. A failure wraps [ErrAsBefore] or
// [ErrManualInterventionRequired]. [ErrLeftOut] means that it is done, except for certificates
// that cannot be renewed.
func (e *Engine) RotateByHand(ctx context.Context, req plan.Request) error {
	s, release, err := e.openSession(ctx, plan.NewRotationID())
	if err != nil {
		return err
	}
	defer release()
	node, err := e.Scan(ctx)
	if err != nil {
		return err
	}
	step, left, err := planStep(node, req)
	if err != nil {
		return err
	}
	if e.LeftOut != nil && len(left) > 0 {
		e.LeftOut(left)
	}
	fence, err := s.dir.ReadFence()
	if err != nil {
		return err
	}
	order := nodeapi.Order{
		Rotation: s.rotation.ID, Token: max(fence.Token, node.Token) + 1, Scope: req.ScopeText(), StartTime: e.now().UTC(),
		Restart: req.Restart, ValiditySeconds: int64(req.Validity.Seconds()),
		TimeoutSeconds: int64(e.Timeout.Seconds()),
	}
	stage := order
	stage.Kind = nodeapi.OrderStage
	stage.Step = step
	commit := order
	commit.Kind = nodeapi.OrderCommit
	for _, o := range []nodeapi.Order{stage, commit} {
		answer, err := s.carryOut(ctx, o)
		if err != nil {
			return err
		}
		if answer.Kind == nodeapi.Abandoned {
			return asError(answer) // the process was asked to end before anything was changed
		}
		if err := asError(answer); err != nil {
			return errors.Join(err, s.abandonStaged("it failed"))
		}
	}
	order.Kind = nodeapi.OrderFinish
	// All is done and verified. That is recorded even if the process is asked to end.
	if _, err = s.carryOut(context.WithoutCancel(ctx), order); err == nil && len(left) > 0 {
		return ErrLeftOut
	}
	return err
}

// planStep plans this node only.
func planStep(node inventory.Node, req plan.Request) (*plan.Step, []plan.LeftOut, error) {
	p, err := plan.BuildPlan([]inventory.Node{node}, req, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, step := range p.AllSteps() {
		if !step.IsIdle() {
			return &step, p.LeftOut, nil
		}
	}
	return nil, nil, plan.ErrNothing
}

// carryOut puts an order into this node's own inbox, carries it out like any other, and returns
// its answer.
func (s *session) carryOut(ctx context.Context, o nodeapi.Order) (nodeapi.Record, error) {
	number, err := s.rotation.PutOrder(o)
	if err != nil {
		return nodeapi.Record{}, err
	}
	if _, err := s.handleOrder(ctx, statedir.Order{Number: number, Order: o}); err != nil {
		return nodeapi.Record{}, err
	}
	records, err := s.rotation.ReadRecords()
	if err != nil {
		return nodeapi.Record{}, err
	}
	return records[len(records)-1], nil
}

func asError(answer nodeapi.Record) error {
	kind := ErrAsBefore
	switch {
	case answer.Unverified:
		kind = ErrNotVerified
	case answer.Kind == nodeapi.Staged, answer.Kind == nodeapi.Committed, answer.Kind == nodeapi.Finished:
		return nil
	case answer.Kind == nodeapi.Unknown:
		kind = ErrManualInterventionRequired
	case answer.Kind == nodeapi.RolledBack:
		kind = ErrRolledBack
	}
	return hint.AddTo(fmt.Errorf("%w: %s", kind, answer.Message), "%s", answer.Hint)
}
