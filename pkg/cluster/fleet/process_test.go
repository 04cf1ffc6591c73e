package fleet_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi/ordertest"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// inboxes is where the simulated nodes have their state directories.
var inboxes string

func TestMain(m *testing.M) {
	in := "/dev/shm" // where writing durably takes no time
	if _, err := os.Stat(in); err != nil {
		in = ""
	}
	dir, err := os.MkdirTemp(in, "fleet-inboxes-")
	if err != nil {
		panic(err)
	}
	inboxes = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// idle is how long the process on a node waits for an order, see [nodeapi.IdleTimeout].
const idle = 15 * time.Minute

// process is the process on a simulated node. Its orders go through a real inbox.
type process struct {
	mu        sync.Mutex
	root      string // of its file system; empty: it has had no order
	taken     int64  // the highest order that was carried out
	lastOrder time.Time
	began     time.Time
	lives     time.Duration // the pod's; 0: for ever
	over      bool
	staged    bool
	fence     int64
}

// start begins a process, as a new pod does, which is ended after its deadline.
func (p *process) start(lives time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.began, p.lastOrder, p.staged, p.lives = false, time.Now(), time.Now(), false, max(lives, 30*time.Minute)
}

func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

var errEnded = errors.New("its process has ended")

// take puts an order into the inbox; fresh says that it is to be carried out.
func (p *process) take(o nodeapi.Order) (fresh bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false, errEnded
	}
	if p.root == "" {
		if p.root, err = os.MkdirTemp(inboxes, "node-"); err != nil {
			return false, err
		}
		if err := os.MkdirAll(filepath.Join(p.root, "var/lib"), 0o755); err != nil {
			return false, err
		}
	}
	dir, err := statedir.OpenDir(hostfs.Root(p.root))
	if err != nil {
		return false, err
	}
	inbox, err := dir.OpenRotation(o.Rotation)
	if err != nil {
		return false, err
	}
	number, err := inbox.PutOrder(o)
	if err != nil || number <= p.taken {
		return false, err
	}
	p.taken = number
	if o.Token >= p.fence {
		p.lastOrder = time.Now()
	}
	return true, nil
}

// raiseFence notes the token of an order; outdated says that an order of a later lock came before.
func (p *process) raiseFence(token int64) (outdated bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token < p.fence {
		return true
	}
	p.fence = token
	return false
}

// expired says, once, that the process has ended because no order came, and under which token.
func (p *process) expired() (token int64, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.lastOrder.IsZero() || time.Since(p.lastOrder) < idle && (p.lives == 0 || time.Since(p.began) < p.lives) {
		return 0, false
	}
	p.over = true
	return p.fence, true
}

// changed says that the node's certificates are not those of the plan.
func (n *node) changed(s *plan.Step) bool {
	for _, target := range s.Targets {
		for _, c := range n.inventory.Certificates {
			if c.ID() == target.ID && c.FingerprintSHA256 != target.OldFingerprint {
				return true
			}
		}
	}
	return false
}

// expire ends a process that has waited for too long.
func (n *node) expire() {
	if token, ended := n.expired(); ended {
		n.record(nodeapi.Abandoned, token, nil)
	}
}

func (n *node) commitNow(o nodeapi.Order) {
	n.staged = false
	n.Lock()
	n.atOnce++
	n.maxSeen = max(n.maxSeen, n.atOnce)
	n.Unlock()
	if o.CopyEtcd && n.inventory.ComponentOf(certs.Etcd) != nil {
		n.record(nodeapi.CopyingEtcd, o.Token, func(r *nodeapi.Record) { r.WithinSeconds = nodeapi.EtcdCopyLimit.Seconds() })
		n.record(nodeapi.EtcdCopied, o.Token, func(r *nodeapi.Record) { r.Message = or(n.uncopied, "etcd's data was copied") })
	}
	if !n.unreachable {
		n.record(nodeapi.Committing, o.Token, nil)
	}
	if n.onCommit != nil {
		n.Lock()
		n.onCommit()
		n.Unlock()
	}
	if n.lost != nil {
		n.record(n.lost.Kind, o.Token, func(r *nodeapi.Record) { r.WithinSeconds = n.lost.WithinSeconds })
		return
	}
	if n.vanishes {
		n.vanished = true
		return
	}
	end := or(n.commit, nodeapi.Committed)
	if end == nodeapi.RolledBack || end == nodeapi.Unknown {
		n.record(nodeapi.RollingBack, o.Token, func(r *nodeapi.Record) { r.Message = "etcd did not become healthy" })
	} else {
		n.record(nodeapi.Restarted, o.Token, func(r *nodeapi.Record) { r.Service, r.UnavailableSeconds = certs.Etcd, 1.5 })
	}
	n.record(end, o.Token, func(r *nodeapi.Record) {
		for _, c := range n.inventory.Certificates {
			fresh := c.Facts
			fresh.FingerprintSHA256 = "new-" + fresh.FingerprintSHA256
			if n.grants > 0 {
				fresh.NotAfter = fresh.NotBefore.Add(n.grants)
			}
			r.Renewals = append(r.Renewals, inventory.Renewal{ID: c.ID(), Old: c.Facts, New: fresh})
		}
	})
	n.Lock()
	n.atOnce--
	n.Unlock()
}

// contractNode lets a simulated node be judged by the cases of package ordertest.
type contractNode struct {
	*node
	t *testing.T
}

func (n contractNode) Order(o nodeapi.Order) error { return n.node.Order(n.t.Context(), o) }

func (n contractNode) FailStaging(fail bool) {
	n.stage = ""
	if fail {
		n.stage = nodeapi.Failed
	}
}

func (n contractNode) SignElsewhere() {
	n.csr = &nodeapi.Record{Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{TargetID: "etcd/etcd@/pki/etcd.crt"}}
}

func (n contractNode) Issue(csr nodeapi.CSR) *nodeapi.Issued {
	return &nodeapi.Issued{TargetID: csr.TargetID, PEM: "PEM", SignedBy: "cp2"}
}

func (n contractNode) Step() *plan.Step { return &plan.Step{Node: n.inventory.Name} }

func (n contractNode) Records(end bool) []nodeapi.Record {
	if end {
		time.Sleep(idle)
	}
	n.expire()
	n.Lock()
	defer n.Unlock()
	return append([]nodeapi.Record(nil), n.records...)
}

func TestSimulatedNodesAnswerAsTheEngineDoes(t *testing.T) {
	ordertest.RunCases(t, func(t *testing.T) ordertest.Node {
		n := newCluster(1, 0).nodes["cp1"]
		n.start(24 * time.Hour)
		return contractNode{n, t}
	})
}
