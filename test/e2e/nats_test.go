//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

func (s *natsServer) otherUsersCannotStartARotation(t *testing.T) {
	known := len(the.rotations(t))
	node := the.controlPlanes()[0].Name
	const conf = "/etc/kubernetes/admin.conf"
	goes := fingerprint(the.snapshot(t, node).identity(t, conf, conf).leaf)
	request := `{"name": "forged", "services": ["admin"], "nodes": ["` + node + `"], "reason": "Expiring", "attempt": 1, "fingerprints": ["` + goes + `"]}`
	for _, role := range []string{"viewer", "incident-responder", "rotator"} {
		require.ErrorIs(t, s.publish(t, role, "rotation.requested", "forged-by-"+role, request), nats.ErrPermissionViolation, role)
	}
	for _, role := range []string{"viewer", "reporter"} {
		require.ErrorIs(t, s.publish(t, role, "certificate.compromised", "forged-by-"+role, `{"service": "admin", "reason": "forged"}`), nats.ErrPermissionViolation, role)
	}

	unknown, err := nkeys.CreateUser()
	require.NoError(t, err)
	own, err := unknown.PublicKey()
	require.NoError(t, err)
	for who, option := range map[string]nats.Option{
		"a user that the server does not know":  nats.Nkey(own, unknown.Sign),
		"the reporter, signed with another key": nats.Nkey(s.public(t, "reporter"), unknown.Sign),
		"no user at all":                        nats.Name("anonymous"),
	} {
		_, err := s.dial(0, option)
		require.ErrorIs(t, err, nats.ErrAuthorization, who)
	}
	_, err = nats.Connect("tls://"+s.address(0), nats.RootCAs(s.path("ca.crt")), s.nkey(t, "reporter"), nats.MaxReconnects(0))
	require.Error(t, err, "without a certificate")

	// The same event of the reporter is processed. The earlier ones would have been too, had
	// they been accepted. An etcd was restarted just before, and a rotation is refused while an
	// API server is not ready.
	the.awaitAPIServers(t)
	require.NoError(t, s.publish(t, "reporter", "rotation.requested", "genuine", strings.ReplaceAll(request, "forged", "genuine")))
	o := the.kubectl(t, "wait", "--for=create", "certificaterotation/genuine", "--timeout=30s")
	require.Zero(t, o.exit, "%s", o)
	o = the.kubectl(t, "wait", "--for=condition=Succeeded", "certificaterotation/genuine", "--timeout=2m")
	require.Zero(t, o.exit, "%s\n%s", o, the.kubectl(t, "get", "certificaterotation", "genuine", "-o", "yaml"))
	assert.Len(t, the.rotations(t), known+1)
	assert.False(t, slices.ContainsFunc(the.events(t), func(e publishedEvent) bool { return e.rotation == "forged" }))
}

func (s *natsServer) compromisedEventStartsARotation(t *testing.T) {
	node, path, known := the.controlPlanes()[0], "/etc/kubernetes/scheduler.conf", len(the.rotations(t))
	before := the.snapshot(t, node.Name).identity(t, path, path)
	report := `{"service": "kube-scheduler", "nodes": ["` + node.Name + `"], "reason": "a backup was stolen"}`
	for range 2 { // who is not sure that it was taken says it again
		require.NoError(t, s.publish(t, "incident-responder", "certificate.compromised", "incident-4711", report))
	}
	var objects v1alpha1.CompromisedCertificateList
	within(t, time.Minute, "the CompromisedCertificate", func() bool {
		o := the.kubectl(t, "get", "compromisedcertificates", "-o", "json")
		return o.exit == 0 && json.Unmarshal([]byte(o.stdout), &objects) == nil && len(objects.Items) > 0
	})
	require.Len(t, objects.Items, 1)
	o := the.kubectl(t, "wait", "--for=condition=Replaced", "compromisedcertificate/"+objects.Items[0].Name, "--timeout=3m")
	require.Zero(t, o.exit, "%s", o)
	assertRenewed(t, "scheduler.conf", before, the.snapshot(t, node.Name).identity(t, path, path))
	within(t, time.Minute, "the rotation's end", func() bool {
		r := the.rotations(t)
		return len(r) == known+1 && r[known].State() == v1alpha1.StateSucceeded
	})
	require.Zero(t, the.kubectl(t, "delete", "compromisedcertificates", "--all").exit)
}

