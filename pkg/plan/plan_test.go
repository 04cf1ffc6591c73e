package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func newPair(s certs.Service, name, dir string, usedBy ...certs.Service) inventory.Certificate {
	return inventory.Certificate{
		Service: s, UsedBy: append([]certs.Service{s}, usedBy...), Name: name, Status: certs.OK,
		Facts:  certs.Facts{FingerprintSHA256: "old-" + name},
		Store:  inventory.Store{Kind: inventory.Pair, Cert: dir + "/" + name + ".crt", Key: dir + "/" + name + ".key"},
		Issuer: inventory.Issuer{Kind: inventory.LocalCA},
	}
}

func controlPlane(name string) inventory.Node {
	return inventory.Node{
		Name: name, CRISocket: "/run/cri.sock", DBusSocket: "/run/dbus.sock",
		Components: []inventory.Component{
			{Service: certs.Etcd, Runtime: inventory.StaticPod},
			{Service: certs.KubeAPIServer, Runtime: inventory.StaticPod},
			{Service: certs.Kubelet, Runtime: inventory.Systemd},
			{Service: certs.KubeProxy, Runtime: inventory.DaemonSet, Note: "uses a ServiceAccount token"},
		},
		Certificates: []inventory.Certificate{
			newPair(certs.Etcd, "etcd-server", "/pki/etcd"), newPair(certs.Etcd, "etcd-peer", "/pki/etcd"),
			newPair(certs.KubeAPIServer, "apiserver", "/pki"),
			newPair(certs.Kubelet, "kubelet-client", "/kubelet"),
		},
	}
}

func newWorker(name string) inventory.Node {
	return inventory.Node{
		Name: name, CRISocket: "/run/cri.sock", DBusSocket: "/run/dbus.sock",
		Components:   []inventory.Component{{Service: certs.Kubelet, Runtime: inventory.Systemd}},
		Certificates: []inventory.Certificate{newPair(certs.Kubelet, "kubelet-client", "/kubelet")},
	}
}

func newRequest(services ...certs.Service) plan.Request {
	return plan.Request{Services: services, Restart: plan.RestartAlways}
}

func buildPlan(t *testing.T, req plan.Request, nodes ...inventory.Node) plan.Plan {
	t.Helper()
	p, err := plan.BuildPlan(nodes, req, nil)
	require.NoError(t, err)
	return p
}

func TestControlPlanesOneAWaveThenWorkers(t *testing.T) {
	p := buildPlan(t, newRequest(certs.Kubelet), newWorker("w2"), controlPlane("cp2"), newWorker("w1"), controlPlane("cp1"))
	var waves []string
	for _, w := range p.Waves {
		entry := fmt.Sprint(w.ControlPlane)
		for _, s := range w.Steps {
			entry += " " + s.Node
		}
		waves = append(waves, entry)
	}
	assert.Equal(t, []string{"true cp1", "true cp2", "false w1", "false w2"}, waves)
}

func TestMaxUnavailable(t *testing.T) {
	var workers []inventory.Node
	for i := range 25 {
		workers = append(workers, newWorker(fmt.Sprintf("w%02d", i)))
	}
	for given, first := range map[string]int{"": 2, "10%": 2, "1": 1, "7": 7, "100%": 25, "3%": 1, "400": 25} {
		t.Run(given, func(t *testing.T) {
			req := newRequest(certs.Kubelet)
			req.MaxUnavailable = given
			assert.Len(t, buildPlan(t, req, workers...).Waves[0].Steps, first)
		})
	}
	for _, bad := range []string{"0", "-1", "x", "101%", "%", "1.5"} {
		t.Run(bad, func(t *testing.T) {
			require.ErrorContains(t, plan.ValidateMaxUnavailable(bad), "want a number of workers")
		})
	}
}

