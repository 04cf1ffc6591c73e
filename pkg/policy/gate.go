// Package policy holds the decisions of a rotation as pure functions over what was
// seen: whether a control-plane node may be touched now, and which one is next.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// MaxRaftLag is by how many entries of the raft log a member may be behind its leader.
// Members are asked one after the other, so a busy cluster shows some hundreds. At
// 5,000 etcd itself refuses requests ("too many requests") and soon has to send a
// snapshot; a member that far behind is no support for a quorum.
const MaxRaftLag = 1000

// How full an etcd database may be, in percent of its quota. At 100 it raises NOSPACE
// and refuses every write, also those of the Leases and signing requests that a
// rotation needs.
const (
	warnFull   = 80
	refuseFull = 95
)

// Finding is something that speaks against touching a control-plane node.
type Finding struct {
	// Key names what is wrong and where, without what changes from one look to the
	// next (numbers, an error's words).
	Key  string
	Text string
}

func (f Finding) String() string { return f.Text }

// quorum begins the key of a finding that speaks against one node only.
const quorum = "quorum without "

// AboutNext says that the finding is about the node to be taken next, and not about
// how the cluster is.
func (f Finding) AboutNext() bool { return strings.HasPrefix(f.Key, quorum) }

// findings collects what each node says, the same thing once.
type findings []Finding

func (f *findings) add(key, format string, args ...any) {
	if !slices.ContainsFunc(*f, func(other Finding) bool { return other.Key == key }) {
		*f = append(*f, Finding{key, fmt.Sprintf(format, args...)})
	}
}

// Gate returns what speaks against taking the named control-plane node down now;
// empty means go ahead. healths are what each control-plane node sees, next is the
// node that is about to be restarted ("" to judge the cluster as it is).
//
// Every etcd member must be started, healthy, no learner and at most [MaxRaftLag]
// entries behind its leader, one leader known, no alarm raised, no database all but
// full, and the quorum must hold without the next node. Clusters of one or two members
// cannot keep their quorum while one restarts: for them health is enough. External
// etcd is judged likewise, but its quorum does not depend on our nodes.
func Gate(healths []inventory.Health, next string) []Finding {
	var out findings
	for _, h := range healths {
		if h.APIServer != nil && !h.APIServer.Healthy {
			out.add("API server of "+h.Node, "%s: API server is not ready: %s", h.Node, h.APIServer.Message)
		}
		if h.Etcd != nil {
			gateEtcd(h, next, &out)
		}
	}
	return out
}

func gateEtcd(h inventory.Health, next string, out *findings) {
	e := h.Etcd
	if e.Error != "" {
		out.add("etcd seen by "+h.Node, "%s: etcd does not answer: %s", h.Node, e.Error)
		return
	}
	if e.LeaderID == 0 {
		out.add("leader seen by "+h.Node, "%s: etcd has no leader", h.Node)
	}
	for _, a := range e.Alarms {
		out.add("alarm "+a, "etcd alarm: %s", a)
	}
	healthy := 0
	for _, m := range e.Members {
		key := fmt.Sprintf("etcd member %x", m.ID)
		switch {
		case m.Name == "":
			out.add(key+" never started", "etcd member %x never started", m.ID)
		case m.Learner:
			out.add(key+" is a learner", "etcd member %q is a learner", m.Name)
		case !m.Healthy:
			out.add(key+" is not healthy", "etcd member %q is not healthy: %s", m.Name, m.Error)
		default:
			healthy++
			if lag := behind(e, m); lag > MaxRaftLag {
				out.add(key+" lags", "etcd member %q is %d entries behind its leader (%d are fine)", m.Name, lag, MaxRaftLag)
			}
			if full := percentFull(m); full >= refuseFull {
				out.add(key+" is full", "the database of etcd member %q is %d%% of its quota of %d MiB: at 100%% it refuses every write; "+
					"compact and defragment it", m.Name, full, m.DBQuota>>20)
			}
		}
	}
	// Without the next node: one voter fewer must still be a majority.
	voters := len(e.Members)
	if h.Node == next && e.LocalID != 0 && voters > 2 && healthy-1 < voters/2+1 {
		out.add(quorum+next, "etcd would lose its quorum without %s: %d of %d members are healthy", next, healthy, voters)
	}
}

// behind is by how many entries a member trails its leader; 0 where that is not known.
func behind(e *inventory.Etcd, m inventory.Member) uint64 {
	for _, leader := range e.Members {
		if leader.ID == e.LeaderID && m.RaftIndex != 0 && leader.RaftIndex > m.RaftIndex {
			return leader.RaftIndex - m.RaftIndex
		}
	}
	return 0
}

// percentFull is how much of its quota a database takes; 0 where that is not known.
func percentFull(m inventory.Member) int64 {
	if m.DBQuota <= 0 || m.DBSize <= 0 {
		return 0
	}
	return int64(float64(m.DBSize) / float64(m.DBQuota) * 100)
}

// Warnings tells what does not stop a rotation yet, and will before long.
func Warnings(healths []inventory.Health) []string {
	var out findings
	for _, h := range healths {
		if h.Etcd == nil {
			continue
		}
		for _, m := range h.Etcd.Members {
			if full := percentFull(m); full >= warnFull && full < refuseFull {
				out.add(fmt.Sprint(m.ID), "the database of etcd member %q is %d%% of its quota of %d MiB; from %d%% on no rotation starts",
					m.Name, full, m.DBQuota>>20, refuseFull)
			}
		}
	}
	texts := make([]string, 0, len(out))
	for _, f := range out {
		texts = append(texts, f.Text)
	}
	return texts
}

// Next picks the control-plane node to take next among those remaining (in plan
// order): the etcd leader last, so that leadership moves at most once.
func Next(remaining []string, healths []inventory.Health) string {
	for _, name := range remaining {
		if !leads(name, healths) {
			return name
		}
	}
	return remaining[0]
}

func leads(node string, healths []inventory.Health) bool {
	for _, h := range healths {
		if h.Node == node && h.Etcd != nil && h.Etcd.LocalID != 0 {
			return h.Etcd.LeaderID == h.Etcd.LocalID
		}
	}
	return false
}

// Members summarises etcd for a progress line: "3/3 members healthy"; empty without etcd.
func Members(h inventory.Health) string {
	if h.Etcd == nil || h.Etcd.Error != "" {
		return ""
	}
	healthy := 0
	for _, m := range h.Etcd.Members {
		if m.Healthy {
			healthy++
		}
	}
	return fmt.Sprintf("%d/%d members healthy", healthy, len(h.Etcd.Members))
}
