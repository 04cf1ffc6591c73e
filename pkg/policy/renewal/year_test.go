package renewal_test

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// world is a cluster in simulated time. Its clock goes from one moment that the decisions
// name to the next, and to the ends of rotations; nothing is polled.
type world struct {
	t        *testing.T
	policy   renewal.Policy
	now      time.Time
	nodes    []renewal.Node
	kept     map[string]renewal.Assessment
	history  []renewal.Past
	running  *renewal.Proposal
	ends     time.Time
	made     int
	wakes    int
	started  []renewal.Proposal
	startsAt []time.Time
	// fails says on which nodes a rotation fails; nil: on none.
	fails func(w *world, r renewal.Proposal) (failed bool, on []string)
	// check is asked at each start.
	check func(w *world, r renewal.Proposal)
	// kubelets says that kubelets renew their client certificates themselves.
	kubelets bool
	// lifetime of what is issued.
	lifetime time.Duration
}

func newWorld(t *testing.T, p renewal.Policy, nodes ...renewal.Node) *world {
	return &world{t: t, policy: p, now: noon, nodes: nodes, kept: map[string]renewal.Assessment{}, lifetime: certs.DefaultLifetime}
}

// runs lets time pass until the end.
func (w *world) runs(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for w.now.Before(end) {
		w.wakes++
		require.Less(w.t, w.wakes, 100000, "it spins")
		next := w.step()
		if w.running != nil {
			next = sooner(next, w.ends)
		}
		for i := range w.nodes {
			if at := w.kubelet(i); !at.IsZero() {
				next = sooner(next, w.now.Add(max(at.Sub(w.now), time.Second)))
			}
		}
		if next.IsZero() || next.After(end) {
			next = end
		}
		require.True(w.t, next.After(w.now), "the next moment %s is not after %s", next, w.now)
		w.now = next
		w.finish()
	}
}

// step decides, as the watcher does, and returns when the passing of time changes that.
func (w *world) step() time.Time {
	var next time.Time
	in := renewal.Input{Now: w.now, Policy: &w.policy, Node: lookup(w.nodes), History: w.history}
	for i := range w.nodes {
		n := &w.nodes[i]
		a, ok := w.kept[n.Name]
		if !ok || !a.Next.IsZero() && !w.now.Before(a.Next) {
			a = renewal.Assess(w.now, &w.policy, n)
			w.kept[n.Name] = a
		}
		next = sooner(next, a.Next)
		if len(a.Items)+len(a.LeftOut) > 0 {
			in.Assessments = append(in.Assessments, a)
		}
	}
	d := renewal.Decide(in)
	require.LessOrEqual(w.t, len(d.Start), 1, "one renewal at a time")
	for _, r := range d.Start {
		require.Nil(w.t, w.running, "one rotation at a time")
		require.False(w.t, slices.ContainsFunc(w.history, func(p renewal.Past) bool { return p.Name == r.Name }), "the object of %s exists", r.Name)
		if w.check != nil {
			w.check(w, r)
		}
		w.started, w.startsAt = append(w.started, r), append(w.startsAt, w.now)
		w.running, w.ends = &r, w.now.Add(time.Duration(len(r.Nodes))*20*time.Second)
		w.history = append(w.history, renewal.Past{
			Name: r.Name, Services: r.Services, Nodes: r.Nodes, Fingerprints: r.Fingerprints, Created: w.now,
			State: renewal.Active, Attempt: r.Attempt, Automatic: true,
		})
	}
	return sooner(next, d.Next)
}

// finish ends the rotation in progress, once it is time.
func (w *world) finish() {
	for i := range w.nodes {
		if at := w.kubelet(i); !at.IsZero() && !at.After(w.now) {
			w.renew(&w.nodes[i], func(c renewal.Certificate) bool { return c.SelfManaged })
		}
	}
	if w.running == nil || w.now.Before(w.ends) {
		return
	}
	r, past := *w.running, &w.history[len(w.history)-1]
	w.running, past.Completed, past.State = nil, w.now, renewal.Succeeded
	failed, on := false, []string(nil)
	if w.fails != nil {
		failed, on = w.fails(w, r)
	}
	if failed {
		past.State, past.FailedNodes = renewal.Failed, on
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		if !slices.Contains(r.Nodes, n.Name) || failed && (len(on) == 0 || slices.Contains(on, n.Name)) {
			continue
		}
		w.renew(n, func(c renewal.Certificate) bool { return slices.Contains(r.Services, c.Service) })
	}
}

