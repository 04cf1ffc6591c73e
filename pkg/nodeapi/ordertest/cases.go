// Package ordertest defines the answers of a node to the orders of a rotation. The engine and
// every simulated node of a test must pass the same cases.
package ordertest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Rotation is the id of the rotation that all orders belong to.
const Rotation = "7f3c2a"

// Node is a node whose process runs and waits for the orders of [Rotation]. It is used
// within a bubble of [synctest].
type Node interface {
	// Order delivers an order. Its error is that the process has ended.
	Order(o nodeapi.Order) error
	// Records are those written so far, or, after end, all of them: end waits until the
	// process has ended, as it does when no order comes.
	Records(end bool) []nodeapi.Record
	// FailStaging makes the stagings fail from now on, or succeed again.
	FailStaging(fail bool)
	// SignElsewhere makes the stagings need the signature of another node from now on.
	SignElsewhere()
	// Issue returns what another node signs for a request.
	Issue(csr nodeapi.CSR) *nodeapi.Issued
	// Step is a step of this node that can be staged.
	Step() *plan.Step
}

// settles is longer than a node needs for any of the orders.
const settles = 5 * time.Minute

// step is one thing that happens to a node.
type step struct {
	order   nodeapi.Order
	failing bool          // stagings fail meanwhile
	signs   bool          // stagings need the signature of another node
	hasty   bool          // the next order follows at once: a staging waits ten minutes for a signature
	after   time.Duration // that passes before the order
}

var (
	stage  = nodeapi.Order{Kind: nodeapi.OrderStage, ID: "stage", Token: 5, Restart: plan.RestartAlways, Scope: "test"}
	commit = nodeapi.Order{Kind: nodeapi.OrderCommit, ID: "commit", Token: 5}
	copies = nodeapi.Order{Kind: nodeapi.OrderCommit, ID: "commit", Token: 5, CopyEtcd: true}
	finish = nodeapi.Order{Kind: nodeapi.OrderFinish, ID: "finish", Token: 5}
	alive  = nodeapi.Order{Kind: nodeapi.OrderKeepAlive, ID: "alive", Token: 5}
	issued = nodeapi.Order{Kind: nodeapi.OrderIssued, ID: "issued", Token: 5}
	// refused is the answer that no node signs.
	refused = nodeapi.Order{Kind: nodeapi.OrderIssued, ID: "refused", Token: 5, Issued: &nodeapi.Issued{Error: "its key is the old one"}}
)

func withSteps(o nodeapi.Order, id string) nodeapi.Order { o.ID = id; return o }

func olderToken(o nodeapi.Order) nodeapi.Order {
	o.ID = o.ID + " of an older lock"
	o.Token = o.Token - 1
	return o
}

