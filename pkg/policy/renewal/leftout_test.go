package renewal_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

const noKey = "the key of its CA is not here"

// externalEtcd is a cluster whose API servers' client pair for etcd cannot be renewed there,
// as kubeadm documents external etcd. Everything of a node was made on the same day.
func externalEtcd() []renewal.Node {
	nodes := cluster(4)
	for i := range 3 {
		n := &nodes[i]
		c := leaf(certs.KubeAPIServer, "apiserver-etcd-client", 200*day)
		c.Issuer, c.Fingerprint, c.NotRenewable = "CN=etcd-ca", n.Name+"-etcd-client", noKey
		n.Certificates = append(n.Certificates, c)
	}
	return nodes
}

// TestCertificatesThatAnotherNodeSigns are renewable, and the node itself is not changed.
func TestCertificatesThatAnotherNodeSigns(t *testing.T) {
	n := externalEtcd()[0]
	last := len(n.Certificates) - 1
	n.Certificates[last].Authority = "etcd"
	got := n.WithSigners(func(authority string) bool { return authority == "etcd" })
	assert.Empty(t, got.Certificates[last].NotRenewable)
	assert.Equal(t, noKey, n.Certificates[last].NotRenewable)
	assert.Equal(t, noKey, n.WithSigners(func(string) bool { return false }).Certificates[last].NotRenewable)

	n.Authorities = []renewal.Authority{{ID: "etcd", HasKey: true}, {ID: "other"}}
	n.ControlPlane = true
	assert.True(t, n.HasKeyOf("etcd"))
	assert.False(t, n.HasKeyOf("other"))
	n.ControlPlane = false
	assert.False(t, n.HasKeyOf("etcd"), "a worker does not count")
}

func TestYearWithACertificateWithoutIssuer(t *testing.T) {
	w := newWorld(t, renewal.Default(), externalEtcd()...)
	w.kubelets = true
	asked := 0
	w.check = func(_ *world, r renewal.Proposal) {
		for _, c := range r.Certificates {
			assert.NotEqual(t, "apiserver-etcd-client", c.Name, "no rotation is asked for it")
		}
		if slices.Contains(r.Nodes, "cp1") {
			asked++
		}
	}
	w.runs(2 * year)
	for _, n := range w.nodes {
		for _, c := range n.Certificates {
			if c.Name == "apiserver-etcd-client" {
				assert.False(t, w.now.Before(c.NotAfter), "it was not renewed")
				continue
			}
			assert.True(t, w.now.Before(c.NotAfter), "%s of %s ended %s", c.Name, n.Name, c.NotAfter)
		}
	}
	assert.Equal(t, 2, asked, "once a year, as without it")
	for _, p := range w.history {
		assert.NotEqual(t, renewal.Failed, p.State)
	}
}

func TestUnrenewableCertificateIsANoticeAndWaits(t *testing.T) {
	c := leaf(certs.KubeAPIServer, "apiserver-etcd-client", 10*day)
	c.NotRenewable = noKey
	n := controlPlane("cp1", c, api(10*day), etcd(10*day))
	p := renewal.Default()
	a := renewal.Assess(noon, &p, &n)
	require.Len(t, a.Items, 2)
	require.Len(t, a.Notices, 3)
	assert.Equal(t, "it cannot be renewed here: "+noKey, a.Notices[0].NotRenewable)
	assert.Empty(t, a.Notices[1].NotRenewable)
	d := decide(noon, p, []renewal.Node{n})
	assert.Equal(t, []string{"start [etcd kube-apiserver] on [cp1]", "NotRenewable: cp1/apiserver-etcd-client"}, describe(d))
	assert.NotContains(t, d.Start[0].Fingerprints, n.Certificates[0].Fingerprint)

	n.Certificates = n.Certificates[:1]
	assert.Equal(t, []string{"NotRenewable: cp1/apiserver-etcd-client"}, describe(decide(noon, p, []renewal.Node{n})), "it is said where nothing else is due")
	a = renewal.Assess(noon, &p, &n)
	assert.Empty(t, a.Items)
	assert.True(t, a.HasDue())
	assert.Equal(t, noon.Add(10*day), a.Next)
	before := renewal.Assess(noon.Add(-100*day), &p, &n)
	assert.Empty(t, before.Notices)
	assert.Empty(t, before.LeftOut, "far from its end it waits for nothing")
	assert.Equal(t, renewal.ReasonNotRenewable, renewal.Outlook(noon, &p, &n)[0].Why)
}

// TestRuleWithoutRestartsRenewsUnrestartableComponents: how it is renewed is the rule's.
func TestRuleWithoutRestartsRenewsUnrestartableComponents(t *testing.T) {
	c := serving(10 * day)
	c.NotRenewable, c.MaxRestart = "nothing here can restart it", plan.RestartNever
	n := worker("w1", c)
	p := renewal.Default()
	assert.Equal(t, []string{"NotRenewable: w1/" + c.Name}, describe(decide(noon, p, []renewal.Node{n})))
	p.Default.Renewal = plan.RestartNever
	assert.Equal(t, []string{"start [kubelet] on [w1]"}, describe(decide(noon, p, []renewal.Node{n})))
}

// TestACompromisedKeyThatARenewalKeepsIsNotRotated: its rotation would change nothing.
func TestACompromisedKeyThatARenewalKeepsIsNotRotated(t *testing.T) {
	for name, change := range map[string]func(*renewal.Certificate){
		"kept key":  func(c *renewal.Certificate) { c.KeptKey = "its key also signs tokens" },
		"no issuer": func(c *renewal.Certificate) { c.NotRenewable = noKey },
	} {
		t.Run(name, func(t *testing.T) {
			n := controlPlane("cp1", api(100*day), etcd(100*day))
			change(&n.Certificates[0])
			m := renewal.CompromisedCertificate{Name: "m", Service: certs.KubeAPIServer}
			m.Certificates = renewal.MatchCompromised(m, []renewal.Node{n})
			d := decide(noon, renewal.Default(), []renewal.Node{n}, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{m} })
			assert.Empty(t, d.Start)
			require.Len(t, d.Waiting, 1)
			assert.Equal(t, renewal.ReasonNotRenewable, d.Waiting[0].Reason)
			assert.True(t, d.Waiting[0].Compromised)
		})
	}
}

// TestUnrenewableCertificateHoldsNothingBack, whatever its own rule says.
func TestUnrenewableCertificateHoldsNothingBack(t *testing.T) {
	c := leaf(certs.KubeAPIServer, "apiserver-sni", 100*day)
	c.Issuer, c.NotRenewable = "CN=public", noKey
	p := renewal.Default()
	corporate := p.Default
	corporate.Name, corporate.Mode, corporate.Match = "corporate", renewal.NotifyOnly, renewal.Match{Issuers: []string{"public"}}
	p.Rules = []renewal.Rule{corporate}
	nodes := []renewal.Node{controlPlane("cp1", c, etcd(10*day)), controlPlane("cp2", api(10*day), etcd(10*day))}
	assert.Equal(t, []string{"start [etcd kube-apiserver] on [cp1 cp2]"}, describe(decide(noon, p, nodes)))
}
