package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// recoveryNode is a control-plane node with a certificate of each status, and a kube-proxy without
// one.
func recoveryNode(name string, statuses ...certs.Status) inventory.Node {
	now := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	n := inventory.Node{Name: name, Time: now, CRISocket: "/run/cri.sock", DBusSocket: "/run/dbus.sock"}
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.KubeScheduler, certs.KubeProxy} {
		n.Components = append(n.Components, inventory.Component{Service: s, Runtime: inventory.StaticPod})
	}
	n.Components = append(n.Components, inventory.Component{Service: certs.Kubelet, Runtime: inventory.Systemd})
	ends := map[certs.Status]time.Time{certs.Expired: now.Add(-time.Hour), certs.Expiring: now.Add(time.Hour), certs.OK: now.Add(9000 * time.Hour)}
	for i, status := range statuses {
		service := []certs.Service{certs.KubeScheduler, certs.KubeAPIServer, certs.Etcd}[i]
		n.Certificates = append(n.Certificates, inventory.Certificate{
			Service: service, UsedBy: []certs.Service{service}, Name: string(service), Status: status,
			Facts:  certs.Facts{FingerprintSHA256: string(service), NotAfter: ends[status]},
			Store:  inventory.Store{Kind: inventory.Pair, Cert: "/pki/" + string(service) + ".crt", Key: "/pki/" + string(service) + ".key"},
			Issuer: inventory.Issuer{Kind: inventory.LocalCA},
		})
	}
	return n
}

func TestRecoveryRenewsWhatHasExpired(t *testing.T) {
	all := []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer, certs.KubeProxy, certs.KubeScheduler}
	for name, tc := range map[string]struct {
		statuses []certs.Status // of scheduler, API server, etcd
		renews   []string
		restarts []certs.Service
	}{
		"nothing has": {[]certs.Status{certs.OK, certs.Expiring, certs.OK}, nil, nil},
		"the scheduler's, for which nothing waits": {[]certs.Status{certs.Expired, certs.OK, certs.OK}, []string{"kube-scheduler"}, []certs.Service{certs.KubeScheduler}},
		"and what expires soon beside it":          {[]certs.Status{certs.Expired, certs.OK, certs.Expiring}, []string{"etcd", "kube-scheduler"}, []certs.Service{certs.Etcd, certs.KubeScheduler}},
		"etcd's, and all wait for it":              {[]certs.Status{certs.OK, certs.OK, certs.Expired}, []string{"etcd"}, all},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := []inventory.Node{recoveryNode("cp1", tc.statuses...), recoveryNode("cp2", certs.OK, certs.OK, certs.OK)}
			p, err := BuildPlan(nodes, Request{Services: certs.Services(), Restart: RestartAlways, MaxUnavailable: "100%", Recover: true}, nil)
			if tc.renews == nil {
				require.ErrorIs(t, err, ErrNothing)
				return
			}
			require.NoError(t, err)
			steps := p.AllSteps()
			require.Len(t, steps, 1, "cp2 is not touched")
			var renews []string
			for _, target := range steps[0].Targets {
				renews = append(renews, target.Name)
			}
			assert.ElementsMatch(t, tc.renews, renews)
			assert.ElementsMatch(t, tc.restarts, steps[0].Restarts)
		})
	}
}

func TestRecoveryIsKnownByItsScope(t *testing.T) {
	for _, request := range []Request{
		{Services: certs.Services(), Recover: true},
		{Services: certs.Services(), Recover: true, Nodes: []string{"cp1", "w1"}},
	} {
		now := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
		n := inventory.Node{Name: "cp1", Rotations: []inventory.NodeRotation{{ID: "7f3c2a", Scope: request.ScopeText(), StartTime: now, State: inventory.Committed}}}
		found := RotationsOf([]inventory.Node{n}, false, now)
		require.Len(t, found, 1)
		assert.True(t, found[0].Recover)
		assert.True(t, found[0].Continued, "the same command continues it")
		assert.Equal(t, "recover", found[0].CommandArgs())
		assert.Equal(t, request.Nodes, found[0].Only)
		assert.NotEqual(t, request.ScopeText(), Request{Services: certs.Services(), Nodes: request.Nodes}.ScopeText(), "a rotation of all is another one")
	}
}

// TestNodeWithoutComponentsIsNotDone: the reasons why nothing was found on it are part of every
// plan.
func TestNodeWithoutComponentsIsNotDone(t *testing.T) {
	stopped := inventory.Node{Name: "w1", NotInspected: []inventory.NotInspected{{Reason: "k3s.service of K3s runs no component"}, {Reason: "by design", Informational: true}}}
	for _, recovers := range []bool{true, false} {
		req := Request{Services: certs.Services(), Restart: RestartAlways, MaxUnavailable: "100%", Recover: recovers}
		p, err := BuildPlan([]inventory.Node{recoveryNode("cp1", certs.Expired), stopped}, req, nil)
		require.NoError(t, err)
		assert.Equal(t, []NotInspected{NotInspectedOn("w1", stopped.NotInspected[0])}, p.NotInspected)
		assert.Equal(t, 1, p.NotDone(req))
		_, err = BuildPlan([]inventory.Node{stopped}, req, nil)
		require.ErrorContains(t, err, "w1: k3s.service of K3s runs no component")
	}
}
