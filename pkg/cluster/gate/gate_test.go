package gate_test

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/stretchr/testify/assert"
)

// healthy is a cluster of n members as each of them sees it; cp1 leads.
func healthy(n int) []inventory.Health {
	var members []inventory.Member
	for i := 1; i <= n; i++ {
		members = append(members, inventory.Member{ID: uint64(i), Name: name(i), Healthy: true})
	}
	var out []inventory.Health
	for i := 1; i <= n; i++ {
		e := inventory.Etcd{LeaderID: 1, LocalID: uint64(i), Members: append([]inventory.Member(nil), members...)}
		out = append(out, inventory.Health{Node: name(i), Etcd: &e, APIServer: &inventory.Probe{Healthy: true}})
	}
	return out
}

func name(i int) string { return "cp" + string(rune('0'+i)) }

func TestGate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members int
		next    string
		change  func(h []inventory.Health)
		want    string // "" : go ahead
	}{
		{"healthy", 3, "cp2", nil, ""},
		{"one member cannot keep its quorum, health is enough", 1, "cp1", nil, ""},
		{"two members likewise", 2, "cp2", nil, ""},
		{"API server down", 3, "", func(h []inventory.Health) {
			h[2].APIServer = &inventory.Probe{Message: "connection refused"}
		}, "cp3: API server is not ready: connection refused"},
		{"no leader", 3, "", func(h []inventory.Health) { h[0].Etcd.LeaderID = 0 }, "cp1: etcd has no leader"},
		{"learner", 3, "", func(h []inventory.Health) { h[0].Etcd.Members[2].Learner = true }, `etcd member "cp3" is a learner`},
		{"never started", 3, "", func(h []inventory.Health) { h[0].Etcd.Members[2].Name = "" }, "etcd member 3 never started"},
		{"alarm", 3, "", func(h []inventory.Health) { h[0].Etcd.Alarms = []string{"NOSPACE on cp1"} }, "etcd alarm: NOSPACE on cp1"},
		{"unhealthy member", 3, "", func(h []inventory.Health) {
			h[0].Etcd.Members[1].Healthy, h[0].Etcd.Members[1].Error = false, "deadline exceeded"
		}, `etcd member "cp2" is not healthy: deadline exceeded`},
		{"etcd does not answer", 3, "", func(h []inventory.Health) { h[1].Etcd = &inventory.Etcd{Error: "refused"} }, "cp2: etcd does not answer: refused"},
		{"next would cost the quorum", 3, "cp1", func(h []inventory.Health) {
			h[0].Etcd.Members[2].Healthy = false
		}, "etcd would lose its quorum without cp1: 2 of 3 members are healthy"},
		{"a member that lags", 3, "", func(h []inventory.Health) { lagging(h, gate.MaxRaftLag+1) },
			`etcd member "cp3" is 1001 entries behind its leader (1000 are fine)`},
		{"a busy cluster", 3, "", func(h []inventory.Health) { lagging(h, gate.MaxRaftLag) }, ""},
		{"a database all but full", 3, "", func(h []inventory.Health) { full(h, 1946) },
			`the database of etcd member "cp2" is 95% of its quota of 2048 MiB: at 100% it refuses every write; compact and defragment it`},
		{"a database that fills up", 3, "", func(h []inventory.Health) { full(h, 1700) }, ""},
		{"a quota that is not known", 3, "", func(h []inventory.Health) { full(h, 9000); h[0].Etcd.Members[1].DBQuota = 0 }, ""},
		{"a member whose database lags", 3, "", func(h []inventory.Health) {
			lagging(h, 0)
			h[0].Etcd.Members[1].RaftAppliedIndex = 50000 - gate.MaxRaftLag - 1
		}, `etcd member "cp2" has 1001 entries of the raft log still to apply to its database (1000 are fine)`},
		{"the leader's database lags", 3, "", func(h []inventory.Health) {
			lagging(h, 0)
			h[0].Etcd.Members[0].RaftAppliedIndex = 2
		}, `etcd member "cp1" has 49998 entries of the raft log still to apply to its database (1000 are fine)`},
		{"a database that is busy", 3, "", func(h []inventory.Health) {
			lagging(h, 0)
			h[0].Etcd.Members[1].RaftAppliedIndex = 50000 - gate.MaxRaftLag
		}, ""},
		{"another member answers", 3, "", func(h []inventory.Health) {
			m := &h[0].Etcd.Members[2]
			h[2].Etcd = nil
			m.Healthy, m.AnsweredBy, m.Error = false, 1, `unknown: member "cp1" answers at its address 127.0.0.1:2379`
		}, `the health of etcd member "cp3" is unknown: member "cp1" answers at its address 127.0.0.1:2379`},
		{"another member answers, so the quorum is not known", 3, "cp1", func(h []inventory.Health) {
			m := &h[0].Etcd.Members[2]
			h[2].Etcd = nil
			m.Healthy, m.AnsweredBy = false, 1
		}, "etcd would lose its quorum without cp1: 2 of 3 members are healthy"},
		{"members that advertise 127.0.0.1, each known on its own node", 3, "cp2", loopback, ""},
		{"members that advertise 127.0.0.1, one of them down", 3, "cp2", func(h []inventory.Health) {
			loopback(h)
			h[2].Etcd = &inventory.Etcd{Error: "connection refused"}
		}, `the health of etcd member "cp3" is unknown: another answers`},
		{"members that advertise 127.0.0.1, one of which was not asked", 3, "cp2", func(h []inventory.Health) {
			loopback(h)
			h[2].Etcd = nil
		}, "etcd would lose its quorum without cp2: 2 of 3 members are healthy"},
		{"members that advertise 127.0.0.1 and follow two leaders", 3, "cp2", func(h []inventory.Health) {
			loopback(h)
			h[2].Etcd.Members[2].LeaderID = 3
		}, `etcd members do not agree on their leader: "cp1" follows "cp1", "cp3" follows "cp3"`},
		{"members of two leaders", 3, "", func(h []inventory.Health) {
			agreed(h)
			h[0].Etcd.Members[2].LeaderID = 2
		}, `etcd members do not agree on their leader: "cp1" follows "cp1", "cp3" follows "cp2"`},
		{"a leader that is no member", 3, "", func(h []inventory.Health) {
			agreed(h)
			h[0].Etcd.Members[1].LeaderID = 255
		}, `etcd members do not agree on their leader: "cp1" follows "cp1", "cp2" follows ff`},
		{"members of two terms", 3, "", func(h []inventory.Health) {
			agreed(h)
			h[0].Etcd.Members[1].RaftTerm = 8
		}, `etcd members are in different raft terms: "cp1" in 7, "cp2" in 8`},
		{"members that agree", 3, "", agreed, ""},
		{"an API server that cannot be asked", 3, "", func(h []inventory.Health) {
			h[1].APIServer = &inventory.Probe{Unasked: true, Message: "a request without client certificate is not accepted: status 401"}
		}, "cp2: it is not known whether the API server is ready: a request without client certificate is not accepted: status 401"},
		{"no quota", 3, "", func(h []inventory.Health) { full(h, 9000); h[0].Etcd.Members[1].DBQuota = -1 }, ""},
		{"external etcd", 3, "cp1", external, ""},
		{"an unhealthy member of external etcd", 3, "cp1", func(h []inventory.Health) { external(h); h[0].Etcd.Members[1].Healthy = false },
			`etcd member "cp2" is not healthy: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := healthy(tt.members)
			if tt.change != nil {
				tt.change(h)
			}
			problems := gate.CheckHealth(h, tt.next)
			if tt.want == "" {
				assert.Empty(t, problems)
				return
			}
			texts := []string{}
			for _, p := range problems {
				texts = append(texts, p.Text)
			}
			assert.Contains(t, texts, tt.want)
		})
	}
}

// agreed has all members follow cp1, in one term.
func agreed(h []inventory.Health) {
	for _, seen := range h {
		for i := range seen.Etcd.Members {
			seen.Etcd.Members[i].LeaderID, seen.Etcd.Members[i].RaftTerm = 1, 7
		}
	}
}

// loopback has each member answer for all on its node.
func loopback(h []inventory.Health) {
	agreed(h)
	for n, seen := range h {
		for i := range seen.Etcd.Members {
			if i != n {
				m := &seen.Etcd.Members[i]
				*m = inventory.Member{ID: m.ID, Name: m.Name, AnsweredBy: uint64(n + 1), Error: "unknown: another answers"}
			}
		}
	}
}

func lagging(h []inventory.Health, entries uint64) {
	for i := range h[0].Etcd.Members {
		h[0].Etcd.Members[i].RaftIndex = 50000
	}
	h[0].Etcd.Members[2].RaftIndex -= entries
}

func full(h []inventory.Health, mebibytes int64) {
	h[0].Etcd.Members[1].DBSize, h[0].Etcd.Members[1].DBQuota = mebibytes<<20, 2048<<20
}

// external has no member on any of the nodes: nodes of a control plane whose API
// servers use an etcd elsewhere.
func external(h []inventory.Health) {
	for i := range h {
		h[i].Etcd.LocalID = 0
	}
}

// TestKeysOutliveNumbers: a finding that was overridden must be known again when its
// words have changed; one about the next node is none about the cluster.
func TestKeysOutliveNumbers(t *testing.T) {
	before, after := healthy(3), healthy(3)
	lagging(before, 2000)
	lagging(after, 3000)
	a, b := gate.CheckHealth(before, ""), gate.CheckHealth(after, "")
	assert.Len(t, a, 1)
	assert.Equal(t, a[0].Key, b[0].Key)
	assert.NotEqual(t, a[0].Text, b[0].Text)
	assert.False(t, a[0].AboutNext())

	after[0].Etcd.Members[2].Healthy = false
	about := 0
	for _, f := range gate.CheckHealth(after, "cp1") {
		if f.AboutNext() {
			about++
		}
	}
	assert.Equal(t, 1, about, "the quorum without cp1")
}

func TestWarnings(t *testing.T) {
	h := healthy(3)
	assert.Empty(t, gate.HealthWarnings(h))
	full(h, 1700)
	full(h[1:], 1700) // another node says the same
	assert.Equal(t, []string{`the database of etcd member "cp2" is 83% of its quota of 2048 MiB; from 95% on no rotation starts`}, gate.HealthWarnings(h))
	full(h, 2000)
	assert.Len(t, gate.HealthWarnings(h[:1]), 0, "the gate says it")

	h = healthy(2)
	loopback(h)
	assert.Equal(t, []string{
		`the health of etcd member "cp2" is known on its own node only: another answers`,
		`the health of etcd member "cp1" is known on its own node only: another answers`,
	}, gate.HealthWarnings(h))
}

func TestMembers(t *testing.T) {
	h := healthy(3)
	assert.Equal(t, "3/3 members healthy", gate.MemberSummary(h[0]))
	h[0].Etcd.Members[1].Healthy = false
	assert.Equal(t, "2/3 members healthy", gate.MemberSummary(h[0]))
	loopback(h)
	assert.Equal(t, "1/3 members healthy, 2 not known here", gate.MemberSummary(h[0]))
	assert.Empty(t, gate.MemberSummary(inventory.Health{Etcd: &inventory.Etcd{Error: "refused"}}))
}

func TestNextTakesTheLeaderLast(t *testing.T) {
	h := healthy(3)
	assert.Equal(t, "cp2", gate.NextNode([]string{"cp1", "cp2", "cp3"}, h))
	assert.Equal(t, "cp3", gate.NextNode([]string{"cp1", "cp3"}, h))
	assert.Equal(t, "cp1", gate.NextNode([]string{"cp1"}, h))
	assert.Equal(t, "cp1", gate.NextNode([]string{"cp1", "cp2"}, nil), "without etcd, plan order")
}
