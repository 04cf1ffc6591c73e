package renewal_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// due is a certificate's life left when it is due by default, and over is when it is not.
const (
	due  = 30 * day
	over = 60 * day
)

func etcd(left time.Duration) renewal.Certificate { return leaf(certs.Etcd, "etcd-server", left) }
func api(left time.Duration) renewal.Certificate  { return leaf(certs.KubeAPIServer, "apiserver", left) }
func serving(left time.Duration) renewal.Certificate {
	return leaf(certs.Kubelet, "kubelet-server", left)
}

func client(left time.Duration) renewal.Certificate {
	c := leaf(certs.Kubelet, "kubelet-client", left)
	c.SelfManaged = true
	return c
}

func TestDecide(t *testing.T) {
	type nodes []renewal.Node
	window := func(p *renewal.Policy) { p.Default.Windows = []renewal.Window{nightly()} }
	for _, tt := range []struct {
		name   string
		nodes  nodes
		policy func(*renewal.Policy)
		want   []string
	}{
		{"nothing is due", nodes{controlPlane("cp1", etcd(over), api(over))}, nil, nil},
		{"a day before it is due", nodes{controlPlane("cp1", etcd(due+day))}, nil, nil},
		{"on the day it is due", nodes{controlPlane("cp1", etcd(due))}, nil, []string{"start [etcd] on [cp1]"}},
		{"expired long ago", nodes{controlPlane("cp1", etcd(-due))}, nil, []string{"start [etcd] on [cp1]"}},
		{"a life of ten minutes", nodes{controlPlane("cp1", living(certs.Etcd, "etcd-server", 10*time.Minute, 3*time.Minute))}, nil, nil},
		{"a life of ten minutes, a fifth of it left", nodes{controlPlane("cp1", living(certs.Etcd, "etcd-server", 10*time.Minute, 2*time.Minute))}, nil,
			[]string{"start [etcd] on [cp1]"}},

		{"everything due is one rotation", nodes{controlPlane("cp1", etcd(due), api(due)), controlPlane("cp2", etcd(due), api(due)), worker("w1", serving(due))}, nil,
			[]string{"start [etcd kubelet kube-apiserver] on [cp1 cp2 w1]"}},
		{"what is due within days comes along", nodes{controlPlane("cp1", etcd(due)), controlPlane("cp2", etcd(due+2*day)), controlPlane("cp3", etcd(due+4*day))}, nil,
			[]string{"start [etcd] on [cp1 cp2]"}},
		{"but it starts no rotation of its own", nodes{controlPlane("cp2", etcd(due+2*day))}, nil, nil},

		{"a kubelet's client certificate is left to the kubelet", nodes{worker("w1", client(due))}, nil, nil},
		{"until it has had its chance", nodes{worker("w1", client(7*day))}, nil, []string{"start [kubelet] on [w1]"}},
		{"also where it lives for an hour", nodes{worker("w1", func() renewal.Certificate {
			c := living(certs.Kubelet, "kubelet-client", time.Hour, 6*time.Minute)
			c.SelfManaged = true
			return c
		}())}, nil, nil},

		{"a worker that reports a certificate of etcd", nodes{worker("w1", etcd(due))}, nil, []string{"NotControlPlane: w1/etcd-server"}},
		{"does not lend it to others either", nodes{worker("w1", etcd(over), serving(due)), controlPlane("cp1", etcd(due))}, nil,
			[]string{"start [etcd] on [cp1]", "Queued: w1/kubelet-server"}},
		{"a node that is NotReady", nodes{func() renewal.Node { n := worker("w1", serving(due)); n.Unavailable = "NotReady"; return n }(), worker("w2", serving(due))}, nil,
			[]string{"start [kubelet] on [w2]", "NodeUnavailable: w1/kubelet-server"}},

		{"notify only", nodes{controlPlane("cp1", etcd(due))}, func(p *renewal.Policy) { *p = p.NotifyOnly() }, []string{"NotifyOnly: cp1/etcd-server"}},
		{"notify only for a service", nodes{controlPlane("cp1", etcd(due), api(due))}, func(p *renewal.Policy) {
			r := p.Default
			r.Match, r.Mode = renewal.Match{Services: []certs.Service{certs.Etcd}}, renewal.NotifyOnly
			p.Rules = append(p.Rules, r)
		}, []string{"start [kube-apiserver] on [cp1]", "NotifyOnly: cp1/etcd-server"}},
		{"notify only for a CA", nodes{controlPlane("cp1", etcd(due), api(due))}, func(p *renewal.Policy) {
			r := p.Default
			r.Match, r.Mode = renewal.Match{Issuers: []string{"etcd-ca"}}, renewal.NotifyOnly
			p.Rules = append(p.Rules, r)
		}, []string{"start [kube-apiserver] on [cp1]", "NotifyOnly: cp1/etcd-server"}},
		{"notify only for some nodes, which others do not draw in", nodes{labelled(controlPlane("cp1", etcd(due), api(over)), "keep"), controlPlane("cp2", etcd(over), api(due))}, func(p *renewal.Policy) {
			r := p.Default
			r.Match = renewal.Match{Services: []certs.Service{certs.KubeAPIServer}, Nodes: func(l map[string]string) bool { return l["keep"] != "" }}
			r.Mode = renewal.NotifyOnly
			p.Rules = append(p.Rules, r)
		}, []string{"start [etcd] on [cp1]", "Queued: cp2/apiserver"}},
		{"else they come along", nodes{controlPlane("cp1", etcd(due), api(over)), controlPlane("cp2", etcd(over), api(due))}, nil,
			[]string{"start [etcd kube-apiserver] on [cp1 cp2]"}},
		{"another validity is another rotation", nodes{controlPlane("cp1", etcd(due), api(due))}, func(p *renewal.Policy) {
			r := p.Default
			r.Match, r.Validity = renewal.Match{Services: []certs.Service{certs.Etcd}}, 90*day
			p.Rules = append(p.Rules, r)
		}, []string{"start [kube-apiserver] on [cp1]", "Queued: cp1/etcd-server"}},

		{"outside its window", nodes{controlPlane("cp1", etcd(due))}, window, []string{"Window: cp1/etcd-server until +14h0m0s"}},
		{"a window does not wait for the end", nodes{controlPlane("cp1", etcd(7*day))}, window, []string{"start [etcd] on [cp1], overriding"}},
		{"what is only due waits for it meanwhile", nodes{controlPlane("cp1", etcd(7*day)), controlPlane("cp2", etcd(due))}, window,
			[]string{"start [etcd] on [cp1], overriding", "Window: cp2/etcd-server until +14h0m0s"}},
		{"without override it waits to the end", nodes{controlPlane("cp1", etcd(time.Hour))}, func(p *renewal.Policy) { window(p); p.Default.Override = renewal.Threshold{} },
			[]string{"Window: cp1/etcd-server until +14h0m0s"}},

		{"frozen", nodes{controlPlane("cp1", etcd(due))}, func(p *renewal.Policy) { p.Freeze.On = true }, []string{"Freeze: cp1/etcd-server"}},
		{"frozen to the end", nodes{controlPlane("cp1", etcd(time.Hour))}, func(p *renewal.Policy) { p.Freeze.On = true }, []string{"Freeze: cp1/etcd-server"}},
		{"frozen for a while", nodes{controlPlane("cp1", etcd(due))}, func(p *renewal.Policy) { p.Freeze = renewal.Freeze{On: true, Until: noon.Add(day)} },
			[]string{"Freeze: cp1/etcd-server until +24h0m0s"}},
		{"frozen for a while, then a window", nodes{controlPlane("cp1", etcd(due))}, func(p *renewal.Policy) {
			window(p)
			p.Freeze = renewal.Freeze{On: true, Until: noon.Add(day)}
		}, []string{"Freeze: cp1/etcd-server until +38h0m0s"}},
		{"frozen before", nodes{controlPlane("cp1", etcd(due))}, func(p *renewal.Policy) { p.Freeze = renewal.Freeze{On: true, Until: noon} }, []string{"start [etcd] on [cp1]"}},
		{"a freeze that yields to an end", nodes{controlPlane("cp1", etcd(7*day))}, func(p *renewal.Policy) { p.Freeze = renewal.Freeze{On: true, Override: true} },
			[]string{"start [etcd] on [cp1], overriding"}},
		{"and its last day is shown", nodes{controlPlane("cp1", etcd(8*day))}, func(p *renewal.Policy) { p.Freeze = renewal.Freeze{On: true, Override: true} },
			[]string{"Freeze: cp1/etcd-server until +24h0m0s"}},

		{"more nodes than one rotation may have: what ends first", nodes{worker("w1", serving(due)), worker("w2", serving(20*day)), worker("w3", serving(10*day))},
			func(p *renewal.Policy) { p.Limits.NodesPerRotation = 2 }, []string{"start [kubelet] on [w2 w3]", "Queued: w1/kubelet-server"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := renewal.Default()
			if tt.policy != nil {
				tt.policy(&p)
			}
			if tt.want == nil {
				tt.want = []string{}
			}
			assert.Equal(t, tt.want, describe(decide(noon, p, tt.nodes)))
		})
	}
}

