package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// answered maps how a node's journal says that a rotation stands to the answer that a
// commit would have had.
var answered = map[inventory.RotationState]nodeapi.Kind{
	inventory.Committed: nodeapi.Committed, inventory.Finished: nodeapi.Committed,
	inventory.RolledBack: nodeapi.RolledBack, inventory.Unknown: nodeapi.Unknown,
	inventory.Staged: nodeapi.Refused, inventory.Staging: nodeapi.Refused, inventory.Failed: nodeapi.Refused,
}

// scanAgain scans one node again: a pod starts, reads the node and ends.
func (r *run) scanAgain(ctx context.Context, node string) (inventory.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	found, missing, err := r.cluster.Scanner.Scan(ctx, []string{node})
	if err != nil {
		return inventory.Node{}, err
	}
	at := slices.IndexFunc(found, func(n inventory.Node) bool { return n.Name == node })
	switch {
	case at >= 0:
		return found[at], nil
	case len(missing) > 0:
		return inventory.Node{}, errors.New(missing[0].Reason)
	default:
		return inventory.Node{}, errors.New("it is not among the scanned nodes")
	}
}

// readOutcome reads a node's journal by another way, once its process has ended or says
// nothing any more: often the node has finished and only the record was not received. The
// error is the one at hand, and what keeps the journal from telling more.
func (r *run) readOutcome(ctx context.Context, w *worker, lost error) (nodeapi.Record, error) {
	node := w.step.Node
	r.showProgress(Progress{Node: node, Phase: PhaseWorking, Done: true, Text: "it is not known how its part ended; reading its journal"})
	found, err := r.scanAgain(ctx, node)
	if err != nil {
		return nodeapi.Record{}, errors.Join(lost, fmt.Errorf("and it could not be scanned again: %w", err))
	}
	past := slices.IndexFunc(found.Rotations, func(p inventory.NodeRotation) bool { return p.ID == r.ID })
	if past < 0 {
		return nodeapi.Record{}, errors.Join(lost, errors.New("and its journal does not know this rotation"))
	}
	standing := found.Rotations[past]
	kind, known := answered[standing.State]
	if !known || standing.Token != w.token {
		return nodeapi.Record{}, errors.Join(lost, fmt.Errorf("and its journal says: %s", standing.State))
	}
	answer := nodeapi.Record{Node: node, Rotation: r.ID, Token: standing.Token, Time: standing.LastTime, Kind: kind,
		Message: "read afterwards, from its journal", Renewals: standing.Renewed, Unverified: standing.Unverified}
	if kind == nodeapi.Refused {
		answer.Message = "the order to commit did not reach it: " + lost.Error()
		answer.Hint = "run the same command again"
	}
	w.records = append(w.records, answer)
	return answer, nil
}

// stateUnknown is the error of a node of which nothing more can be learned from here.
func (r *run) stateUnknown(node string, err error) error {
	stop := r.nodeFailed(node, v1alpha1.Failed, node+": it is not known how its part ended", hint.TextOf(err),
		"run the same command again: it scans the node, undoes what is half done, and continues")
	var stopError *StopError
	if errors.As(stop, &stopError) {
		// The order may have reached the node, whatever was received from it.
		stopError.kind = ErrManualInterventionRequired
		stopError.State[0] = node + ": state unknown: it may have its old or its new certificates"
	}
	return stop
}

// reportLostContact reports that a node is not reachable, and for how long it is waited for.
func (r *run) reportLostContact(w *worker) func(error, time.Duration) {
	return func(why error, atMost time.Duration) {
		r.showProgress(Progress{Node: w.step.Node, Phase: PhaseWorking, Done: true, Text: fmt.Sprintf(
			"not reachable (%v); its process continues, waiting up to %s to read its records", why, atMost.Round(time.Second))})
	}
}