func (w *world) renew(n *renewal.Node, which func(renewal.Certificate) bool) {
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if !which(*c) || c.NotRenewable != "" {
			continue
		}
		require.True(w.t, w.now.Before(c.NotAfter) || w.policy.Freeze.On, "%s of %s expired %s, and it is %s", c.Name, n.Name, c.NotAfter, w.now)
		life := w.lifetime
		if c.SelfManaged {
			life = c.NotAfter.Sub(c.NotBefore)
		}
		c.NotBefore, c.NotAfter = w.now, w.now.Add(life)
		for _, ca := range n.Authorities {
			if ca.Subject == c.Issuer && ca.NotAfter.Before(c.NotAfter) {
				c.NotAfter = ca.NotAfter
			}
		}
		w.made++
		c.Fingerprint = fmt.Sprintf("%s-%s-%d", n.Name, c.Name, w.made)
	}
	delete(w.kept, n.Name)
}

// kubelet is when a node's kubelet renews its own certificate: at 80 % of its life.
func (w *world) kubelet(i int) time.Time {
	for _, c := range w.nodes[i].Certificates {
		if w.kubelets && c.SelfManaged {
			return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 5 * 4)
		}
	}
	return time.Time{}
}

func (w *world) neverExpired() {
	w.t.Helper()
	for _, n := range w.nodes {
		for _, c := range n.Certificates {
			assert.True(w.t, w.now.Before(c.NotAfter), "%s of %s ended %s", c.Name, n.Name, c.NotAfter)
		}
	}
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// cluster is three control planes that were set up within minutes, and workers that
// joined over months.
func cluster(workers int) []renewal.Node {
	var out []renewal.Node
	for i := range 3 {
		left := 200*day + time.Duration(i)*7*time.Minute
		out = append(out, controlPlane(fmt.Sprintf("cp%d", i+1), etcd(left), api(left), serving(left), client(left),
			leaf(certs.Admin, "admin.conf", left), leaf(certs.KubeScheduler, "scheduler.conf", left)))
	}
	for i := range workers {
		left := 60*day + time.Duration(i)*300*day/time.Duration(workers)
		out = append(out, worker(fmt.Sprintf("w%02d", i+1), serving(left), client(left)))
	}
	return out
}

const year = 365 * day

func TestYearOfDefaults(t *testing.T) {
	w := newWorld(t, renewal.Default(), cluster(20)...)
	w.kubelets = true
	w.runs(2 * year)
	w.neverExpired()
	var planes []renewal.Proposal
	for _, r := range w.started {
		if slices.Contains(r.Nodes, "cp1") {
			planes = append(planes, r)
		}
	}
	require.Len(t, planes, 2, "the control plane is rotated once a year")
	assert.Subset(t, planes[0].Nodes, []string{"cp1", "cp2", "cp3"}, "in one go")
	assert.Less(t, len(w.started), 2*25)
	assert.Less(t, w.wakes, 1000, "it wakes for changes, and does not poll")
}

func TestYearOfFailures(t *testing.T) {
	random := rand.New(rand.NewSource(1)) //nolint:gosec // the same failures every time
	p := renewal.Default()
	p.Retry.StopAfter = 0
	w := newWorld(t, p, cluster(20)...)
	failures := 0
	w.fails = func(w *world, r renewal.Proposal) (bool, []string) {
		if random.Intn(2) == 0 {
			return false, nil
		}
		failures++
		if random.Intn(2) == 0 {
			return true, nil
		}
		return true, []string{r.Nodes[random.Intn(len(r.Nodes))]}
	}
	w.check = func(w *world, _ renewal.Proposal) {
		assert.LessOrEqual(t, startedWithin(w, day), p.Limits.RotationsPerDay-1, "no more than the limit")
	}
	w.runs(2 * year)
	w.neverExpired()
	assert.Greater(t, failures, 10, "it was put to the test")
	assert.Less(t, len(w.started), 500)
}

func startedWithin(w *world, d time.Duration) (count int) {
	for _, at := range w.startsAt {
		if w.now.Sub(at) < d {
			count++
		}
	}
	return count
}

// TestYearWithABrokenNode: one node on which everything fails is tried once a day in the
// end, and does not delay the other nodes.
func TestYearWithABrokenNode(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known=%t", known), func(t *testing.T) {
			w := newWorld(t, renewal.Default(), cluster(4)...)
			w.nodes = append(w.nodes, worker("bad", serving(200*day)))
			tries := 0
			w.fails = func(_ *world, r renewal.Proposal) (bool, []string) {
				if !slices.Contains(r.Nodes, "bad") {
					return false, nil
				}
				tries++
				if known {
					return true, []string{"bad"}
				}
				return true, nil
			}
			w.runs(year)
			assert.Greater(t, tries, 100)
			assert.Less(t, startedWithin(w, day), 25)
			w.nodes = w.nodes[:3]
			w.neverExpired()
		})
	}
}