func TestStepNamesExactlyWhatItNeeds(t *testing.T) {
	s := buildPlan(t, newRequest(certs.Etcd), controlPlane("cp1")).AllSteps()[0]
	assert.Equal(t, []certs.Service{certs.Etcd}, s.Restarts)
	assert.Len(t, s.Targets, 2)
	assert.Equal(t, []string{plan.UnitDirectory, "/pki/etcd"}, s.Directories, "the kubelet is a unit, so there is a recovery unit")
	assert.Equal(t, "/run/cri.sock", s.CRISocket)
	assert.Empty(t, s.DBusSocket, "no unit is restarted, so no D-Bus")
	assert.True(t, s.Etcd)
}

func TestKubeProxyWithoutCertificateIsNoted(t *testing.T) {
	s := buildPlan(t, newRequest(certs.KubeProxy), controlPlane("cp1")).AllSteps()[0]
	assert.True(t, s.IsIdle())
	assert.Equal(t, []plan.Service{{Service: certs.KubeProxy, NoCertificate: true, Note: "uses a ServiceAccount token"}}, s.Services)
}

func TestSharedPairRestartsBothUsers(t *testing.T) {
	n := controlPlane("cp1")
	n.Certificates = []inventory.Certificate{newPair(certs.Etcd, "kubernetes", "/pki", certs.KubeAPIServer)}
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer} {
		step := buildPlan(t, newRequest(s), n).AllSteps()[0]
		assert.Len(t, step.Targets, 1)
		assert.Equal(t, []certs.Service{certs.Etcd, certs.KubeAPIServer}, step.Restarts)
	}
}

func TestRestartPolicies(t *testing.T) {
	all := newRequest(certs.Etcd, certs.Kubelet, certs.KubeAPIServer)
	for policy, want := range map[plan.RestartPolicy][]certs.Service{
		plan.RestartAlways:   {certs.Etcd, certs.Kubelet, certs.KubeAPIServer},
		plan.RestartIfNeeded: {certs.Kubelet},
		plan.RestartNever:    nil,
	} {
		t.Run(string(policy), func(t *testing.T) {
			all.Restart = policy
			assert.Equal(t, want, buildPlan(t, all, controlPlane("cp1")).AllSteps()[0].Restarts)
		})
	}
}

func TestNothingInScope(t *testing.T) {
	_, err := plan.BuildPlan([]inventory.Node{newWorker("w1")}, newRequest(certs.Etcd), nil)
	require.ErrorIs(t, err, plan.ErrNothing)
}

func TestFindUnfinished(t *testing.T) {
	rotation := func(id, scope string, age time.Duration, state inventory.RotationState) inventory.NodeRotation {
		return inventory.NodeRotation{ID: id, Scope: scope, StartTime: now.Add(-age), State: state}
	}
	on := func(rotations ...[]inventory.NodeRotation) []inventory.Node {
		var nodes []inventory.Node
		for i, r := range rotations {
			nodes = append(nodes, inventory.Node{Name: fmt.Sprintf("n%d", i), Rotations: r})
		}
		return nodes
	}
	type rs = []inventory.NodeRotation
	for _, tt := range []struct {
		name  string
		nodes []inventory.Node
		want  string
	}{
		{"none", on(nil, nil), ""},
		{"half done", on(rs{rotation("a", "s", time.Hour, inventory.Committed)}, nil), "a"},
		{"rolled back on one node", on(rs{rotation("a", "s", time.Hour, inventory.RolledBack)}), "a"},
		{"finished, as one node remembers", on(rs{rotation("a", "s", time.Hour, inventory.Committed)}, rs{rotation("a", "s", time.Hour, inventory.Finished)}), ""},
		{"other scope", on(rs{rotation("a", "t", time.Hour, inventory.Committed)}), ""},
		{"a day old", on(rs{rotation("a", "s", 25*time.Hour, inventory.Committed)}), ""},
		{"the newest", on(rs{rotation("a", "s", 2*time.Hour, inventory.Committed), rotation("b", "s", time.Hour, inventory.Staged)}), "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := plan.FindUnfinished(tt.nodes, "s", now, "")
			if tt.want == "" {
				assert.Nil(t, found)
				return
			}
			require.NotNil(t, found)
			assert.Equal(t, tt.want, found.ID)
		})
	}
}

