package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// withoutIssuer makes a node's certificate one that nothing there can sign.
func withoutIssuer(n *inventory.Node, name string) *inventory.Certificate {
	for i := range n.Certificates {
		if c := &n.Certificates[i]; c.Name == name {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			c.Reason = "the key of its CA is not here"
			return c
		}
	}
	panic(name)
}

func targetNames(p plan.Plan) []string {
	var out []string
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			out = append(out, s.Node+"/"+t.Name)
		}
	}
	return out
}

func TestACertificateWithoutIssuerIsLeftOutAndTheOthersAreRenewed(t *testing.T) {
	n := controlPlane("cp1")
	n.Certificates = append(n.Certificates, newPair(certs.KubeAPIServer, "apiserver-etcd-client", "/pki"))
	end := now.Add(time.Hour)
	withoutIssuer(&n, "apiserver-etcd-client").NotAfter = end
	p := buildPlan(t, newRequest(certs.KubeAPIServer, certs.Kubelet), n, newWorker("w1"))
	assert.Equal(t, []plan.LeftOut{{
		Node: "cp1", Service: certs.KubeAPIServer, Name: "apiserver-etcd-client", Path: "/pki/apiserver-etcd-client.crt",
		NotAfter: end, Reason: "the key of its CA is not here",
	}}, p.LeftOut)
	assert.Equal(t, []string{"cp1/apiserver", "cp1/kubelet-client", "w1/kubelet-client"}, targetNames(p))
	assert.Equal(t, []certs.Service{certs.Kubelet, certs.KubeAPIServer}, p.AllSteps()[0].Restarts)
}

func TestAServiceOfWhichAllIsLeftOutIsNoPartOfTheStep(t *testing.T) {
	n := controlPlane("cp1")
	withoutIssuer(&n, "etcd-server")
	withoutIssuer(&n, "etcd-peer")
	p := buildPlan(t, newRequest(certs.Etcd, certs.Kubelet), n)
	assert.Equal(t, []plan.Service{{Service: certs.Kubelet}}, p.AllSteps()[0].Services)
	assert.Len(t, p.LeftOut, 2)

	p = buildPlan(t, newRequest(certs.Etcd), n, controlPlane("cp2"))
	assert.Equal(t, []string{"cp2/etcd-server", "cp2/etcd-peer"}, targetNames(p), "the other node is done")
}

func TestAPlanWithEverythingLeftOutIsRefused(t *testing.T) {
	n := controlPlane("cp1")
	withoutIssuer(&n, "etcd-server")
	n.Certificates[1].Status = certs.Invalid
	n.Certificates[1].Reason = "the key does not fit the certificate"
	_, err := plan.BuildPlan([]inventory.Node{n}, newRequest(certs.Etcd), nil)
	require.EqualError(t, err, `2 certificates in scope cannot be renewed, so nothing was changed:
  cp1: etcd-server "/pki/etcd/etcd-server.crt": the key of its CA is not here
  cp1: etcd-peer "/pki/etcd/etcd-peer.crt": the key does not fit the certificate`)
	var refused *plan.RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "cp1", refused.Problems[0].Node)

	_, err = plan.BuildPlan([]inventory.Node{n}, newRequest(certs.Etcd, certs.KubeProxy), nil)
	require.ErrorAs(t, err, &refused, "a service without certificates is nothing that remains")
}

func TestRequireAllRefusesAPlanWithLeftOutCertificates(t *testing.T) {
	n := controlPlane("cp1")
	withoutIssuer(&n, "etcd-peer")
	n.NotInspected = []inventory.NotInspected{{Service: certs.Etcd, Path: "/etc/etcd.conf", Reason: "permission denied"}}
	req := newRequest(certs.Etcd, certs.KubeAPIServer)
	req.RequireAll = true
	_, err := plan.BuildPlan([]inventory.Node{n}, req, nil)
	require.EqualError(t, err, `2 certificates in scope cannot be renewed, so nothing was changed:
  cp1: etcd-peer "/pki/etcd/etcd-peer.crt": the key of its CA is not here
  cp1: "/etc/etcd.conf": permission denied`)

	n.NotInspected[0].Informational = true
	n.Certificates[1].Issuer.Kind = inventory.LocalCA
	assert.Len(t, buildPlan(t, req, n).AllSteps()[0].Targets, 3)
	req.RequireAll = false
	assert.Equal(t, newRequest(certs.Etcd, certs.KubeAPIServer).ScopeText(), req.ScopeText(), "it is the same rotation")
}

