package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// lookTimeout bounds a look at a node of which it is not known how its part ended: that
// is a pod which starts, reads the journal and ends.
const lookTimeout = time.Minute

// answered maps how a node's journal says that a rotation stands to the answer that a
// commit would have had.
var answered = map[inventory.RotationState]nodeapi.Kind{
	inventory.Committed: nodeapi.Committed, inventory.Finished: nodeapi.Committed,
	inventory.RolledBack: nodeapi.RolledBack, inventory.Unknown: nodeapi.Unknown,
	inventory.Staged: nodeapi.Refused, inventory.Staging: nodeapi.Refused, inventory.Failed: nodeapi.Refused,
}

// lookAgain reads a node's journal by another way, once its process is gone or says
// nothing any more: often the node has come to an end that only was not heard of. The
// error is the one at hand, and what keeps the journal from telling more.
func (r *run) lookAgain(ctx context.Context, w *worker, lost error) (nodeapi.Record, error) {
	node := w.step.Node
	r.say(Progress{Node: node, Phase: PhaseWorking, Done: true, Text: "it is not known how its part ended; looking at its journal"})
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, missing, err := r.cluster.Scanner.Scan(looking, []string{node})
	at := slices.IndexFunc(found, func(n inventory.Node) bool { return n.Name == node })
	switch {
	case err != nil:
		return nodeapi.Record{}, errors.Join(lost, fmt.Errorf("and it could not be looked at again: %w", err))
	case at < 0 && len(missing) > 0:
		return nodeapi.Record{}, errors.Join(lost, fmt.Errorf("and it could not be looked at again: %s", missing[0].Reason))
	case at < 0:
		return nodeapi.Record{}, lost
	}
	past := slices.IndexFunc(found[at].Rotations, func(p inventory.NodeRotation) bool { return p.ID == r.ID })
	if past < 0 {
		return nodeapi.Record{}, errors.Join(lost, errors.New("and its journal does not know this rotation"))
	}
	standing := found[at].Rotations[past]
	kind, known := answered[standing.State]
	if !known || standing.Token != w.token {
		return nodeapi.Record{}, errors.Join(lost, fmt.Errorf("and its journal says: %s", standing.State))
	}
	answer := nodeapi.Record{Node: node, Rotation: r.ID, Token: standing.Token, Time: standing.LastTime, Kind: kind,
		Message: "it was heard of only afterwards, from its journal", Renewals: standing.Renewed, Unverified: standing.Unverified}
	if kind == nodeapi.Refused {
		answer.Message, answer.Hint = "the order to commit did not reach it: "+lost.Error(), "run the same command again"
	}
	w.records = append(w.records, answer)
	return answer, nil
}

// inDoubt is the error of a node of which nothing more can be learned from here.
func (r *run) inDoubt(node string, err error) error {
	stop := r.failed(node, v1alpha1.Failed, node+": it is not known how its part ended", err.Error(),
		"run the same command again: it looks at the node, undoes what is half done, and continues")
	var told *StopError
	if errors.As(stop, &told) {
		// Whatever was or was not heard, the order may have reached it.
		told.kind = ErrManualInterventionRequired
		told.State[0] = node + " is in doubt: it is neither verified to be old nor to be new"
	}
	return stop
}

// lostSight tells that a node is out of reach, and for how long it is waited for.
func (r *run) lostSight(w *worker) func(error, time.Duration) {
	return func(why error, atMost time.Duration) {
		r.say(Progress{Node: w.step.Node, Phase: PhaseWorking, Done: true, Text: fmt.Sprintf(
			"out of reach (%v); its process goes on by itself, waiting up to %s for word of it", why, atMost.Round(time.Second))})
	}
}
