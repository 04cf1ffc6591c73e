package renewal_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

func TestCompromised(t *testing.T) {
	nodes := []renewal.Node{
		controlPlane("cp1", etcd(over), api(over)), controlPlane("cp2", etcd(over), api(over), serving(over)),
		worker("w1", serving(over)), worker("w2", etcd(over)),
	}
	resolved := func(name string, s certs.Service, on ...string) renewal.CompromisedCertificate {
		m := renewal.CompromisedCertificate{Name: name, Service: s, Nodes: on}
		m.Certificates = renewal.MatchCompromised(m, nodes)
		return m
	}
	prints := func(m renewal.CompromisedCertificate) (out []string) {
		for _, ref := range m.Certificates {
			out = append(out, ref.Fingerprint)
		}
		return out
	}
	all := resolved("m1", certs.KubeAPIServer)
	running := renewal.Past{Name: "auto-1", State: renewal.Active, Services: []certs.Service{certs.KubeAPIServer}, Fingerprints: prints(all)}
	replacing, failed := running, running
	replacing.Compromised = true
	failed.Compromised, failed.State, failed.Completed = true, renewal.Failed, noon
	replacing.Automatic = true
	inState := func(p renewal.Past, state renewal.State) renewal.Past {
		p.State = state
		return p
	}
	service := renewal.Past{Name: "mine", State: renewal.Active, Compromised: true, Services: []certs.Service{certs.KubeAPIServer}}
	ended := make([]renewal.Past, 10)
	for i := range ended {
		ended[i] = renewal.Past{Automatic: true, State: renewal.Succeeded, Created: noon, Completed: noon}
	}

	for _, tt := range []struct {
		name        string
		compromised []renewal.CompromisedCertificate
		policy      func(*renewal.Policy)
		history     []renewal.Past
		want        []string
	}{
		{"on every node that has it", []renewal.CompromisedCertificate{all}, nil, nil, []string{"replace [kube-apiserver] on [cp1 cp2]"}},
		{"on one", []renewal.CompromisedCertificate{resolved("m1", certs.KubeAPIServer, "cp2")}, nil, nil, []string{"replace [kube-apiserver] on [cp2]"}},
		{"two objects, one rotation", []renewal.CompromisedCertificate{all, resolved("m2", certs.Kubelet, "w1")}, nil, nil, []string{"replace [kubelet kube-apiserver] on [cp1 cp2 w1]"}},
		{"a worker's etcd is not believed", []renewal.CompromisedCertificate{resolved("m1", certs.Etcd)}, nil, nil, []string{"replace [etcd] on [cp1 cp2]"}},
		{"no certificate matches", []renewal.CompromisedCertificate{{Name: "m1", Service: certs.KubeProxy}}, nil, nil, []string{}},
		{"past window, freeze and limit", []renewal.CompromisedCertificate{all}, func(p *renewal.Policy) {
			p.Default.Windows, p.Default.Override, p.Freeze.On = []renewal.Window{weekly()}, renewal.Threshold{}, true
		}, ended, []string{"replace [kube-apiserver] on [cp1 cp2]"}},
		{"a freeze that holds everything", []renewal.CompromisedCertificate{all}, func(p *renewal.Policy) { p.Freeze = renewal.Freeze{On: true, HoldCompromised: true} }, nil,
			[]string{"Freeze: cp1/apiserver cp2/apiserver"}},
		{"notify only", []renewal.CompromisedCertificate{all}, func(p *renewal.Policy) { *p = p.NotifyOnly() }, nil, []string{"NotifyOnly: cp1/apiserver cp2/apiserver"}},
		{"another rotation runs: asked for all the same", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{{Name: "auto-9", State: renewal.Active}},
			[]string{"replace [kube-apiserver] on [cp1 cp2]"}},
		{"one that trusts the old keys does not count", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{running}, []string{"replace [kube-apiserver] on [cp1 cp2]"}},
		{"it is being replaced", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{replacing}, []string{"Running: cp1/apiserver cp2/apiserver"}},
		{"by a person", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{service}, []string{"Running: cp1/apiserver cp2/apiserver"}},
		{"its rotation is suspended", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{inState(replacing, renewal.Suspended)}, []string{"Suspended: cp1/apiserver cp2/apiserver"}},
		{"a person's is suspended", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{inState(service, renewal.Suspended)}, []string{"replace [kube-apiserver] on [cp1 cp2]"}},
		{"another CompromisedCertificate meanwhile", []renewal.CompromisedCertificate{all, resolved("m2", certs.Etcd)}, nil, []renewal.Past{replacing},
			[]string{"replace [etcd] on [cp1 cp2]", "Running: cp1/apiserver cp2/apiserver"}},
		{"it has failed", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{failed}, []string{"BackOff: cp1/apiserver cp2/apiserver until +5m0s"}},
		{"three times", []renewal.CompromisedCertificate{all}, nil, []renewal.Past{failed, failed, failed}, []string{"BackOff: cp1/apiserver cp2/apiserver until +20m0s"}},
		{"ten times: every hour", []renewal.CompromisedCertificate{all}, nil, slices.Repeat([]renewal.Past{failed}, 10), []string{"BackOff: cp1/apiserver cp2/apiserver until +1h0m0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := renewal.Default()
			if tt.policy != nil {
				tt.policy(&p)
			}
			got := decide(noon, p, nodes, func(in *renewal.Input) { in.CompromisedCertificates, in.History = tt.compromised, tt.history })
			assert.Equal(t, tt.want, describe(got))
		})
	}

	t.Run("with new keys, and restarted", func(t *testing.T) {
		got := decide(noon, renewal.Default(), nodes, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} })
		require.Len(t, got.Start, 1)
		assert.True(t, got.Start[0].Compromised)
		assert.Equal(t, plan.RestartAlways, got.Start[0].Restart)
		assert.Equal(t, []string{"m1"}, got.Start[0].CompromisedCertificates)
	})
	t.Run("an unanswered request is repeated, and a later CompromisedCertificate gets a request of its own", func(t *testing.T) {
		asked := decide(noon, renewal.Default(), nodes, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} }).Start
		both := []renewal.CompromisedCertificate{all, resolved("m2", certs.Etcd)}
		got := decide(noon, renewal.Default(), nodes, func(in *renewal.Input) { in.CompromisedCertificates, in.Requested = both, asked })
		assert.Equal(t, []string{"replace [kube-apiserver] on [cp1 cp2]", "replace [etcd] on [cp1 cp2]"}, describe(got))
		assert.Equal(t, asked[0], got.Start[0])
		got = decide(noon, renewal.Default(), nodes, func(in *renewal.Input) { in.Requested = asked })
		assert.Empty(t, got.Start, "unless the CompromisedCertificate is deleted")
	})
	t.Run("before what is due", func(t *testing.T) {
		late := append([]renewal.Node{worker("w9", serving(due))}, nodes...)
		got := decide(noon, renewal.Default(), late, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} })
		assert.Equal(t, []string{"replace [kube-apiserver] on [cp1 cp2]", "Running: w9/kubelet-server"}, describe(got))
	})
	t.Run("what is issued later is not compromised", func(t *testing.T) {
		renewed := []renewal.Node{controlPlane("cp1", api(364*day)), controlPlane("cp2", api(over))}
		assert.NotEmpty(t, renewal.RemainingCertificates(all, lookup(renewed)))
		assert.Equal(t, []string{"replace [kube-apiserver] on [cp2]"}, describe(decide(noon, renewal.Default(), renewed, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} })))
		renewed[1] = controlPlane("cp2", api(364*day))
		assert.Empty(t, renewal.RemainingCertificates(all, lookup(renewed)))
		assert.Empty(t, decide(noon, renewal.Default(), renewed, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} }).Start)
	})
	t.Run("a deleted node has no certificates; those of a node without a report are unknown", func(t *testing.T) {
		assert.Empty(t, renewal.RemainingCertificates(all, lookup(nil)))
		unseen := []renewal.Node{{Name: "cp1", ControlPlane: true, Unseen: true}}
		assert.NotEmpty(t, renewal.RemainingCertificates(all, lookup(unseen)))
		assert.Equal(t, []string{"NodeUnavailable: cp1/apiserver"}, describe(decide(noon, renewal.Default(), unseen, func(in *renewal.Input) { in.CompromisedCertificates = []renewal.CompromisedCertificate{all} })))
	})
	t.Run("one certificate by its fingerprint", func(t *testing.T) {
		m := renewal.CompromisedCertificate{Service: certs.Kubelet, Fingerprint: nodes[2].Certificates[0].Fingerprint}
		assert.Len(t, renewal.MatchCompromised(m, nodes), 1)
	})
}