func TestAlreadyRenewedCertificatesAreNotLeftOut(t *testing.T) {
	n := controlPlane("cp1")
	withoutIssuer(&n, "etcd-peer")
	done := n.Certificates[0]
	unfinished := &plan.Unfinished{ID: "a", Renewed: map[string]map[string]inventory.Renewal{"cp1": {done.ID(): {ID: done.ID(), New: done.Facts}}}}
	p, err := plan.BuildPlan([]inventory.Node{n}, newRequest(certs.Etcd), unfinished)
	require.NoError(t, err, "it has to come to its end")
	assert.True(t, p.AllSteps()[0].IsIdle())
	assert.Len(t, p.LeftOut, 1)
}

// TestNoComponentIsRestartedThatCouldNotStart: it still uses the certificate that it has
// loaded.
func TestNoComponentIsRestartedThatCouldNotStart(t *testing.T) {
	for name, breaks := range map[string]func(*inventory.Certificate){
		"unreadable":   func(c *inventory.Certificate) { c.FingerprintSHA256 = ""; c.Reason = "no PEM block" },
		"does not fit": func(c *inventory.Certificate) { c.Status = certs.Invalid; c.Reason = "the key does not fit" },
		"of an expired CA, client of etcd": func(c *inventory.Certificate) {
			c.Status = certs.Invalid
			c.BrokenChain = true
			c.Client = &inventory.Client{Kind: inventory.ToEtcd}
		},
		"expired, client": func(c *inventory.Certificate) {
			c.Status = certs.Expired
			c.Client = &inventory.Client{Kind: inventory.ToEtcd}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := controlPlane("cp1")
			n.Certificates = append(n.Certificates, newPair(certs.KubeAPIServer, "apiserver-etcd-client", "/pki"))
			breaks(withoutIssuer(&n, "apiserver-etcd-client"))
			req := newRequest(certs.KubeAPIServer, certs.Kubelet)
			p := buildPlan(t, req, n)
			assert.Equal(t, []string{"cp1/kubelet-client"}, targetNames(p))
			assert.Equal(t, []certs.Service{certs.Kubelet}, p.AllSteps()[0].Restarts)
			require.Len(t, p.LeftOut, 2)
			assert.Contains(t, p.LeftOut[0].Reason, `kube-apiserver would have to restart, and could not start with apiserver-etcd-client "/pki/apiserver-etcd-client.crt": `)
			for _, policy := range []plan.RestartPolicy{plan.RestartIfNeeded, plan.RestartNever} {
				req.Restart = policy
				assert.Equal(t, []string{"cp1/apiserver", "cp1/kubelet-client"}, targetNames(buildPlan(t, req, n)), policy)
			}
		})
	}
	n := controlPlane("cp1")
	n.Certificates = append(n.Certificates, newPair(certs.KubeAPIServer, "apiserver-sni", "/pki"))
	withoutIssuer(&n, "apiserver-sni").Status = certs.Expired
	assert.Equal(t, []string{"cp1/apiserver"}, targetNames(buildPlan(t, newRequest(certs.KubeAPIServer), n)), "it starts with an expired serving certificate")
}

