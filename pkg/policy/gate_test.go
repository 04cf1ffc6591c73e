package policy_test

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/policy"
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
		{"sick member", 3, "", func(h []inventory.Health) {
			h[0].Etcd.Members[1].Healthy, h[0].Etcd.Members[1].Error = false, "deadline exceeded"
		}, `etcd member "cp2" is not healthy: deadline exceeded`},
		{"etcd does not answer", 3, "", func(h []inventory.Health) { h[1].Etcd = &inventory.Etcd{Error: "refused"} }, "cp2: etcd does not answer: refused"},
		{"next would cost the quorum", 3, "cp1", func(h []inventory.Health) {
			h[0].Etcd.Members[2].Healthy = false
		}, "etcd would lose its quorum without cp1: 2 of 3 members are healthy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := healthy(tt.members)
			if tt.change != nil {
				tt.change(h)
			}
			problems := policy.Gate(h, tt.next)
			if tt.want == "" {
				assert.Empty(t, problems)
				return
			}
			assert.Contains(t, problems, tt.want)
		})
	}
}

func TestNextTakesTheLeaderLast(t *testing.T) {
	h := healthy(3)
	assert.Equal(t, "cp2", policy.Next([]string{"cp1", "cp2", "cp3"}, h))
	assert.Equal(t, "cp3", policy.Next([]string{"cp1", "cp3"}, h))
	assert.Equal(t, "cp1", policy.Next([]string{"cp1"}, h))
	assert.Equal(t, "cp1", policy.Next([]string{"cp1", "cp2"}, nil), "without etcd, plan order")
}
