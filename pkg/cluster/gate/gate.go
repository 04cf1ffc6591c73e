// Package gate has the checks before a control-plane node is touched, as pure functions, and the
// choice of the next node. What refuses a node: [CheckHealth] (etcd and API servers),
// [CheckCoverage] (a control-plane node did not answer) and, without the cluster's lock,
// [CheckMembers]; what refuses the start: [CheckClocks]. [HealthWarnings] refuses nothing.
package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// MaxRaftLag is by how many entries of the raft log a member may be behind its leader. Members
// are probed one after the other, so a busy cluster shows some hundreds. At 5,000 etcd refuses
// requests ("too many requests") and soon has to send a snapshot; a member that far behind
// does not support a quorum.
const MaxRaftLag = 1000

// Limits of the size of an etcd database, in percent of its quota. At 100 it raises NOSPACE
// and refuses every write, including those of the Leases and signing requests that a rotation
// needs.
const (
	warnFull   = 80
	refuseFull = 95
)

// Finding is a reason not to touch a control-plane node.
type Finding struct {
	// Key identifies the finding without the details that change from one scan to the next
	// (numbers, texts of errors).
	Key  string
	Text string
}

// quorum begins the key of a finding about one node only.
const quorum = "quorum without "

// AboutNext is true if the finding is about the next node, as opposed to the state of the
// cluster.
func (f Finding) AboutNext() bool { return strings.HasPrefix(f.Key, quorum) }

// memberKey begins the keys of findings about a member of etcd.
func memberKey(m inventory.Member) string { return fmt.Sprintf("etcd member %x", m.ID) }

// AboutMember is true if the finding is about a member of etcd.
func (f Finding) AboutMember(m inventory.Member) bool {
	return strings.HasPrefix(f.Key, memberKey(m)+" ")
}

// findings collects findings, each key once.
type findings []Finding

func (f *findings) addOnce(key, format string, args ...any) {
	if !slices.ContainsFunc(*f, func(other Finding) bool { return other.Key == key }) {
		*f = append(*f, Finding{key, fmt.Sprintf(format, args...)})
	}
}

// CheckHealth returns the reasons not to take the named control-plane node down now; empty: it
// may be touched. healths are the observations of each control-plane node; next is the node
// about to be restarted ("" to check the cluster as it is).
//
// Every etcd member must be started, healthy by its own answer, no learner, at most
// [MaxRaftLag] entries behind its leader, in the log and in its database; all must have one
// leader and one term; no alarm may be raised and no database be nearly full; and the quorum
// must remain without the next node. Clusters of one or two members cannot keep their quorum
// while one restarts: their health is enough. External etcd is checked likewise, but its
// quorum does not depend on our nodes. Unknown health counts as not healthy.
func CheckHealth(healths []inventory.Health, next string) []Finding {
	var out findings
	own := ownAnswers(healths)
	for _, h := range healths {
		switch p := h.APIServer; {
		case p == nil || p.Healthy:
		case p.Unasked:
			out.addOnce("API server of "+h.Node+" unknown", "%s: it is not known whether the API server is ready: %s", h.Node, p.Message)
		default:
			out.addOnce("API server of "+h.Node, "%s: API server is not ready: %s", h.Node, p.Message)
		}
		if h.Etcd != nil {
			h.Etcd = own.fillMembers(h.Etcd)
			gateEtcd(h, next, &out)
		}
	}
	return out
}

// HealthWarnings returns conditions that do not block a rotation yet, but will soon.
func HealthWarnings(healths []inventory.Health) []string {
	var out findings
	for _, h := range healths {
		if h.Etcd == nil {
			continue
		}
		for _, m := range h.Etcd.Members {
			if m.AnsweredBy != 0 {
				out.addOnce(fmt.Sprint("address of ", m.ID), "the health of etcd member %q is known on its own node only: %s", m.Name, strings.TrimPrefix(m.Error, "unknown: "))
			}
			if full := percentFull(m); full >= warnFull && full < refuseFull {
				out.addOnce(fmt.Sprint(m.ID), "the database of etcd member %q is %d%% of its quota of %d MiB; from %d%% on no rotation starts",
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

// NextNode chooses the next control-plane node among those remaining, in plan order: the etcd
// leader last, so that leadership moves at most once.
func NextNode(remaining []string, healths []inventory.Health) string {
	for _, name := range remaining {
		if !leadsEtcd(name, healths) {
			return name
		}
	}
	return remaining[0]
}

func leadsEtcd(node string, healths []inventory.Health) bool {
	for _, h := range healths {
		if h.Node == node && h.Etcd != nil && h.Etcd.LocalID != 0 {
			return h.Etcd.LeaderID == h.Etcd.LocalID
		}
	}
	return false
}

// MemberSummary summarises etcd for a progress line: "3/3 members healthy"; empty without
// etcd.
func MemberSummary(h inventory.Health) string {
	if h.Etcd == nil || h.Etcd.Error != "" {
		return ""
	}
	healthy := 0
	unknown := 0
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