func TestUnrestartableComponentIsLeftOutUnlessRestartNever(t *testing.T) {
	n := controlPlane("cp1")
	for i := range n.Components {
		n.Components[i].Runtime = inventory.None
		n.Components[i].PID = 300
		n.Components[i].Note = "was started by OpenRC"
	}
	n.Certificates[0].Served = []inventory.Served{{Address: "127.0.0.1:2379"}}
	n.Certificates = append(n.Certificates, newPair(certs.Etcd, "etcd-healthcheck-client", "/pki/etcd"), newPair(certs.Admin, "admin.conf", "/etc/kubernetes"))
	req := newRequest(certs.Services()...)
	for policy, want := range map[plan.RestartPolicy][]string{
		plan.RestartAlways:   {"cp1/etcd-healthcheck-client", "cp1/admin.conf"},
		plan.RestartIfNeeded: {"cp1/etcd-server", "cp1/etcd-healthcheck-client", "cp1/admin.conf"},
		plan.RestartNever:    {"cp1/etcd-server", "cp1/etcd-peer", "cp1/etcd-healthcheck-client", "cp1/kubelet-client", "cp1/apiserver", "cp1/admin.conf"},
	} {
		req.Restart = policy
		p := buildPlan(t, req, n)
		assert.ElementsMatch(t, want, targetNames(p), policy)
		assert.Empty(t, p.AllSteps()[0].Restarts)
	}
	req.Restart = plan.RestartAlways
	left := buildPlan(t, req, n).LeftOut
	assert.Equal(t, "etcd: was started by OpenRC; nothing here can restart it; use --restart=if-needed: etcd reads this pair on every handshake", left[0].Reason)
	assert.Equal(t, "etcd: was started by OpenRC; nothing here can restart it; use --restart=never and restart it yourself", left[1].Reason,
		"it is not known to serve it, so nothing would show that it does")
}

func TestCertificatesOfADistributionAreAlwaysLeftOut(t *testing.T) {
	n := controlPlane("cp1")
	n.Components[0].Runtime = inventory.Supervised
	n.Components[0].Unit = "k0scontroller.service"
	const reason = "k0s manages this certificate: restart k0scontroller.service"
	for i := range n.Certificates {
		if c := &n.Certificates[i]; c.Service == certs.Etcd {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			c.Reason = reason
		}
	}
	for _, policy := range []plan.RestartPolicy{plan.RestartAlways, plan.RestartIfNeeded, plan.RestartNever} {
		req := newRequest(certs.Etcd, certs.Kubelet)
		req.Restart = policy
		p := buildPlan(t, req, n)
		assert.Equal(t, []string{"cp1/kubelet-client"}, targetNames(p), policy)
		assert.Len(t, p.LeftOut, 2)
		assert.NotContains(t, p.AllSteps()[0].Restarts, certs.Etcd)
		assert.Equal(t, reason, p.LeftOut[0].Reason)
	}
}

func TestUnknownSupervisorAllowsOnlyReplacementWithoutRestart(t *testing.T) {
	n := controlPlane("cp1")
	n.Components[0].Runtime = inventory.Supervised
	n.Components[0].Unit = "acme.service"
	for policy, left := range map[plan.RestartPolicy]int{plan.RestartAlways: 2, plan.RestartNever: 0} {
		req := newRequest(certs.Etcd, certs.Kubelet)
		req.Restart = policy
		p := buildPlan(t, req, n)
		assert.Len(t, p.LeftOut, left, policy)
		assert.NotContains(t, p.AllSteps()[0].Restarts, certs.Etcd)
	}
}

// TestARunningComponentWhoseSupervisorCannotBeReachedIsLeftOut: if it does not run, its files
// are renewed.
func TestARunningComponentWhoseSupervisorCannotBeReachedIsLeftOut(t *testing.T) {
	n := controlPlane("cp1")
	n.CRISocket = ""
	n.DBusSocket = ""
	req := newRequest(certs.Etcd, certs.Kubelet)
	assert.Len(t, targetNames(buildPlan(t, req, n)), 3)
	n.Components[2].PID = 300
	p := buildPlan(t, req, n)
	assert.Equal(t, []string{"cp1/etcd-server", "cp1/etcd-peer"}, targetNames(p))
	assert.Contains(t, p.LeftOut[0].Reason, "there is no D-Bus socket; nothing here can restart it; use --restart=never")
	n.Components[0].PID = 400
	req.Services = certs.Services()
	assert.Equal(t, []string{"cp1/apiserver"}, targetNames(buildPlan(t, req, n)))
}