var cases = []struct {
	name  string
	steps []step
	want  []nodeapi.Kind // the answers and the records of a copy, in order
}{
	{"an order of each kind", []step{{order: stage}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"an order that is delivered again is carried out once", []step{{order: stage}, {order: stage}, {order: commit}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"another id is another order, even if all else is equal", []step{{order: stage}, {order: withSteps(stage, "again")}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"a staging that failed is tried again", []step{{order: stage, failing: true}, {order: withSteps(stage, "again")}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Failed, nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"a staging that failed is not tried again by a repeated delivery", []step{{order: stage, failing: true}, {order: stage}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Failed, nodeapi.Finished}},
	{"nothing is committed that was not staged", []step{{order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Refused, nodeapi.Finished}},
	{"what was staged is committed once", []step{{order: stage}, {order: commit}, {order: withSteps(commit, "again")}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Refused, nodeapi.Finished}},
	{"an older lock commands nothing", []step{{order: stage}, {order: olderToken(commit)}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Refused, nodeapi.Committed, nodeapi.Finished}},
	{"without orders the process ends", []step{{order: stage}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Abandoned}},
	{"no order reaches a process that has ended", []step{{order: stage}, {order: commit, after: 15 * time.Minute}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Abandoned}},
	{"a process that is kept alive waits", []step{{order: stage}, {order: alive, after: 9 * time.Minute}, {order: withSteps(alive, "2"), after: 9 * time.Minute},
		{order: withSteps(alive, "3"), after: 9 * time.Minute}, {order: commit, after: 9 * time.Minute}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"a staging waits for the signature of another node", []step{{order: stage, signs: true}, {order: issued}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"a staging that no node signs fails", []step{{order: stage, signs: true}, {order: refused}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Failed, nodeapi.Finished}},
	{"an older lock has nothing signed", []step{{order: stage, signs: true}, {order: olderToken(refused), hasty: true}, {order: issued}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Committed, nodeapi.Finished}},
	{"etcd's data is copied where the commit asks for it", []step{{order: stage}, {order: copies}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.CopyingEtcd, nodeapi.EtcdCopied, nodeapi.Committed, nodeapi.Finished}},
	{"an older lock has nothing copied", []step{{order: stage}, {order: olderToken(copies)}, {order: commit}, {order: finish}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Refused, nodeapi.Committed, nodeapi.Finished}},
	{"an older lock keeps nothing alive", []step{{order: stage}, {order: olderToken(alive), after: 9 * time.Minute}, {order: commit, after: 9 * time.Minute}},
		[]nodeapi.Kind{nodeapi.Staged, nodeapi.Abandoned}},
}

// orderIDs are the IDs of the steps' orders, each once, in the order of delivery.
func orderIDs(steps []step) []string {
	var out []string
	for _, s := range steps {
		if !slices.Contains(out, s.order.ID) {
			out = append(out, s.order.ID)
		}
	}
	return out
}

// ordersOf returns the orders of a step: one, or one for each request that is pending.
func ordersOf(n Node, o nodeapi.Order) []nodeapi.Order {
	switch o.Kind {
	case nodeapi.OrderStage:
		o.Step = n.Step()
	case nodeapi.OrderIssued:
		return issuedOrders(n, o)
	default:
	}
	return []nodeapi.Order{o}
}

func issuedOrders(n Node, o nodeapi.Order) []nodeapi.Order {
	var out []nodeapi.Order
	for _, rec := range n.Records(false) {
		if rec.Kind != nodeapi.CSRNeeded {
			continue
		}
		answer := o
		answer.ID += " for " + rec.CSR.TargetID
		if o.Issued == nil {
			answer.Issued = n.Issue(*rec.CSR)
		} else {
			answer.Issued = &nodeapi.Issued{TargetID: rec.CSR.TargetID, Error: o.Issued.Error}
		}
		out = append(out, answer)
	}
	return out
}

// RunCases runs all cases, each with a node of its own.
func RunCases(t *testing.T, start func(t *testing.T) Node) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t)
				began := time.Now()
				for _, s := range tt.steps {
					<-time.After(s.after)
					n.FailStaging(s.failing)
					if s.signs {
						n.SignElsewhere()
					}
					for _, o := range ordersOf(n, s.order) {
						o.Rotation = Rotation
						o.StartTime = began.UTC()
						ended := slices.ContainsFunc(n.Records(false), func(r nodeapi.Record) bool { return r.Kind == nodeapi.Abandoned })
						if err := n.Order(o); err != nil && !ended {
							t.Fatalf("deliver order %q: %v", o.Kind, err)
						}
					}
					if !s.hasty {
						<-time.After(settles)
					}
				}
				var got []nodeapi.Kind
				unanswered := orderIDs(tt.steps)
				records := n.Records(true)
				checkCopies(t, records)
				for _, rec := range records {
					switch {
					case rec.Kind == nodeapi.CopyingEtcd || rec.Kind == nodeapi.EtcdCopied:
						got = append(got, rec.Kind)
						continue
					case !rec.Kind.IsAnswer():
						continue
					}
					got = append(got, rec.Kind)
					if rec.Kind == nodeapi.Abandoned {
						continue // the process ended, whatever was ordered
					}
					at := slices.Index(unanswered, rec.OrderID)
					if at < 0 {
						t.Errorf("answer %s to order %q, which was not delivered or has its answer: %v are left", rec.Kind, rec.OrderID, unanswered)
						continue
					}
					unanswered = unanswered[at+1:]
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("answers %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// checkCopies checks the records of a copy of etcd's data: they say how long it may take, and it
// ends before anything changes.
func checkCopies(t *testing.T, records []nodeapi.Record) {
	t.Helper()
	changed := slices.IndexFunc(records, func(r nodeapi.Record) bool { return r.Kind == nodeapi.Committing })
	for i, rec := range records {
		switch {
		case rec.Kind == nodeapi.CopyingEtcd && rec.WithinSeconds != nodeapi.EtcdCopyLimit.Seconds():
			t.Errorf("the copy may take %v s, want %v s", rec.WithinSeconds, nodeapi.EtcdCopyLimit.Seconds())
		case rec.Kind == nodeapi.EtcdCopied && (i > changed || rec.Message == ""):
			t.Errorf("record %d of %d, %q, does not say before the change, record %d, where the copy is", i, len(records), rec.Message, changed)
		}
	}
}