// TestAuthorityThatExpiresSoon: nothing starts whose result would be due again before the old
// certificate has ended.
func TestAuthorityThatExpiresSoon(t *testing.T) {
	for _, tt := range []struct {
		name         string
		left, caLeft time.Duration
		want         []string
	}{
		{"both end together", due, due, []string{"CAExpiresSoon: cp1/etcd-server"}},
		{"the CA ends a day later: not before the successor lasts", due, due + day, []string{"CAExpiresSoon: cp1/etcd-server until +624h0m1s"}},
		{"and then once", 4 * day, 5 * day, []string{"start [etcd] on [cp1]"}},
		{"the CA ends much later", due, 90 * day, []string{"start [etcd] on [cp1]"}},
		{"the CA has ended", due, -day, []string{"CAExpiresSoon: cp1/etcd-server"}},
		{"expired, and the CA has days left: better than an outage", -day, 3 * day, []string{"start [etcd] on [cp1]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := controlPlane("cp1", etcd(tt.left))
			n.Authorities = []renewal.Authority{authority("etcd-ca", tt.caLeft)}
			assert.Equal(t, tt.want, describe(decide(noon, renewal.Default(), []renewal.Node{n})))
		})
	}
	t.Run("a validity that is shorter than what is left", func(t *testing.T) {
		p := renewal.Default()
		p.Default.Validity = 10 * day
		assert.Equal(t, []string{"NoGain: cp1/etcd-server until +528h0m0s"}, describe(decide(noon, p, []renewal.Node{controlPlane("cp1", etcd(due))})))
	})
}

