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
// Every etcd member must be started, healthy by its own answer, no learner, at most
// [MaxRaftLag] entries behind its leader, in the log and in its database; all must name
// one leader and one term; no alarm may be raised and no database be all but full; and the
// quorum must hold without the next node. Clusters of one or two members cannot keep their
// quorum while one restarts: for them health is enough. External etcd is judged likewise,
// but its quorum does not depend on our nodes. What could not be asked for its health is
// not taken for healthy.
func Gate(healths []inventory.Health, next string) []Finding {
	var out findings
	for _, h := range healths {
		switch p := h.APIServer; {
		case p == nil || p.Healthy:
		case p.Unasked:
			out.add("API server of "+h.Node+" unknown", "%s: it is not known whether the API server is ready: %s", h.Node, p.Message)
		default:
			out.add("API server of "+h.Node, "%s: API server is not ready: %s", h.Node, p.Message)
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
	oneLeader(e, out)
	healthy := 0
	for _, m := range e.Members {
		if gateMember(e, m, out) {
			healthy++
		}
	}
	// Without the next node: one voter fewer must still be a majority.
	voters := len(e.Members)
	if h.Node == next && e.LocalID != 0 && voters > 2 && healthy-1 < voters/2+1 {
		out.add(quorum+next, "etcd would lose its quorum without %s: %d of %d members are healthy", next, healthy, voters)
	}
}

// gateMember judges one member and says whether it counts for the quorum.
func gateMember(e *inventory.Etcd, m inventory.Member, out *findings) bool {
	key := fmt.Sprintf("etcd member %x", m.ID)
	switch {
	case m.Name == "":
		out.add(key+" never started", "etcd member %x never started", m.ID)
		return false
	case m.Learner:
		out.add(key+" is a learner", "etcd member %q is a learner", m.Name)
		return false
	case m.AnsweredBy != 0:
		out.add(key+" did not answer", "the health of etcd member %q is %s", m.Name, m.Error)
		return false
	case !m.Healthy:
		out.add(key+" is not healthy", "etcd member %q is not healthy: %s", m.Name, m.Error)
		return false
	}
	if lag := behind(e, m); lag > MaxRaftLag {
		out.add(key+" lags", "etcd member %q is %d entries behind its leader (%d are fine)", m.Name, lag, MaxRaftLag)
	}
	if lag := unapplied(m); lag > MaxRaftLag {
		out.add(key+" does not apply", "etcd member %q has %d entries of the raft log still to apply to its database (%d are fine)", m.Name, lag, MaxRaftLag)
	}
	if full := percentFull(m); full >= refuseFull {
		out.add(key+" is full", "the database of etcd member %q is %d%% of its quota of %d MiB: at 100%% it refuses every write; "+
			"compact and defragment it", m.Name, full, m.DBQuota>>20)
	}
	return true
}

// oneLeader finds healthy members that follow different leaders, or are in different terms.
func oneLeader(e *inventory.Etcd, out *findings) {
	var first *inventory.Member
	for i := range e.Members {
		m := &e.Members[i]
		switch {
		case !m.Healthy || m.LeaderID == 0:
		case first == nil:
			first = m
		case m.LeaderID != first.LeaderID:
			out.add("etcd leaders differ", "etcd members do not agree on their leader: %q follows %s, %q follows %s",
				first.Name, nameOf(e, first.LeaderID), m.Name, nameOf(e, m.LeaderID))
		case m.RaftTerm != first.RaftTerm:
			out.add("etcd terms differ", "etcd members are in different raft terms: %q in %d, %q in %d",
				first.Name, first.RaftTerm, m.Name, m.RaftTerm)
		}
	}
}

// nameOf is a member's name, or its id where there is none of that id.
func nameOf(e *inventory.Etcd, id uint64) string {
	for _, m := range e.Members {
		if m.ID == id && m.Name != "" {
			return fmt.Sprintf("%q", m.Name)
		}
	}
	return fmt.Sprintf("%x", id)
}

// behind is by how many entries a member's log trails its leader's; 0 where that is not
// known.
func behind(e *inventory.Etcd, m inventory.Member) uint64 {
	newest := leaderIndex(e)
	if m.RaftIndex == 0 || newest <= m.RaftIndex {
		return 0
	}
	return newest - m.RaftIndex
}

// unapplied is how many entries that are in a member's log are not in its database yet; 0
// where that is not known.
func unapplied(m inventory.Member) uint64 {
	if m.RaftAppliedIndex == 0 || m.RaftIndex <= m.RaftAppliedIndex {
		return 0
	}
	return m.RaftIndex - m.RaftAppliedIndex
}

// leaderIndex is how far the leader's log is; 0 where that is not known.
func leaderIndex(e *inventory.Etcd) uint64 {
	for _, m := range e.Members {
		if m.ID == e.LeaderID {
			return m.RaftIndex
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
