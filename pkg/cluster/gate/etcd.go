package gate

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// answers are the states that members report on their own nodes, by their ids.
type answers map[uint64]inventory.Member

func ownAnswers(healths []inventory.Health) answers {
	out := answers{}
	for _, h := range healths {
		if h.Etcd == nil {
			continue
		}
		for _, m := range h.Etcd.Members {
			if m.ID == h.Etcd.LocalID && m.Healthy {
				out[m.ID] = m
			}
		}
	}
	return out
}

// fillMembers replaces members at whose address another member answers: those that advertise
// 127.0.0.1 are known on their own nodes only. Members without an own answer stay unknown.
func (a answers) fillMembers(e *inventory.Etcd) *inventory.Etcd {
	out := *e
	out.Members = slices.Clone(e.Members)
	for i, m := range out.Members {
		if own, known := a[m.ID]; known && m.AnsweredBy != 0 {
			out.Members[i] = own
		}
	}
	return &out
}

func gateEtcd(h inventory.Health, next string, out *findings) {
	e := h.Etcd
	if e.Error != "" {
		out.addOnce("etcd seen by "+h.Node, "%s: etcd does not answer: %s", h.Node, e.Error)
		return
	}
	if e.LeaderID == 0 {
		out.addOnce("leader seen by "+h.Node, "%s: etcd has no leader", h.Node)
	}
	for _, a := range e.Alarms {
		out.addOnce("alarm "+a, "etcd alarm: %s", a)
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
		out.addOnce(quorum+next, "etcd would lose its quorum without %s: %d of %d members are healthy", next, healthy, voters)
	}
}

// gateMember checks one member, and returns whether it counts for the quorum.
func gateMember(e *inventory.Etcd, m inventory.Member, out *findings) bool {
	key := memberKey(m)
	switch {
	case m.Name == "":
		out.addOnce(key+" never started", "etcd member %x never started", m.ID)
		return false
	case m.Learner:
		out.addOnce(key+" is a learner", "etcd member %q is a learner", m.Name)
		return false
	case m.AnsweredBy != 0:
		out.addOnce(key+" did not answer", "the health of etcd member %q is %s", m.Name, m.Error)
		return false
	case !m.Healthy:
		out.addOnce(key+" is not healthy", "etcd member %q is not healthy: %s", m.Name, m.Error)
		return false
	}
	if lag := entriesBehind(e, m); lag > MaxRaftLag {
		out.addOnce(key+" lags", "etcd member %q is %d entries behind its leader (%d are fine)", m.Name, lag, MaxRaftLag)
	}
	if lag := entriesUnapplied(m); lag > MaxRaftLag {
		out.addOnce(key+" does not apply", "etcd member %q has %d entries of the raft log still to apply to its database (%d are fine)", m.Name, lag, MaxRaftLag)
	}
	if full := percentFull(m); full >= refuseFull {
		out.addOnce(key+" is full", "the database of etcd member %q is %d%% of its quota of %d MiB: at 100%% it refuses every write; "+
			"compact and defragment it", m.Name, full, m.DBQuota>>20)
	}
	return true
}

// oneLeader checks that healthy members follow one leader in one term.
func oneLeader(e *inventory.Etcd, out *findings) {
	var first *inventory.Member
	for i := range e.Members {
		m := &e.Members[i]
		switch {
		case !m.Healthy || m.LeaderID == 0:
		case first == nil:
			first = m
		case m.LeaderID != first.LeaderID:
			out.addOnce("etcd leaders differ", "etcd members do not agree on their leader: %q follows %s, %q follows %s",
				first.Name, nameOf(e, first.LeaderID), m.Name, nameOf(e, m.LeaderID))
		case m.RaftTerm != first.RaftTerm:
			out.addOnce("etcd terms differ", "etcd members are in different raft terms: %q in %d, %q in %d",
				first.Name, first.RaftTerm, m.Name, m.RaftTerm)
		}
	}
}

// nameOf is the name of a member, or its id if it has none.
func nameOf(e *inventory.Etcd, id uint64) string {
	for _, m := range e.Members {
		if m.ID == id && m.Name != "" {
			return fmt.Sprintf("%q", m.Name)
		}
	}
	return fmt.Sprintf("%x", id)
}

// entriesBehind is by how many entries the log of a member trails that of its leader; 0:
// unknown.
func entriesBehind(e *inventory.Etcd, m inventory.Member) uint64 {
	newest := leaderIndex(e)
	if m.RaftIndex == 0 || newest <= m.RaftIndex {
		return 0
	}
	return newest - m.RaftIndex
}

// entriesUnapplied is how many entries of the log of a member are not in its database yet; 0:
// unknown.
func entriesUnapplied(m inventory.Member) uint64 {
	if m.RaftAppliedIndex == 0 || m.RaftIndex <= m.RaftAppliedIndex {
		return 0
	}
	return m.RaftIndex - m.RaftAppliedIndex
}

// leaderIndex is the last entry in the log of the leader; 0: unknown.
func leaderIndex(e *inventory.Etcd) uint64 {
	for _, m := range e.Members {
		if m.ID == e.LeaderID {
			return m.RaftIndex
		}
	}
	return 0
}

// percentFull is the used part of the quota of a database; 0: unknown.
func percentFull(m inventory.Member) int64 {
	if m.DBQuota <= 0 || m.DBSize <= 0 {
		return 0
	}
	return int64(float64(m.DBSize) / float64(m.DBQuota) * 100)
}