// TestHistory: what was tried before decides what is tried again, and when.
func TestHistory(t *testing.T) {
	n := []renewal.Node{controlPlane("cp1", etcd(due)), worker("w1", serving(due))}
	fingerprints := []string{n[0].Certificates[0].Fingerprint, n[1].Certificates[0].Fingerprint}
	past := func(state renewal.State, ago time.Duration, failedOn ...string) renewal.Past {
		return renewal.Past{
			Name: "auto-1", State: state, Automatic: true, Fingerprints: fingerprints, FailedNodes: failedOn,
			Services: []certs.Service{certs.Etcd, certs.Kubelet}, Nodes: []string{"cp1", "w1"}, Attempt: 1,
			Created: noon.Add(-ago), Completed: noon.Add(-ago),
		}
	}
	many := func(count int, state renewal.State, ago time.Duration) (out []renewal.Past) {
		for range count {
			out = append(out, past(state, ago))
			out[len(out)-1].Attempt = len(out)
		}
		return out
	}
	third := func(p renewal.Past) renewal.Past { p.Attempt = 3; return p }
	absurd := func(p renewal.Past) renewal.Past { p.Attempt = 1<<31 - 1; return p }
	elsewhere := func(p renewal.Past, s certs.Service, node string) renewal.Past {
		p.Services, p.Nodes = []certs.Service{s}, []string{node}
		return p
	}
	other := func(ago time.Duration) renewal.Past {
		return renewal.Past{State: renewal.Succeeded, Automatic: true, Created: noon.Add(-ago), Completed: noon.Add(-ago), Fingerprints: []string{"other"}}
	}
	for _, tt := range []struct {
		name    string
		history []renewal.Past
		want    []string
	}{
		{"one is running", []renewal.Past{past(renewal.Active, time.Minute)}, []string{"Running: cp1/etcd-server w1/kubelet-server"}},
		{"one that a user requested is running", []renewal.Past{{Name: "mine", State: renewal.Active}}, []string{"Running: cp1/etcd-server w1/kubelet-server"}},
		{"it has just failed", []renewal.Past{past(renewal.Failed, time.Minute)}, []string{"BackOff: cp1/etcd-server w1/kubelet-server until +59m0s"}},
		{"an hour ago: control plane and workers apart", []renewal.Past{past(renewal.Failed, time.Hour)},
			[]string{"start [etcd] on [cp1], attempt 2", "Queued: w1/kubelet-server"}},
		{"twice, an hour ago", many(2, renewal.Failed, time.Hour), []string{"BackOff: cp1/etcd-server w1/kubelet-server until +1h0m0s"}},
		{"three times: once a day", many(3, renewal.Failed, time.Hour), []string{"Stopped: cp1/etcd-server w1/kubelet-server until +23h0m0s"}},
		{"three times, a day ago", many(3, renewal.Failed, day), []string{"start [etcd] on [cp1], attempt 4", "Queued: w1/kubelet-server"}},
		{"refused three times: as after three failures, but never stopped", many(3, renewal.Refused, time.Hour), []string{"BackOff: cp1/etcd-server w1/kubelet-server until +3h0m0s"}},
		{"refused, for what is the matter with the worker", []renewal.Past{past(renewal.Refused, time.Hour, "w1")}, []string{"start [etcd] on [cp1], attempt 2", "Queued: w1/kubelet-server"}},
		{"refused six times within a day: the limit is for what touches a node", many(6, renewal.Refused, 23*time.Hour), []string{"BackOff: cp1/etcd-server w1/kubelet-server until +1h0m0s"}},
		{"canceled before its start: at once, nearly", []renewal.Past{past(renewal.Canceled, time.Second)}, []string{"BackOff: cp1/etcd-server w1/kubelet-server until +29s"}},
		{"canceled again and again: not for ever every half minute", many(10, renewal.Canceled, time.Minute), []string{"BackOff: cp1/etcd-server w1/kubelet-server until +4h15m0s"}},
		{"an attempt number that no watcher wrote", []renewal.Past{absurd(past(renewal.Refused, 2*time.Hour))}, []string{"start [etcd] on [cp1]", "Queued: w1/kubelet-server"}},
		{"canceled a minute ago", []renewal.Past{past(renewal.Canceled, time.Minute)}, []string{"start [etcd kubelet] on [cp1 w1], attempt 2"}},
		{"of the same fingerprint on another node", []renewal.Past{elsewhere(past(renewal.ManualInterventionRequired, time.Minute), certs.Etcd, "w9")}, []string{"start [etcd kubelet] on [cp1 w1]"}},
		{"of the same fingerprint for another service", []renewal.Past{elsewhere(past(renewal.Succeeded, time.Minute), certs.KubeProxy, "cp1")}, []string{"start [etcd kubelet] on [cp1 w1]"}},
		{"on the worker", []renewal.Past{past(renewal.Failed, time.Minute, "w1")}, []string{"BackOff: cp1/etcd-server w1/kubelet-server until +59m0s"}},
		{"on the worker, an hour ago: first what is not to blame", []renewal.Past{past(renewal.Failed, time.Hour, "w1")},
			[]string{"start [etcd] on [cp1], attempt 2", "Queued: w1/kubelet-server"}},
		{"on the worker three times: the other was never to blame", []renewal.Past{past(renewal.Failed, time.Hour, "w1"), past(renewal.Failed, time.Hour, "w1"), third(past(renewal.Failed, time.Hour, "w1"))},
			[]string{"start [etcd] on [cp1], attempt 4", "Stopped: w1/kubelet-server until +23h0m0s"}},
		{"neither old nor new", []renewal.Past{past(renewal.ManualInterventionRequired, 2*time.Hour, "cp1")},
			[]string{"start [kubelet] on [w1], attempt 2", "Stopped: cp1/etcd-server until +22h0m0s"}},
		{"neither old nor new, a day ago: its nodes may be in order", []renewal.Past{past(renewal.ManualInterventionRequired, day, "cp1")},
			[]string{"start [kubelet] on [w1], attempt 2", "Queued: cp1/etcd-server"}},
		{"it says that it succeeded, and the node does not show it yet", []renewal.Past{past(renewal.Succeeded, time.Minute)},
			[]string{"BackOff: cp1/etcd-server w1/kubelet-server until +59m0s"}},
		{"it succeeded three times, and the old ones are there: not for ever", many(3, renewal.Succeeded, 2*time.Hour), []string{"Stopped: cp1/etcd-server w1/kubelet-server until +22h0m0s"}},
		{"six within a day", []renewal.Past{other(5 * time.Hour), other(4 * time.Hour), other(20 * time.Hour), other(time.Hour), other(2 * time.Hour), other(3 * time.Hour)},
			[]string{"Limit: cp1/etcd-server w1/kubelet-server until +4h0m0s"}},
		{"three within a day, of one node", []renewal.Past{elsewhere(other(5*time.Hour), certs.Kubelet, "w1"), elsewhere(other(4*time.Hour), certs.Kubelet, "w1"), elsewhere(other(3*time.Hour), certs.Kubelet, "w1")},
			[]string{"start [etcd] on [cp1]", "Limit: w1/kubelet-server until +19h0m0s"}},
		{"two within a day, of one node", []renewal.Past{elsewhere(other(5*time.Hour), certs.Kubelet, "w1"), elsewhere(other(4*time.Hour), certs.Kubelet, "w1")},
			[]string{"start [etcd kubelet] on [cp1 w1]"}},
		{"suspended: nothing starts until it is resumed", []renewal.Past{past(renewal.Suspended, 100*day)}, []string{"Suspended: cp1/etcd-server w1/kubelet-server"}},
		{"not asked for by the watcher, and suspended", []renewal.Past{{State: renewal.Suspended, Services: certs.Services(), Created: noon}},
			[]string{"start [etcd kubelet] on [cp1 w1]"}},
		{"six within more than a day", []renewal.Past{other(5 * time.Hour), other(4 * time.Hour), other(day), other(time.Hour), other(2 * time.Hour), other(3 * time.Hour)},
			[]string{"start [etcd kubelet] on [cp1 w1]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decide(noon, renewal.Default(), n, func(in *renewal.Input) { in.History = tt.history })
			assert.Equal(t, tt.want, describe(got))
		})
	}
}

