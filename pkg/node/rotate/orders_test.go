package rotate

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi/ordertest"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// runningNode is an engine that runs on a fake node.
type runningNode struct {
	*fakeNode
	records *records
	planned *plan.Step
	key     []byte // of etcd's CA
	ended   chan error
}

func startNode(t *testing.T) ordertest.Node {
	n := newFakeNode(t)
	e, r := n.newEngine()
	key, err := os.ReadFile(n.tree.Local(certstest.PKIDir + "/etcd/ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	node := &runningNode{fakeNode: n, records: r, key: key, ended: make(chan error, 1), planned: n.planStep(plan.RestartAlways, certs.Etcd)}
	go func() { node.ended <- e.RunOrders(t.Context(), rotationID) }()
	return node
}

func (n *runningNode) Order(o nodeapi.Order) error {
	if n.hasEnded() {
		return errors.New("the process has ended")
	}
	n.putOrder(o)
	return nil
}

func (n *runningNode) hasEnded() bool {
	return slices.ContainsFunc(n.Records(false), func(r nodeapi.Record) bool { return r.Kind == nodeapi.Abandoned || r.Kind == nodeapi.Finished })
}

func (n *runningNode) Records(end bool) []nodeapi.Record {
	if end {
		if err := <-n.ended; err != nil {
			n.t.Error(err)
		}
	}
	n.records.mu.Lock()
	defer n.records.mu.Unlock()
	return slices.Clone(n.records.all)
}

func (n *runningNode) FailStaging(fail bool) {
	key := n.key
	if fail {
		key = nil
	}
	if err := os.WriteFile(n.tree.Local(certstest.PKIDir+"/etcd/ca.key"), key, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *runningNode) SignElsewhere() {
	n.mu.Lock()
	n.elsewhere[certs.Etcd] = true
	n.mu.Unlock()
	n.planned = n.planStep(plan.RestartAlways, certs.Etcd)
}

func (n *runningNode) Issue(csr nodeapi.CSR) *nodeapi.Issued { return n.signedElsewhere(csr) }

func (n *runningNode) Step() *plan.Step { return n.planned }

func TestOrdersOfARotation(t *testing.T) { ordertest.RunCases(t, startNode) }