// TestAKnownRotationIsContinuedWhateverItsAge: for example one that was suspended for days.
func TestAKnownRotationIsContinuedWhateverItsAge(t *testing.T) {
	nodes := []inventory.Node{{Name: "cp1", Rotations: []inventory.NodeRotation{
		{ID: "a", Scope: "t", StartTime: now.Add(-100 * time.Hour), State: inventory.Committed},
		{ID: "b", Scope: "s", StartTime: now.Add(-time.Hour), State: inventory.Committed},
		{ID: "c", Scope: "s", StartTime: now.Add(-time.Hour), State: inventory.Finished}}}}
	found := plan.FindUnfinished(nodes, "s", now, "a")
	require.NotNil(t, found)
	assert.Equal(t, "a", found.ID)
	assert.True(t, found.IsDone("cp1"))
	assert.Nil(t, plan.FindUnfinished(nodes, "s", now, "c"), "it is finished")
	assert.Nil(t, plan.FindUnfinished(nodes, "s", now, "d"), "no node knows it")
}

// TestUnverifiedCertificatesAreNotDone: new certificates that stayed where the old ones had expired.
func TestUnverifiedCertificatesAreNotDone(t *testing.T) {
	for unverified, done := range map[bool]bool{false: true, true: false} {
		nodes := []inventory.Node{{Name: "cp1", Rotations: []inventory.NodeRotation{
			{ID: "a", Scope: "s", StartTime: now, State: inventory.Committed, Unverified: unverified, Renewed: []inventory.Renewal{{ID: "etcd/etcd-peer@/x"}}}}}}
		found := plan.FindUnfinished(nodes, "s", now, "")
		require.NotNil(t, found)
		assert.Equal(t, done, found.IsDone("cp1"))
		assert.Equal(t, done, len(found.RenewedOn("cp1")) == 1)
	}
}

func TestScopeDoesNotDependOnOrder(t *testing.T) {
	a := plan.Request{Services: []certs.Service{certs.Etcd, certs.Kubelet}, Nodes: []string{"b", "a"}}
	b := plan.Request{Services: []certs.Service{certs.Kubelet, certs.Etcd}, Nodes: []string{"a", "b"}}
	assert.Equal(t, a.ScopeText(), b.ScopeText())
	assert.NotEqual(t, a.ScopeText(), plan.Request{Services: a.Services}.ScopeText())
}

func TestMissingKubeconfigIsAFinding(t *testing.T) {
	n := newWorker("w1")
	n.Components = append(n.Components, inventory.Component{Service: certs.KubeScheduler, Runtime: inventory.StaticPod})
	n.NotInspected = []inventory.NotInspected{{Service: certs.KubeScheduler, Path: "/etc/kubernetes/scheduler.conf", Reason: "no such file"}}
	p := buildPlan(t, newRequest(certs.Kubelet, certs.KubeScheduler), n)
	require.Len(t, p.NotInspected, 1, "it is reported")
	assert.Equal(t, "w1", p.NotInspected[0].Node)
	assert.Equal(t, "what it uses could not be inspected: no such file", p.AllSteps()[0].Services[1].Note, "and not that it has no certificate")
	assert.Len(t, p.AllSteps()[0].Targets, 1, "the others are still renewed")
}

// A control-plane node whose components are not found is no worker.
func TestLabelledNodeIsNoWorker(t *testing.T) {
	for _, known := range []inventory.Known{{ControlPlane: true}, {Etcd: true}} {
		n := newWorker("cp1")
		n.Known = known
		p := buildPlan(t, newRequest(certs.Kubelet), n, newWorker("w1"))
		require.Len(t, p.Waves, 2)
		assert.True(t, p.Waves[0].ControlPlane)
		assert.Equal(t, "cp1", p.Waves[0].Steps[0].Node)
	}
}