// TestANodesShareHoldsNothingUrgentUp.
func TestANodesShareHoldsNothingUrgentUp(t *testing.T) {
	past := func(ago time.Duration) renewal.Past {
		return renewal.Past{State: renewal.Succeeded, Automatic: true, Created: noon.Add(-ago), Completed: noon.Add(-ago),
			Fingerprints: []string{"other"}, Services: []certs.Service{certs.Kubelet}, Nodes: []string{"w1"}}
	}
	n := []renewal.Node{worker("w1", serving(time.Hour))}
	got := decide(noon, renewal.Default(), n, func(in *renewal.Input) {
		in.History = []renewal.Past{past(time.Hour), past(2 * time.Hour), past(3 * time.Hour)}
	})
	assert.Equal(t, []string{"start [kubelet] on [w1]"}, describe(got))
}

// TestIncludedCertificatesMayStartToo: a request that names a certificate of one service on one
// node and one of another service on another has both services on both nodes in its scope.
func TestIncludedCertificatesMayStartToo(t *testing.T) {
	nodes := []renewal.Node{controlPlane("cp1", etcd(due), serving(200*day)), controlPlane("cp2", etcd(200*day), serving(due))}
	rotation := renewal.Past{Name: "mine", Automatic: true, State: renewal.Active, Services: []certs.Service{certs.Etcd, certs.Kubelet},
		Nodes: []string{"cp1", "cp2"}, Fingerprints: []string{nodes[0].Certificates[0].Fingerprint, nodes[1].Certificates[1].Fingerprint}}
	p := renewal.Default()
	why, _ := renewal.MayStart(noon, &p, rotation, nodes, nil)
	assert.Empty(t, why)
	closed := p.Default
	closed.Name, closed.Windows, closed.Match = "never", []renewal.Window{{Schedule: every{noon.Add(5 * day), 7 * day}, Duration: time.Hour}}, renewal.Match{Services: []certs.Service{certs.Etcd}, Nodes: func(labels map[string]string) bool { return labels["held"] != "" }}
	p.Rules = []renewal.Rule{closed}
	why, _ = renewal.MayStart(noon, &p, rotation, []renewal.Node{nodes[0], labelled(nodes[1], "held")}, nil)
	assert.Equal(t, renewal.ReasonWindow, why, "no reference names etcd of cp2")
}

