package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// cluster is a cluster of simulated nodes: it stands in for what cannot be had in a
// unit test, the answers of node programs, and records what was asked of them.
type cluster struct {
	rollbackOf string // the rotation that is rolled back, see haveRotated
	sync.Mutex
	nodes    map[string]*node
	leader   string
	noLeader bool  // etcd has no quorum
	held     error // what Acquire returns
	token    int64
	orphans  int
	lost     bool // the lock
	confirm  func(context.Context) error
	log      []string
	atOnce   int // nodes committing right now
	maxSeen  int
	// atCommit holds how many nodes had the order to commit whenever one had carried it out.
	atCommit []int
	onScan   func()
	onOpen   func(name string) error
	signing  time.Duration // how long Issue takes
	// showsHealth has requests for health in the log.
	showsHealth bool
}

type node struct {
	*cluster
	inventory             inventory.Node
	records               []nodeapi.Record
	breaks                int          // connections of Follow that break after one record each
	commit                nodeapi.Kind // how a commit ends; "" = Committed
	stage                 nodeapi.Kind
	stageOnce             nodeapi.Kind // how the first staging ends
	unhealthy             string       // API server message
	healthChecks          int          // how often its health was requested
	csr                   *nodeapi.Record
	issued                chan nodeapi.Order
	claims                string          // which node it says it is; "": the truth
	onCommit              func()          // what else happens meanwhile
	onStage               func()          // what happens before a staging, such as undoing
	answers               string          // ID of the order that is carried out
	down                  bool            // its etcd member
	grants                time.Duration   // life of its new certificates; 0: as before
	vanishes              bool            // the process ends in the middle of a commit
	unreachable, vanished bool            // no order to commit reaches it; its process has ended
	notReady              bool            // it cannot be scanned any more
	lost                  *nodeapi.Record // its commit's last record; nothing connects from then on
	takes                 time.Duration   // of a commit, once it was ordered
	says                  bool            // how long its commit takes, before that
	signed                []nodeapi.SignRequest
	signedBy              string // who signed its certificate
	refuses               string // why it signs nothing for other nodes
	uncopied              string // why etcd's data cannot be copied
	process
}

func newCluster(controlPlanes, workers int) *cluster {
	c := &cluster{nodes: map[string]*node{}}
	for i := 1; i <= controlPlanes; i++ {
		c.add(fmt.Sprintf("cp%d", i), certs.Etcd, certs.KubeAPIServer, certs.Kubelet)
	}
	for i := 1; i <= workers; i++ {
		c.add(fmt.Sprintf("w%d", i), certs.Kubelet)
	}
	return c
}

