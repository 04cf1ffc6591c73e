// Package policy holds the decisions of a rotation as pure functions over what was
// seen: whether a control-plane node may be touched now, and which one is next.
package policy

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Gate returns what speaks against taking the named control-plane node down now;
// empty means go ahead. healths are what each control-plane node sees, next is the
// node that is about to be restarted ("" to judge the cluster as it is).
//
// Every etcd member must be started, healthy and no learner, one leader known, no
// alarm raised, and the quorum must hold without the next node. Clusters of one or
// two members cannot keep their quorum while one restarts: for them health is enough.
func Gate(healths []inventory.Health, next string) []string {
	var problems []string
	add := func(format string, args ...any) {
		p := fmt.Sprintf(format, args...)
		if !slices.Contains(problems, p) {
			problems = append(problems, p)
		}
	}
	for _, h := range healths {
		if h.APIServer != nil && !h.APIServer.Healthy {
			add("%s: API server is not ready: %s", h.Node, h.APIServer.Message)
		}
		if h.Etcd != nil {
			gateEtcd(h, next, add)
		}
	}
	return problems
}

func gateEtcd(h inventory.Health, next string, add func(string, ...any)) {
	e := h.Etcd
	if e.Error != "" {
		add("%s: etcd does not answer: %s", h.Node, e.Error)
		return
	}
	if e.LeaderID == 0 {
		add("%s: etcd has no leader", h.Node)
	}
	for _, a := range e.Alarms {
		add("etcd alarm: %s", a)
	}
	healthy := 0
	for _, m := range e.Members {
		switch {
		case m.Name == "":
			add("etcd member %x never started", m.ID)
		case m.Learner:
			add("etcd member %q is a learner", m.Name)
		case !m.Healthy:
			add("etcd member %q is not healthy: %s", m.Name, m.Error)
		default:
			healthy++
		}
	}
	// Without the next node: one voter fewer must still be a majority.
	voters := len(e.Members)
	if h.Node == next && e.LocalID != 0 && voters > 2 && healthy-1 < voters/2+1 {
		add("etcd would lose its quorum without %s: %d of %d members are healthy", next, healthy, voters)
	}
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