// TestPauseFitsTheLife: an hour's pause is too long for what lives for an hour.
func TestPauseFitsTheLife(t *testing.T) {
	n := []renewal.Node{controlPlane("cp1", living(certs.Etcd, "etcd-server", time.Hour, 10*time.Minute))}
	got := decide(noon, renewal.Default(), n, func(in *renewal.Input) {
		in.History = []renewal.Past{{Name: "auto-1", State: renewal.Failed, Services: []certs.Service{certs.Etcd}, Completed: noon.Add(-time.Second), Fingerprints: []string{n[0].Certificates[0].Fingerprint}}}
	})
	assert.Equal(t, []string{"BackOff: cp1/etcd-server until +1m29s"}, describe(got))
	assert.Equal(t, noon.Add(89*time.Second), got.Next)
}

// TestCertificateThatExpiresSoonIsNotStopped: neither three failures nor a required manual
// intervention keeps a certificate from being tried when its end is near or past.
func TestCertificateThatExpiresSoonIsNotStopped(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{10 * day: day, 4 * day: 4 * time.Hour, 16 * time.Hour: 2 * time.Hour, time.Hour: time.Hour, -time.Hour: time.Hour} {
		for _, state := range []renewal.State{renewal.Failed, renewal.ManualInterventionRequired} {
			n := []renewal.Node{controlPlane("cp1", etcd(left))}
			got := decide(noon, renewal.Default(), n, func(in *renewal.Input) {
				for i := range 3 {
					in.History = append(in.History, renewal.Past{Name: "auto-1", State: state, Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"},
						Completed: noon.Add(-time.Second), Attempt: i + 1, Fingerprints: []string{n[0].Certificates[0].Fingerprint}})
				}
			})
			require.Len(t, got.Waiting, 1, "%s left", left)
			assert.Equal(t, noon.Add(want-time.Second), got.Waiting[0].Until, "%s left, %s", left, state)
		}
	}
}