func (c *cluster) add(name string, services ...certs.Service) {
	n := inventory.Node{Name: name, CRISocket: "/run/containerd/containerd.sock", DBusSocket: "/run/dbus/system_bus_socket"}
	for _, s := range services {
		runtime := inventory.StaticPod
		if s == certs.Kubelet {
			runtime = inventory.Systemd
		}
		c := inventory.Component{Service: s, Runtime: runtime}
		if s == certs.KubeAPIServer {
			c.Health, c.APIServer = "https://127.0.0.1:6443/readyz", name+":6443"
		}
		n.Components = append(n.Components, c)
		n.Certificates = append(n.Certificates, inventory.Certificate{
			Service: s, UsedBy: []certs.Service{s}, Name: string(s), Status: certs.OK,
			Facts:  certs.Facts{FingerprintSHA256: "old-" + name + "-" + string(s), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
			Store:  inventory.Store{Kind: inventory.Pair, Cert: "/pki/" + string(s) + ".crt", Key: "/pki/" + string(s) + ".key"},
			Issuer: inventory.Issuer{Kind: inventory.LocalCA},
		})
	}
	c.nodes[name] = &node{cluster: c, inventory: n, issued: make(chan nodeapi.Order, 1)}
}

func (c *cluster) inventories() []inventory.Node {
	var out []inventory.Node
	for _, n := range c.nodes {
		out = append(out, n.inventory)
	}
	return out
}

func (c *cluster) note(format string, args ...any) {
	c.Lock()
	defer c.Unlock()
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *cluster) did(entry string) bool { return c.index(entry) >= 0 }

func (c *cluster) index(entry string) int {
	c.Lock()
	defer c.Unlock()
	for i, l := range c.log {
		if l == entry {
			return i
		}
	}
	return -1
}

func (c *cluster) asCluster() fleet.Cluster {
	return fleet.Cluster{Nodes: c, Locker: c, Signers: c, Observer: c, Scanner: c}
}

// Scan implements fleet.Scanner.
func (c *cluster) Scan(_ context.Context, nodes []string) ([]inventory.Node, []plan.NotInspected, error) {
	c.note("scan")
	if c.onScan != nil {
		c.onScan()
	}
	for _, name := range nodes {
		if c.nodes[name].notReady {
			return nil, []plan.NotInspected{{Node: name, Reason: "NotReady"}}, nil
		}
	}
	return c.inventories(), nil, nil
}

// DryRun implements fleet.Nodes.
func (c *cluster) DryRun(context.Context, string, []plan.Step) error {
	c.note("dry-run")
	return nil
}

// Open implements fleet.Nodes.
func (c *cluster) Open(_ context.Context, _ string, s plan.Step) (fleet.Session, error) {
	c.note("open %s", s.Node)
	if c.onOpen != nil {
		if err := c.onOpen(s.Node); err != nil {
			return nil, err
		}
	}
	c.nodes[s.Node].start(time.Duration(s.LifetimeSeconds) * time.Second)
	return c.nodes[s.Node], nil
}

// Close implements fleet.Nodes.
func (c *cluster) Close(_ context.Context, rotation string) (int, error) {
	c.note("close %q", rotation)
	if rotation == "" {
		return c.orphans, nil
	}
	return 0, nil
}

// Acquire implements fleet.Locker.
func (c *cluster) Acquire(_ context.Context, _ string, minToken int64) (fleet.Lock, error) {
	if c.held != nil {
		return nil, c.held
	}
	c.token = minToken + 1
	return c, nil
}

// Token implements fleet.Lock.
func (c *cluster) Token() int64 { return c.token }

// Confirm implements fleet.Lock.
func (c *cluster) Confirm(ctx context.Context) error {
	if c.lost {
		return fmt.Errorf("%w: held by another rotation", fleet.ErrLockLost)
	}
	if c.confirm != nil {
		return c.confirm(ctx)
	}
	return nil
}

// Release implements fleet.Lock.
func (c *cluster) Release(context.Context) error {
	c.note("release")
	return nil
}

// Approve implements fleet.Signers.
func (c *cluster) Approve(_ context.Context, node string, csr nodeapi.CSR) error {
	c.note("approve %s for %s", csr.Name, node)
	return nil
}

// Issue implements fleet.Signers.
func (c *cluster) Issue(_ context.Context, node string, _ nodeapi.CSR) ([]byte, error) {
	if c.signing > 0 {
		time.Sleep(c.signing)
	}
	c.note("issue for %s", node)
	return []byte("PEM"), nil
}

// Restarts implements fleet.Observer.
func (c *cluster) Restarts(context.Context, string) (map[string]fleet.Restart, error) {
	return map[string]fleet.Restart{}, nil
}

// Ready implements fleet.Observer.
func (c *cluster) Ready(_ context.Context, node string, _ time.Time) error {
	c.note("ready %s", node)
	return nil
}

func (n *node) record(kind nodeapi.Kind, token int64, change func(*nodeapi.Record)) {
	n.Lock()
	defer n.Unlock()
	r := nodeapi.Record{Seq: int64(len(n.records) + 1), Node: or(n.claims, n.inventory.Name), Rotation: "7f3c2a", Token: token, OrderID: n.answers, Kind: kind, Message: "message of " + string(kind)}
	if kind == nodeapi.Abandoned {
		r.OrderID = "" // the process ends; as an answer it is of no order
	}
	if change != nil {
		change(&r)
	}
	n.records = append(n.records, r)
}

// Order implements fleet.Session: the simulated node carries it out at once, if it is
// not a repeated delivery.
func (n *node) Order(_ context.Context, o nodeapi.Order) error {
	name := n.inventory.Name
	n.expire()
	fresh, err := n.take(o)
	if err != nil || !fresh {
		return err
	}
	if o.Kind == nodeapi.OrderKeepAlive {
		return nil
	}
	n.note("%s %s", o.Kind, name)
	if o.Kind != nodeapi.OrderIssued { // the staging that waits for it continues
		n.Lock()
		n.answers = o.ID
		n.Unlock()
	}
	if n.raiseFence(o.Token) {
		if o.Kind == nodeapi.OrderIssued {
			return nil // no staging of this lock waits for it
		}
		n.record(nodeapi.Refused, o.Token, nil)
		return nil
	}
	switch o.Kind {
	case nodeapi.OrderStage:
		if n.onStage != nil {
			n.Lock()
			n.onStage()
			n.Unlock()
		}
		if n.changed(o.Step) {
			n.record(nodeapi.Refused, o.Token, nil)
			return nil
		}
		n.record(nodeapi.Staging, o.Token, nil)
		if n.csr != nil {
			n.record(n.csr.Kind, o.Token, func(r *nodeapi.Record) { r.CSR = n.csr.CSR })
			if n.csr.Kind == nodeapi.CSRNeeded {
				return nil // continues when the certificate is issued
			}
		}
		ends := or(n.stageOnce, or(n.stage, nodeapi.Staged))
		why := ""
		if o.CopyEtcd && o.RequireCopy && n.uncopied != "" {
			ends = nodeapi.Failed
			why = n.uncopied
		}
		n.stageOnce, n.staged = "", ends == nodeapi.Staged
		n.record(ends, o.Token, func(r *nodeapi.Record) { r.Message = or(why, r.Message) })
	case nodeapi.OrderIssued:
		n.signedBy = o.Issued.SignedBy
		n.staged = o.Issued.Error == ""
		if !n.staged {
			n.record(nodeapi.Failed, o.Token, func(r *nodeapi.Record) { r.Message = o.Issued.Error })
			return nil
		}
		n.record(nodeapi.Staged, o.Token, nil)
	case nodeapi.OrderCommit:
		switch {
		case !n.staged:
			n.record(nodeapi.Refused, o.Token, nil)
		case n.takes > 0:
			go func() {
				if n.says {
					n.record(nodeapi.Restarting, o.Token, func(r *nodeapi.Record) { r.WithinSeconds = n.takes.Seconds() })
				}
				time.Sleep(n.takes)
				n.commitNow(o)
			}()
		default:
			n.commitNow(o)
		}
	case nodeapi.OrderFinish:
		n.record(nodeapi.Finished, o.Token, nil)
		n.end()
	case nodeapi.OrderAbandon:
		n.record(nodeapi.Abandoned, o.Token, nil)
		n.end()
	}
	return nil
}

// Follow implements fleet.Session.
func (n *node) Follow(_ context.Context, after int64, fn func(nodeapi.Record) error) error {
	n.expire()
	n.Lock()
	records := append([]nodeapi.Record(nil), n.records...)
	if n.lost != nil && len(records) > 0 && records[len(records)-1].Kind == n.lost.Kind && after >= int64(len(records)) {
		n.Unlock()
		return errors.New("dial tcp: i/o timeout")
	}
	vanished := n.vanished || n.over
	breaking := n.breaks > 0
	if breaking {
		n.breaks--
	}
	n.Unlock()
	for _, r := range records {
		if r.Seq <= after {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
		if breaking {
			return errors.New("connection reset by peer")
		}
	}
	if vanished {
		return nil
	}
	return errors.New("nothing more yet")
}

// Sign implements fleet.Session.
func (n *node) Sign(_ context.Context, r nodeapi.SignRequest) ([]byte, error) {
	n.note("sign on %s for %s", n.inventory.Name, r.Node)
	n.Lock()
	defer n.Unlock()
	n.signed = append(n.signed, r)
	if n.refuses != "" {
		return nil, errors.New(n.refuses)
	}
	return []byte("PEM"), nil
}

// Health implements fleet.Session.
func (n *node) Health(_ context.Context, others []inventory.Peer) (inventory.Health, error) {
	n.Lock()
	defer n.Unlock()
	n.healthChecks++
	if n.showsHealth {
		n.log = append(n.log, "health")
	}
	h := inventory.Health{Node: n.inventory.Name, APIServer: &inventory.Probe{Healthy: n.unhealthy == "", Message: n.unhealthy}}
	e := &inventory.Etcd{LeaderID: 1} // none of the nodes, unless the test names one
	for name := range n.nodes {
		if n.nodes[name].inventory.ComponentOf(certs.Etcd) == nil {
			continue
		}
		id := uint64(name[len(name)-1])
		e.Members = append(e.Members, inventory.Member{ID: id, Name: name, Healthy: !n.nodes[name].down})
		if name == n.inventory.Name {
			e.LocalID = id
		}
	}
	for _, p := range others {
		other := n.nodes[p.Node]
		other.healthChecks++
		h.Others = append(h.Others, inventory.PeerHealth{Node: p.Node, Probe: inventory.Probe{Address: p.Address, Healthy: other.unhealthy == "", Message: other.unhealthy}})
	}
	if n.noLeader {
		e.LeaderID = 0
	} else if n.leader != "" {
		e.LeaderID = uint64(n.leader[len(n.leader)-1])
	}
	h.Etcd = e
	return h, nil
}

func or[T ~string](kind, otherwise T) T {
	if kind == "" {
		return otherwise
	}
	return kind
}
