package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestRotationsOf(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	scope := Request{Services: []certs.Service{certs.Etcd}}.ScopeText()
	part := func(node, id, scope string, ago time.Duration, state inventory.RotationState) inventory.Node {
		return inventory.Node{Name: node, Rotations: []inventory.NodeRotation{
			{ID: id, Scope: scope, StartTime: now.Add(-ago), LastTime: now.Add(time.Minute - ago), State: state}}}
	}
	for name, tt := range map[string]struct {
		states    []inventory.RotationState // of cp1, cp2, …
		partial   bool
		ago       time.Duration
		standing  Standing
		continued bool
	}{
		"done, as one node knows":    {[]inventory.RotationState{inventory.Committed, inventory.Finished}, false, time.Hour, Done, false},
		"interrupted":                {[]inventory.RotationState{inventory.Committed, inventory.Committing}, false, time.Hour, Halfway, true},
		"interrupted too long ago":   {[]inventory.RotationState{inventory.Committed, inventory.Staged}, false, 25 * time.Hour, Halfway, false},
		"no node of the last wave":   {[]inventory.RotationState{inventory.Committed, inventory.Committed}, false, 25 * time.Hour, Renewed, false},
		"its last wave may be due":   {[]inventory.RotationState{inventory.Committed, inventory.Committed}, false, time.Hour, Halfway, true},
		"its last wave is not here":  {[]inventory.RotationState{inventory.Committed, inventory.Committed}, true, time.Hour, Renewed, false},
		"interrupted on nodes here":  {[]inventory.RotationState{inventory.Committed, inventory.Staged}, true, time.Hour, Halfway, true},
		"rolled back":                {[]inventory.RotationState{inventory.Committed, inventory.RolledBack, inventory.Staged}, false, time.Hour, Undone, true},
		"not even staged":            {[]inventory.RotationState{inventory.Failed, inventory.Staged}, false, time.Hour, Unstaged, true},
		"unknown outweighs finished": {[]inventory.RotationState{inventory.Unknown, inventory.Finished}, false, time.Hour, ManualInterventionRequired, false},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []inventory.Node
			for i, s := range tt.states {
				nodes = append(nodes, part("cp"+string(rune('1'+i)), "7f3c2a", scope, tt.ago, s))
			}
			got := RotationsOf(nodes, tt.partial, now)
			require.Len(t, got, 1)
			assert.Equal(t, tt.standing, got[0].Standing)
			assert.Equal(t, tt.continued, got[0].Continued)
			assert.Equal(t, "--service etcd", got[0].CommandArgs())
			assert.Len(t, got[0].Nodes, len(tt.states))
			assert.Equal(t, time.Minute, got[0].Last.Sub(got[0].Start))
		})
	}

	t.Run("newest first", func(t *testing.T) {
		got := RotationsOf([]inventory.Node{part("a", "old", scope, 2*time.Hour, inventory.Finished), part("b", "new", scope, time.Hour, inventory.Finished)}, false, now)
		require.Len(t, got, 2)
		assert.Equal(t, "new", got[0].ID)
	})
}

// TestCommandArgs: a scope of a node's journal becomes part of a command that an operator
// pastes into a shell, or is dropped.
func TestCommandArgs(t *testing.T) {
	for scope, want := range map[string]string{
		Request{Services: certs.Services()}.ScopeText():                                                          "--all",
		Request{Services: []certs.Service{certs.Kubelet, certs.Etcd}, Nodes: []string{"w.2", "cp1"}}.ScopeText(): "--service etcd,kubelet --node cp1,w.2",
		Request{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Compromised: true}.ScopeText():    "--service etcd --node cp1 --compromised",
		"":                               "",
		"services=":                      "",
		"services=etcd;reboot":           "",
		"services=etcd;nodes=$(reboot)":  "",
		"services=etcd;nodes=a,--force":  "",
		"services=etcd;nodes=":           "",
		"nodes=cp1":                      "",
		"services=etcd;nodes=a;nodes=b;": "",
	} {
		got := Past{}
		got.Services, got.Only, got.Compromised = parseScope(scope)
		assert.Equal(t, want, got.CommandArgs(), "%q", scope)
	}
}