// anotherWatcherTakesOver when the leader's pod is deleted while a node's certificates are
// replaced; in a soak it is killed, and the other waits until the leader's Lease has expired.
func anotherWatcherTakesOver(t *testing.T) {
	leader, how := the.leader(t), []string{"--wait=false"}
	if kills, _ := soak(t); kills > 0 {
		how = []string{"--grace-period=0", "--force"}
	}
	r := the.beginRenewal(t, the.anotherControlPlane())
	within(t, 2*time.Minute, "the moment", func() bool { return replacing.come(t, r) })
	o := the.kubectl(t, append([]string{"-n", "rotate-certs", "delete", "pod", leader}, how...)...)
	require.Zero(t, o.exit, "%s", o)
	killed := time.Now()
	object := r.assertOnce(t)
	t.Logf("all done %s after the leader was deleted", time.Since(killed).Round(time.Millisecond))
	assertEventsAreComplete(t, object.Name)
	within(t, 2*time.Minute, "another leader", func() bool { return the.leader(t) != leader })
}

// killedLosesNothing: it is killed in the course of a renewal, and comes back on its store
// when the certificate is renewed, or soon where it has to be there for that. Of a cluster
// one server is killed, whichever.
func (s *natsServer) killedLosesNothing(t *testing.T) {
	nodes, before := the.controlPlanes(), len(the.rotations(t))
	kills, random := soak(t)
	all := moments(kills, random, running)
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			r := the.beginRenewal(t, nodes[(i+2)%len(nodes)])
			within(t, 2*time.Minute, "the moment", func() bool { return m.come(t, r) })
			if kills > 0 {
				s.killOne(t, int(random(time.Hour)/time.Millisecond)%len(s.processes))
			} else {
				s.kill(t)
			}
			killed := time.Now()
			back := func() bool { return r.object(t) == nil && r.reported(t) || r.done(t) }
			if kills > 0 {
				outage := random(15 * time.Second)
				t.Logf("NATS unavailable for %s", outage)
				back = func() bool { return time.Since(killed) >= outage }
			}
			within(t, 2*time.Minute, "the moment to come back", back)
			s.start(t)
			object := r.assertOnce(t)
			t.Logf("all done %s after the kill", time.Since(killed).Round(time.Millisecond))
			assertEventsAreComplete(t, object.Name)
		})
	}
	assert.Len(t, the.rotations(t), before+len(all), "nothing rotates again")
}

// needsNoNATSWhenUrgent: a renewal half an hour before a certificate expires does not wait for NATS.
func (s *natsServer) needsNoNATSWhenUrgent(t *testing.T) {
	s.kill(t)
	node := the.anotherControlPlane()
	the.waitUntilRenewed(t, node, the.putExpiring(t, node, 30*time.Minute))
	s.start(t)
	all := the.rotations(t)
	// Requests and outcomes go through two connections, which come back one after the other.
	within(t, time.Minute, "all events", func() bool {
		published := map[string]bool{}
		for _, e := range the.events(t) {
			published[e.kind] = published[e.kind] || e.rotation == all[len(all)-1].Name
		}
		return published["rotation.requested"] && published["rotation.started"] && published["rotation.succeeded"]
	})
}

// reported returns whether the agent has reported the certificate.
func (r renewal) reported(t *testing.T) bool {
	t.Helper()
	return slices.ContainsFunc(the.reports(t)[r.node.Name].Certificates, func(c v1alpha1.ReportedCertificate) bool {
		return strings.TrimLeft(c.SerialNumber, "0") == r.serial.Text(16)
	})
}

// assertEventsAreComplete waits until all events of a rotation are published, in order. A
// request may have been published more than once: it is repeated until its object exists.
func assertEventsAreComplete(t *testing.T, rotation string) {
	t.Helper()
	want := []string{"rotation.requested", "rotation.started", "rotation.nodeverified", "rotation.succeeded"}
	var kinds []string
	assert.Eventually(t, func() bool {
		kinds = nil
		for _, e := range the.events(t) {
			if e.rotation == rotation {
				kinds = append(kinds, e.kind)
			}
		}
		kinds = slices.Compact(kinds)
		return slices.Equal(want, kinds)
	}, time.Minute, 100*time.Millisecond, "all events of %s", rotation)
	assert.Equal(t, want, kinds)
}