// TestRequest: what a rotation is asked for with, and that it is the same the second time.
func TestRequest(t *testing.T) {
	n := []renewal.Node{controlPlane("cp1", etcd(due), api(over)), controlPlane("cp2", etcd(due+day))}
	got := decide(noon, renewal.Default(), n)
	require.Len(t, got.Start, 1)
	r := got.Start[0]
	assert.Regexp(t, "^auto-[0-9a-f]{16}$", r.Name)
	assert.Equal(t, plan.RestartIfNeeded, r.Restart)
	assert.Equal(t, "10%", r.MaxUnavailable)
	assert.Len(t, r.Fingerprints, 2)
	assert.Equal(t, 1, r.Attempt)

	n[0].Certificates[1] = renewal.Certificate{} // what is not its business does not change its name
	assert.Equal(t, r.Name, decide(noon.Add(time.Minute), renewal.Default(), n).Start[0].Name)

	more := append(n, worker("w1", serving(due)))
	assert.NotEqual(t, r.Name, decide(noon, renewal.Default(), more).Start[0].Name)
	again := decide(noon, renewal.Default(), more, func(in *renewal.Input) { in.Requested = got.Start })
	assert.Equal(t, r.Name, again.Start[0].Name, "what was asked for is asked for again, until there is an object")
	assert.Equal(t, []string{"start [etcd] on [cp1 cp2]", "Queued: w1/kubelet-server"}, describe(again))

	frozen := renewal.Default()
	frozen.Freeze.On = true
	assert.Empty(t, decide(noon, frozen, more, func(in *renewal.Input) { in.Requested = got.Start }).Start, "unless the policy has changed its mind")
}