func TestYearOfWindows(t *testing.T) {
	p := renewal.Default()
	p.Default.Windows = []renewal.Window{weekly()}
	w := newWorld(t, p, cluster(20)...)
	overrides := 0
	w.nodes = append(w.nodes, worker("late", living(certs.Kubelet, "kubelet-server", year, 3*day)))
	w.check = func(w *world, r renewal.Proposal) {
		open, _ := p.Default.Windows[0].OpenAt(w.now)
		if r.Overrides {
			overrides++
			assert.Equal(t, []string{"late"}, r.Nodes)
		}
		assert.Equal(t, r.Overrides, !open, "outside its window only where an end is near")
	}
	w.runs(2 * year)
	w.neverExpired()
	assert.Equal(t, 1, overrides)
	assert.Less(t, w.wakes, 1000)
}

func TestYearWithAFreeze(t *testing.T) {
	p := renewal.Default()
	p.Freeze = renewal.Freeze{On: true, Until: noon.Add(185 * day)}
	w := newWorld(t, p, cluster(3)...)
	for i := range w.nodes {
		w.nodes[i].Certificates = w.nodes[i].Certificates[:1]
	}
	w.nodes = w.nodes[:3]
	w.check = func(w *world, _ renewal.Proposal) { assert.False(t, w.now.Before(p.Freeze.Until)) }
	w.runs(year)
	w.neverExpired()
	assert.Len(t, w.started, 1, "the day it thaws")
	assert.Equal(t, p.Freeze.Until, w.startsAt[0])
}

// TestYearOfAnEndingAuthority: leaves are capped by their CA, and are not rotated in ever
// shorter steps towards its end.
func TestYearOfAnEndingAuthority(t *testing.T) {
	for left := 1 * day; left < 500*day; left += 3*day + 7*time.Hour {
		n := controlPlane("cp1", etcd(60*day))
		n.Authorities = []renewal.Authority{authority("etcd-ca", left)}
		if n.Certificates[0].NotAfter.After(noon.Add(left)) {
			n.Certificates[0].NotAfter = noon.Add(left)
		}
		w := newWorld(t, renewal.Default(), n)
		w.runs(left - time.Minute)
		require.LessOrEqual(t, len(w.started), 2, "CA with %s left", left)
		w.neverExpired()
	}
}

// TestDayOfShortLives: certificates that live for ten minutes are renewed in time, over
// and over, where the policy asks for such a life.
func TestDayOfShortLives(t *testing.T) {
	p := renewal.Default()
	p.Default.Validity, p.Limits.RotationsPerDay = 10*time.Minute, 0
	w := newWorld(t, p, controlPlane("cp1", living(certs.Etcd, "etcd-server", 10*time.Minute, 9*time.Minute)))
	w.lifetime = p.Default.Validity
	tries := 0
	w.fails = func(*world, renewal.Proposal) (bool, []string) { tries++; return tries%5 == 0, nil }
	w.runs(day)
	w.neverExpired()
	assert.InDelta(t, 24*60/8*5/4, len(w.started), 30, "at four fifths of their life")
}

