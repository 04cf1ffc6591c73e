// Package gate holds the decisions of a rotation as pure functions over what was
// seen: whether a control-plane node may be touched now, and which one is next.
package gate

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
	own := ownAnswers(healths)
	for _, h := range healths {
		switch p := h.APIServer; {
		case p == nil || p.Healthy:
		case p.Unasked:
			out.add("API server of "+h.Node+" unknown", "%s: it is not known whether the API server is ready: %s", h.Node, p.Message)
		default:
			out.add("API server of "+h.Node, "%s: API server is not ready: %s", h.Node, p.Message)
		}
		if h.Etcd != nil {
			h.Etcd = own.complete(h.Etcd)
			gateEtcd(h, next, &out)
		}
	}
	return out
}

// Warnings tells what does not stop a rotation yet, and will before long.
func Warnings(healths []inventory.Health) []string {
	var out findings
	for _, h := range healths {
		if h.Etcd == nil {
			continue
		}
		for _, m := range h.Etcd.Members {
			if m.AnsweredBy != 0 {
				out.add(fmt.Sprint("address of ", m.ID), "the health of etcd member %q is known on its own node only: %s", m.Name, strings.TrimPrefix(m.Error, "unknown: "))
			}
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
	healthy, unknown := 0, 0
	for _, m := range h.Etcd.Members {
		switch {
		case m.Healthy:
			healthy++
		case m.AnsweredBy != 0:
			unknown++
		}
	}
	text := fmt.Sprintf("%d/%d members healthy", healthy, len(h.Etcd.Members))
	if unknown > 0 {
		text += fmt.Sprintf(", %d not known here", unknown)
	}
	return text
}
