package ssh

import (
	"context"
	"errors"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Journals returns the journals of one rotation from the named nodes. A node that could not be read
// is an exclusion with the reason; one that had no part in it has no records.
func (h *Hosts) Journals(ctx context.Context, nodes []string, rotation string) ([]nodeapi.Journal, []plan.NotInspected, error) {
	journals := make([]nodeapi.Journal, len(nodes))
	failures := make([]error, len(nodes))
	_ = eachOf(nodes, func(i int, node string) error { // see failures
		failures[i] = h.readJournal(ctx, node, rotation, &journals[i])
		return nil
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	var found []nodeapi.Journal
	var missing []plan.NotInspected
	for i, node := range nodes {
		if failures[i] != nil {
			missing = append(missing, plan.NotInspected{Node: node, Reason: failures[i].Error()})
			continue
		}
		found = append(found, journals[i])
	}
	return found, missing, nil
}

func (h *Hosts) readJournal(ctx context.Context, node, rotation string, into *nodeapi.Journal) error {
	host := h.hostOf(node)
	if host == nil {
		return errors.New("it is not among the hosts")
	}
	if err := host.call(ctx, into, nodeapi.CommandJournal, "--node-name="+node, "--rotation="+rotation); err != nil {
		return err
	}
	return into.CheckOrigin(node, rotation)
}
