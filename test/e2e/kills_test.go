//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// renewal is an automatic one: a certificate that expires soon was put in place.
type renewal struct {
	node   machine
	serial *big.Int // of that certificate
	known  int      // CertificateRotations that there were
	began  time.Time
}

func (l *lab) beginRenewal(t *testing.T, n machine) renewal {
	t.Helper()
	r := renewal{node: n, known: len(l.rotations(t))}
	r.serial = l.putExpiring(t, n, due)
	r.began = time.Now()
	return r
}

// anotherControlPlane spreads the renewals: a day's of one node are bounded.
func (l *lab) anotherControlPlane() machine {
	nodes := l.controlPlanes()
	return nodes[1%len(nodes)]
}

// object is the CertificateRotation of it, once there is one.
func (r renewal) object(t *testing.T) *v1alpha1.CertificateRotation {
	t.Helper()
	if all := the.rotations(t); len(all) > r.known {
		return &all[len(all)-1]
	}
	return nil
}

func (r renewal) done(t *testing.T) bool {
	t.Helper()
	return showsAnother(t, r.node, r.serial)
}

// assertOnce waits for its end: it is carried out, and once. It returns the object.
func (r renewal) assertOnce(t *testing.T) v1alpha1.CertificateRotation {
	t.Helper()
	the.waitUntilRenewed(t, r.node, r.serial)
	rotations := the.rotations(t)
	require.Len(t, rotations, r.known+1, "one object")
	object := rotations[r.known]
	assert.Equal(t, v1alpha1.StateSucceeded, object.State(), object.Message())
	assert.Equal(t, 1, the.commits(t, r.node.Name, r.began), "the node was worked on once")
	return object
}

// commits are how often a node has verified new certificates since a moment, by its own
// journals.
func (l *lab) commits(t *testing.T, node string, since time.Time) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(string(l.on(t, node, "cat /var/lib/rotate-certs/rotations/*/journal.jsonl"))) {
		var rec struct {
			Kind string
			Time time.Time
		}
		require.NoError(t, json.Unmarshal([]byte(line), &rec), line)
		if rec.Kind == "Committed" && rec.Time.After(since) {
			n++
		}
	}
	return n
}

// moment is when in the course of a renewal something is killed.
type moment struct {
	name string
	come func(*testing.T, renewal) bool
}

var (
	notSeen = moment{"before it is seen", func(*testing.T, renewal) bool { return true }}
	running = moment{"once it runs", func(t *testing.T, r renewal) bool {
		o := r.object(t)
		return o != nil && o.State() == v1alpha1.StateRunning || r.done(t)
	}}
	replacing = moment{"while the node's certificates are replaced", func(t *testing.T, r renewal) bool {
		o := r.object(t)
		return o != nil && slices.ContainsFunc(o.Status.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return n.Phase == "Working" }) || r.done(t)
	}}
)

// moments are those given, or as many at random as kills are asked for: from the
// certificate put in place until well after all is done.
func moments(kills int, random func(below time.Duration) time.Duration, fixed ...moment) []moment {
	if kills == 0 {
		return fixed
	}
	var out []moment
	for i := range kills {
		delay := random(15 * time.Second)
		out = append(out, moment{fmt.Sprintf("kill %d of %d after %s", i+1, kills, delay),
			func(_ *testing.T, r renewal) bool { return time.Since(r.began) >= delay }})
	}
	return out
}

// soak says how many kills SOAK_KILLS asks for, and how to choose moments for them, which
// follow from SEED.
func soak(t *testing.T) (kills int, random func(below time.Duration) time.Duration) {
	t.Helper()
	number := func(name string) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseUint(text, 10, 31)
		require.NoError(t, err, name)
		return n
	}
	kills = int(number("SOAK_KILLS")) //nolint:gosec // it fits
	if kills == 0 {
		return 0, nil
	}
	seed := number("SEED")
	if seed == 0 {
		seed = rand.Uint64N(1 << 31)
	}
	t.Logf("%d kills, SEED=%d", kills, seed)
	source := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it has to be repeatable
	return kills, func(below time.Duration) time.Duration {
		return time.Duration(source.Int64N(int64(below))).Round(time.Millisecond)
	}
}

// killWatcher ends the process of the watcher that leads as a power cut would.
func (l *lab) killWatcher(t *testing.T) {
	t.Helper()
	within(t, time.Minute, "a watcher to kill", func() bool {
		leader, killed := l.leader(t), 0
		for _, n := range l.nodes {
			out := l.on(t, n.Name, `for p in /proc/[0-9]*; do
				[ "$(cat $p/comm 2>/dev/null)" = rotate-certs-wa ] || continue
				tr '\0' '\n' < $p/environ | grep -qx HOSTNAME=`+leader+` || continue
				tr '\0' ' ' < $p/cmdline | grep -qE ' (agent|probe) ' && continue
				kill -9 ${p#/proc/} && echo killed
			done; true`)
			killed += strings.Count(string(out), "killed")
		}
		require.LessOrEqual(t, killed, 1, "one watcher leads")
		return killed == 1 // it may be on its way back from the last time
	})
}

// aKilledWatcherLosesNothing: whatever it was at, and NATS with it, the rotation that is
// due is carried out once.
func aKilledWatcherLosesNothing(t *testing.T) {
	nodes, before := the.controlPlanes(), len(the.rotations(t))
	kills, random := soak(t)
	all := moments(kills, random, notSeen, replacing)
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			r := the.beginRenewal(t, nodes[i%len(nodes)])
			within(t, 2*time.Minute, "the moment", func() bool { return m.come(t, r) })
			the.killWatcher(t)
			killed := time.Now()
			r.assertOnce(t)
			t.Logf("all done %s after the kill", time.Since(killed).Round(time.Millisecond))
		})
	}
	assert.Len(t, the.rotations(t), before+len(all), "nothing rotates again")
}