func TestNotices(t *testing.T) {
	p := renewal.Default()
	n := controlPlane("cp1", etcd(due), api(-day), serving(over), client(due))
	n.Authorities = []renewal.Authority{authority("etcd-ca", 300*day), authority("kubernetes", 400*day)}
	kinds := map[string]renewal.NoticeKind{}
	a := renewal.Assess(noon, &p, &n)
	for _, notice := range a.Notices {
		kinds[notice.Name] = notice.Kind
	}
	assert.Equal(t, map[string]renewal.NoticeKind{
		"etcd-server": renewal.CertificateExpiring, "apiserver": renewal.CertificateExpired, "etcd-ca": renewal.AuthorityExpiring,
	}, kinds)
	assert.Equal(t, noon.Add(30*day-77*day/10), a.Next, "nothing of it changes before kubelet-client may come along, 7.7 days before its end")

	ids := map[string]bool{}
	m := controlPlane("cp2", etcd(due))
	m.Authorities = n.Authorities
	for _, notice := range append(a.Notices, renewal.Assess(noon.Add(time.Hour), &p, &m).Notices...) {
		ids[notice.ID()] = true
	}
	assert.Len(t, ids, 4, "a CA is reported once for all nodes")
}

// TestNextAssessmentWithoutChanges: each time at which a notice or a renewal becomes due is returned.
func TestNextAssessmentWithoutChanges(t *testing.T) {
	p := renewal.Default()
	n := controlPlane("cp1", etcd(over))
	n.Authorities = []renewal.Authority{authority("etcd-ca", 370*day)}
	var moments []time.Duration
	for now := noon; ; {
		a := renewal.Assess(now, &p, &n)
		if a.Next.IsZero() {
			break
		}
		now = a.Next
		moments = append(moments, now.Sub(noon))
	}
	assert.Equal(t, []time.Duration{
		5 * day,                   // the CA is to be reported
		over - 33*day,             // may come along
		over - due,                // due, and reported
		over, 370*day - time.Hour, // expired; and a renewal is worth nothing any more
	}, moments)
}

// BenchmarkAssess judges a node with 20 certificates, of which none is due.
func BenchmarkAssess(b *testing.B) {
	p := renewal.Default()
	var in []renewal.Certificate
	for range 20 {
		in = append(in, serving(over))
	}
	n := worker("w1", in...)
	for b.Loop() {
		renewal.Assess(noon, &p, &n)
	}
}

// BenchmarkDecide decides about 10,000 nodes that are due on the same day.
func BenchmarkDecide(b *testing.B) {
	p := renewal.Default()
	nodes := map[string]renewal.Node{}
	in := renewal.Input{Now: noon, Policy: &p, Node: func(name string) (renewal.Node, bool) { n, ok := nodes[name]; return n, ok }}
	for i := range 10000 {
		n := worker(fmt.Sprintf("w%05d", i), serving(due), client(over))
		nodes[n.Name] = n
		in.Assessments = append(in.Assessments, renewal.Assess(noon, &p, &n))
	}
	for b.Loop() {
		renewal.Decide(in)
	}
}