func TestResidual(t *testing.T) {
	on := func(node string, c renewal.Certificate, change ...func(*renewal.Certificate)) renewal.Compromised {
		for _, f := range change {
			f(&c)
		}
		return renewal.Compromised{Node: node, Certificate: c}
	}
	subject := func(s string) func(*renewal.Certificate) { return func(c *renewal.Certificate) { c.Subject = s } }
	got := renewal.ResidualAccess([]renewal.Compromised{
		on("cp1", etcd(over)), on("cp2", etcd(over-time.Hour)),
		on("cp1", leaf(certs.KubeAPIServer, "front-proxy-client", 50*day)),
		on("w1", client(40*day), subject("CN=system:node:w1,O=system:nodes")),
		on("cp1", leaf(certs.Admin, "super-admin.conf", 30*day), subject("CN=kubernetes-super-admin,O=system:masters")),
		on("cp1", leaf(certs.Admin, "admin.conf", 20*day), subject("CN=kubernetes-admin,O=kubeadm:cluster-admins")),
		on("w1", serving(10*day), func(c *renewal.Certificate) { c.Issuer = "CN=w1-ca@1700000000" }),
	})
	require.Len(t, got, 6)
	for i, want := range []string{
		"^etcd-server of cp1, etcd-server of cp2: .* can pose as this etcd member until 2027-01-23T12:00:00Z, .*only a new CA in place of \"etcd-ca\"",
		"^front-proxy-client of cp1: .* any user at the API server until 2027-01-13",
		"^kubelet-client of w1: .* act as this node until 2027-01-03.* renew it indefinitely; deleting the binding",
		"^super-admin.conf of cp1: .*system:masters and may do everything until .* regardless of RBAC; only a new CA",
		"^admin.conf of cp1: .*act as user \"kubernetes-admin\" \\(group kubeadm:cluster-admins\\) at the API server until .*RBAC stops it",
		"^kubelet-server of w1: .* clients that do not verify it",
	} {
		assert.Regexp(t, want, got[i])
	}
}
