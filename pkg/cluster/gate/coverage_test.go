package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func apiServerOn(name, address, health string) inventory.Node {
	return inventory.Node{Name: name, Components: []inventory.Component{{Service: certs.KubeAPIServer, APIServer: address, Health: health}}}
}

func TestPeersAreTheAPIServersThatNoProcessOfOursStandsBeside(t *testing.T) {
	const local = "https://127.0.0.1:6443/readyz"
	behind := apiServerOn("cp4", "127.0.0.1:6443", local)
	behind.Known.Addresses = []string{"fd00::4"}
	nodes := []inventory.Node{
		apiServerOn("cp1", "10.0.0.1:6443", local), apiServerOn("cp2", "10.0.0.2:6443", local), apiServerOn("cp3", "10.0.0.3:6443", ""),
		behind, apiServerOn("cp5", "0.0.0.0:6443", local), {Name: "w1"},
	}
	got := gate.PeersToProbe(nodes, func(node string) bool { return node == "cp1" || node == "cp3" })
	assert.Equal(t, []inventory.Peer{
		{Node: "cp2", Address: "10.0.0.2:6443"}, {Node: "cp3", Address: "10.0.0.3:6443"},
		{Node: "cp4", Address: "[fd00::4]:6443"}, // its own address would reach the probing node itself
	}, got)
}

func TestAPIServerIsReadyWhereOneNodeFindsItReady(t *testing.T) {
	down, up := inventory.Probe{Message: "no route to host"}, inventory.Probe{Healthy: true}
	h := healthy(2)
	h[0].Others = []inventory.PeerHealth{{Node: "cp3", Probe: down}, {Node: "cp4", Probe: down}}
	h[1].Others = []inventory.PeerHealth{{Node: "cp3", Probe: up}, {Node: "cp4", Probe: down}}
	got := gate.WithPeerAnswers(h, []inventory.Peer{{Node: "cp3"}, {Node: "cp4"}, {Node: "cp5"}})
	require.Len(t, got, 4, "of cp5 nothing is known")
	texts := gate.CheckHealth(got, "")
	require.Len(t, texts, 1)
	assert.Equal(t, "cp4: API server is not ready: no route to host", texts[0].Text)
}

func TestWithoutANodeNothingOfItCounts(t *testing.T) {
	h := healthy(3)
	h[0].APIServer = &inventory.Probe{Message: "refused"}
	for i := range h {
		h[i].Etcd.Members[0].Healthy = false
	}
	cp1 := inventory.Node{Name: "cp1", Components: []inventory.Component{{Service: certs.Etcd}}}
	assert.Empty(t, gate.CheckHealth(gate.WithoutNode(h, &cp1), ""))
	assert.NotEmpty(t, gate.CheckHealth(h, ""), "the original is as it was")

	// A member of another name is known by its address.
	for i := range h {
		h[i].Etcd.Members[0].Name = "infra0"
		h[i].Etcd.Members[0].ClientURLs = []string{"https://10.0.0.1:2379"}
	}
	assert.NotEmpty(t, gate.CheckHealth(gate.WithoutNode(h, &cp1), ""))
	cp1.Components[0].ClientURLs = []string{"https://127.0.0.1:2379", "https://10.0.0.1:2379"}
	assert.Empty(t, gate.CheckHealth(gate.WithoutNode(h, &cp1), ""))
	// External etcd is no part of the node.
	external := inventory.Node{Name: "cp1"}
	assert.NotEmpty(t, gate.CheckHealth(gate.WithoutNode(h, &external), ""))
}

func TestClocks(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	at := func(name string, ahead, took time.Duration) inventory.Node {
		return inventory.Node{Name: name, Time: noon.Add(ahead), Scanned: inventory.Scanned{From: noon.Add(-took), To: noon}}
	}
	for name, tt := range map[string]struct {
		nodes []inventory.Node
		want  string // empty: they are fine
	}{
		"equal":                           {[]inventory.Node{at("cp1", 0, time.Second), at("cp2", 0, time.Second)}, ""},
		"within what is tolerated":        {[]inventory.Node{at("cp1", 2*time.Minute, 0), at("cp2", -2*time.Minute, 0)}, ""},
		"two that are apart":              {[]inventory.Node{at("cp1", 3*time.Minute, 0), at("cp2", -3*time.Minute, 0), at("cp3", 0, 0)}, "clocks differ by 6m0s: cp1 is 3m0s ahead, cp2 is 3m0s behind;"},
		"one that is behind":              {[]inventory.Node{at("cp1", 0, 0), at("w1", -time.Hour, 0)}, "clocks differ by 1h0m0s: w1 is 1h0m0s behind;"},
		"ours":                            {[]inventory.Node{at("cp1", time.Hour, 0), at("cp2", time.Hour, 0)}, "this machine is 1h0m0s behind;"},
		"a scan that took long says less": {[]inventory.Node{at("cp1", -5*time.Minute, 3*time.Minute), at("cp2", 0, 0)}, ""},
		"moments that are not known":      {[]inventory.Node{{Name: "cp1", Time: noon}, {Name: "cp2", Time: noon.Add(10 * time.Minute)}}, "cp2 is 10m0s ahead;"},
		"no time at all":                  {[]inventory.Node{{Name: "cp1"}, at("cp2", 0, 0)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := gate.CheckClocks(tt.nodes)
			if tt.want == "" {
				assert.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			assert.Contains(t, found[0].Text, tt.want)
		})
	}
}

func TestMembersOnNoScannedNodeAreFindings(t *testing.T) {
	member := func(id uint64, name, host string) inventory.Member {
		return inventory.Member{ID: id, Name: name, ClientURLs: []string{"https://" + host + ":2379"}}
	}
	members := []inventory.Member{member(1, "one", "10.0.0.11"), member(2, "cp2", "10.0.0.12"), member(3, "three", "10.0.0.13"), member(4, "four", "10.0.0.14")}
	etcd := func(urls ...string) []inventory.Component {
		return []inventory.Component{{Service: certs.Etcd, ClientURLs: urls}}
	}
	nodes := []inventory.Node{
		{Name: "cp1", Components: etcd()}, // its process says which member it is
		{Name: "cp2", Components: etcd()},
		{Name: "cp3", Components: etcd("https://127.0.0.1:2379", "https://10.0.0.13:2379")},
		{Name: "four"}, // a namesake without etcd
	}
	found := gate.CheckMembers(nodes, []inventory.Health{{Node: "cp1", Etcd: &inventory.Etcd{LocalID: 1, Members: members}}, {Node: "cp4"}})
	if len(found) != 1 || !strings.HasPrefix(found[0].Text, `etcd member "four" (https://10.0.0.14:2379) is on none of the hosts`) {
		t.Errorf("%+v", found)
	}
}