// TestAnInterruptedNodeIsNotLeftOut: the node is part of the plan, since its next
// process restores the old pair first.
func TestAnInterruptedNodeIsNotLeftOut(t *testing.T) {
	n := controlPlane("cp1")
	n.Certificates[1].Status = certs.Invalid
	n.Certificates[1].Reason = "the key does not fit the certificate"
	n.Rotations = []inventory.NodeRotation{{ID: "a", State: inventory.Committing}}
	p := buildPlan(t, newRequest(certs.Etcd), n)
	assert.Equal(t, []string{"cp1/etcd-server", "cp1/etcd-peer"}, targetNames(p))
	assert.Empty(t, p.LeftOut)
	n.Rotations[0].State = inventory.RolledBack
	_, err := plan.BuildPlan([]inventory.Node{n}, newRequest(certs.Etcd), nil)
	require.ErrorContains(t, err, "does not fit")
}

// TestARestartThatIsDueAnywayIsNoHotReload: a component with an expiring certificate in memory
// is restarted with if-needed as well.
func TestARestartThatIsDueAnywayIsNoHotReload(t *testing.T) {
	n := controlPlane("cp1")
	n.Time = now
	n.Certificates = append(n.Certificates, newPair(certs.KubeAPIServer, "front-proxy-client", "/pki"))
	c := withoutIssuer(&n, "front-proxy-client")
	c.FingerprintSHA256 = ""
	c.Reason = "no PEM block"
	req := newRequest(certs.KubeAPIServer, certs.Kubelet)
	req.Restart = plan.RestartIfNeeded
	assert.Equal(t, []string{"cp1/apiserver", "cp1/kubelet-client"}, targetNames(buildPlan(t, req, n)))
	n.InMemory = []inventory.InMemory{{Service: certs.KubeAPIServer, Name: "apiserver-loopback-client", Facts: certs.Facts{NotBefore: now.Add(-300 * 24 * time.Hour), NotAfter: now.Add(65 * 24 * time.Hour)}}}
	p := buildPlan(t, req, n)
	assert.Equal(t, []string{"cp1/kubelet-client"}, targetNames(p))
	assert.NotContains(t, p.AllSteps()[0].Restarts, certs.KubeAPIServer)
}

func TestACompromisedKeyThatWouldBeKeptIsLeftOut(t *testing.T) {
	n := controlPlane("cp1")
	n.Certificates[2].KeyUses = []inventory.KeyUse{{Kind: inventory.ServiceAccountKey, Service: certs.KubeAPIServer, Setting: "--service-account-key-file", Path: "/pki/apiserver.key"}}
	req := newRequest(certs.KubeAPIServer, certs.Kubelet)
	assert.Empty(t, buildPlan(t, req, n).LeftOut)
	req.Compromised = true
	p := buildPlan(t, req, n)
	assert.Equal(t, []string{"cp1/kubelet-client"}, targetNames(p))
	assert.Equal(t, "its key also signs or verifies ServiceAccount tokens (--service-account-key-file of kube-apiserver), so a renewal keeps it: replace the key by hand", p.LeftOut[0].Reason)
}

func TestASharedCertificateIsLeftOutOnce(t *testing.T) {
	n := controlPlane("cp1")
	n.Certificates = []inventory.Certificate{newPair(certs.Etcd, "kubernetes", "/pki", certs.KubeAPIServer), newPair(certs.Kubelet, "kubelet-client", "/kubelet")}
	withoutIssuer(&n, "kubernetes")
	assert.Len(t, buildPlan(t, newRequest(certs.Services()...), n).LeftOut, 1)
}

// TestServingCertificateOfAnOldCABlocksNoClient: a kubelet starts with it, and clients that verify it
// refuse it before the restart as well. Of etcd and API servers a restart breaks connections that
// could not be made again.
func TestServingCertificateOfAnOldCABlocksNoClient(t *testing.T) {
	for service, want := range map[certs.Service]int{certs.Kubelet: 1, certs.KubeAPIServer: 0} {
		n := controlPlane("cp1")
		n.Certificates = append(n.Certificates, newPair(service, "serving", "/pki"))
		c := withoutIssuer(&n, "serving")
		c.Status = certs.Invalid
		c.BrokenChain = true
		c.Served = []inventory.Served{{Address: "127.0.0.1:10250"}}
		p, _ := plan.BuildPlan([]inventory.Node{n}, newRequest(service), nil) // refused where none is renewed
		assert.Len(t, targetNames(p), want, service)
	}
}