// TestYearOfALiar: a worker that makes up a new certificate each time it is rotated costs
// no more than the limit, and cannot keep the control plane from being rotated.
func TestYearOfALiar(t *testing.T) {
	w := newWorld(t, renewal.Default(), cluster(0)...)
	w.nodes = append(w.nodes, worker("liar", serving(due)))
	w.fails = func(w *world, _ renewal.Proposal) (bool, []string) {
		liar := &w.nodes[3]
		liar.Certificates[0].Fingerprint = fmt.Sprintf("lie-%d", w.wakes)
		liar.Certificates[0].NotBefore, liar.Certificates[0].NotAfter = w.now.Add(-350*day), w.now.Add(15*day)
		delete(w.kept, "liar")
		return true, nil
	}
	w.check = func(w *world, r renewal.Proposal) {
		assert.LessOrEqual(t, startedWithin(w, day), renewal.Default().Limits.RotationsPerDay-1)
		if r.Nodes[0] == "liar" {
			assert.Equal(t, []certs.Service{certs.Kubelet}, r.Services)
		}
	}
	w.runs(30 * day)
	assert.LessOrEqual(t, len(w.started), 6*31)
}

// TestYearsAtRandom: clusters, policies and failures at random. Whatever they are, what a
// policy forbids does not happen, and what it allows is in time.
func TestYearsAtRandom(t *testing.T) {
	for seed := range int64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewSource(seed)) //nolint:gosec // the same world every time
			p := renewal.Default()
			p.Retry.StopAfter = 0
			p.Limits.RotationsPerDay = 4 + random.Intn(5)
			p.Limits.NodesPerRotation = 2 + random.Intn(20)
			if random.Intn(2) == 0 {
				p.Default.Windows = []renewal.Window{[]renewal.Window{nightly(), weekly()}[random.Intn(2)]}
			}
			if random.Intn(3) == 0 {
				p.Freeze = renewal.Freeze{On: true, Until: noon.Add(time.Duration(random.Intn(14)) * day), Override: random.Intn(2) == 0}
			}
			nodes := cluster(random.Intn(12))
			for i := range nodes {
				for j := range nodes[i].Certificates {
					c := &nodes[i].Certificates[j]
					c.NotAfter = noon.Add(15*day + time.Duration(random.Int63n(int64(year))))
					c.NotBefore = c.NotAfter.Add(-time.Duration(200+random.Intn(300)) * day)
				}
			}
			w := newWorld(t, p, nodes...)
			w.kubelets = random.Intn(2) == 0
			w.fails = func(_ *world, r renewal.Proposal) (bool, []string) {
				switch random.Intn(8) {
				case 0:
					return true, nil
				case 1:
					return true, []string{r.Nodes[random.Intn(len(r.Nodes))]}
				}
				return false, nil
			}
			w.check = func(w *world, r renewal.Proposal) {
				assert.Less(t, startedWithin(w, day), p.Limits.RotationsPerDay)
				assert.LessOrEqual(t, len(r.Nodes), p.Limits.NodesPerRotation)
				frozen := p.Freeze.On && w.now.Before(p.Freeze.Until)
				closed := len(p.Default.Windows) > 0 && !isOpen(p.Default.Windows[0], w.now)
				if !frozen && !closed {
					assert.False(t, r.Overrides)
					return
				}
				assert.True(t, r.Overrides)
				assert.True(t, !frozen || p.Freeze.Override)
				for _, ref := range r.Certificates {
					assert.LessOrEqual(t, ref.NotAfter.Sub(w.now), 7*day, "%s of %s could have waited", ref.Name, ref.Node)
				}
			}
			w.runs(2 * year)
			w.neverExpired()
			assert.Less(t, w.wakes, 4000)
		})
	}
}

func isOpen(w renewal.Window, now time.Time) bool {
	open, _ := w.OpenAt(now)
	return open
}
