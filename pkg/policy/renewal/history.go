package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// State is how a rotation stands, as far as a decision cares.
type State string

// The states.
const (
	Active State = "Active" // asked for, pending, running or interrupted: it goes on
	// Suspended is one that an operator has suspended. It keeps what it is about from other
	// renewals, and holds up nothing else.
	Suspended State = "Suspended"
	Succeeded State = "Succeeded"
	Failed    State = "Failed" // stopped; what it touched last is as it was
	// Refused is one that ended before it touched a node: the cluster was not healthy enough,
	// a webhook said no, nothing of what it was about was there. No certificate is to blame.
	Refused State = "Refused"
	// Canceled is one that was not begun, since the policy did not allow it any more when its
	// turn came.
	Canceled                   State = "Canceled"
	ManualInterventionRequired State = "ManualInterventionRequired" // a node is neither provably old nor new
)

// Past is a rotation that there is or was, whoever asked for it.
type Past struct {
	Name         string
	Services     []certs.Service
	Nodes        []string // empty: every node
	Fingerprints []string // of what was to go
	Created      time.Time
	Completed    time.Time // zero: not yet
	State        State
	Attempt      int
	Automatic    bool // the watcher asked for it
	Compromised  bool // it trusts no old key
	// FailedNodes are those that it failed on, where that is known. What is on other
	// nodes is not blamed.
	FailedNodes []string
}

// about says whether a rotation was to replace this very certificate. A fingerprint alone
// does not tell: those of serving certificates are public, and any node can report one.
func (p *Past) about(ref Ref) bool {
	return p.covers(ref.Node, ref.Service) && slices.Contains(p.Fingerprints, ref.Fingerprint)
}

// Open says that a rotation has not come to its end.
func (p *Past) Open() bool { return p.State == Active || p.State == Suspended }

// suspended returns the suspended rotation that the watcher asked for and that is about a
// certificate; nil: none is. What others ask for names no certificates, and keeps nothing back.
func (r record) suspended(ref Ref) *Past {
	for _, p := range r.pasts[ref.Fingerprint] {
		if p.State == Suspended && p.Automatic && p.about(ref) {
			return p
		}
	}
	return nil
}

func suspendedText(p *Past) string {
	return "rotation " + quoted(p.Name) + " of it is suspended; set its spec.suspend to false, or delete it to have another one asked for"
}

// touched says whether a rotation may have changed something on a node.
func (p *Past) touched() bool { return p.State != Refused && p.State != Canceled }

func (p *Past) ended() time.Time {
	if p.Completed.IsZero() {
		return p.Created
	}
	return p.Completed
}

// record is what was tried before, by fingerprint; [Past.about] tells what of it concerns a
// certificate.
type record struct {
	pasts map[string][]*Past
}

func newRecord(history []Past) record {
	r := record{pasts: map[string][]*Past{}}
	for i := range history {
		for _, f := range history[i].Fingerprints {
			r.pasts[f] = append(r.pasts[f], &history[i])
		}
	}
	return r
}

// attempts is the highest attempt among the rotations that were to replace a certificate,
// came to their end, and left it in place, whatever they say of themselves.
func (r record) attempts(ref Ref) int {
	highest := 0
	for _, p := range r.pasts[ref.Fingerprint] {
		if !p.Open() && p.about(ref) && p.Attempt < absurdAttempt {
			highest = max(highest, p.Attempt)
		}
	}
	return highest
}

// absurdAttempt is more than the watcher ever comes to: who may ask for rotations has made
// it up.
const absurdAttempt = 1_000_000

// trouble is what was tried for one certificate in vain.
type trouble struct {
	failures                   int       // that it is blamed for
	refusals                   int       // that touched no node; it may be the reason of each
	elsewhere                  bool      // it failed on another node
	canceled                   int       // that were not begun
	last                       time.Time // the end of the last attempt, whoever is to blame
	name                       string    // of that one
	manualInterventionRequired bool
	apart                      bool // nothing tells which node failed: control plane and workers go apart
}

// trouble sums up the attempts that left a certificate in place. One that is still there
// although its rotation succeeded is blamed as well: else it would be rotated for ever.
func (r record) trouble(ref Ref, compromised bool) trouble {
	var t trouble
	for _, p := range r.pasts[ref.Fingerprint] {
		if p.Open() || compromised && !p.Compromised || !p.about(ref) {
			continue
		}
		if end := p.ended(); !end.Before(t.last) {
			t.last, t.name = end, p.Name
		}
		switch {
		case p.State == Canceled:
			t.canceled++
			continue
		case len(p.FailedNodes) > 0 && !slices.Contains(p.FailedNodes, ref.Node):
			t.elsewhere = true
			continue
		case p.State == Refused:
			t.refusals++
		default:
			t.failures++
		}
		t.apart = t.apart || len(p.FailedNodes) == 0
		t.manualInterventionRequired = t.manualInterventionRequired || p.State == ManualInterventionRequired
	}
	return t
}

func (t trouble) words() string {
	if t.failures == 0 && t.refusals > 0 {
		return "was refused before it touched a node"
	}
	return "has failed or left it in place"
}

// leastPause is how long there is between two attempts at the least.
const leastPause = 30 * time.Second

// pause is how long after the last attempt something is tried again: what is not to blame
// for a failure waits as after a first one, since what failed on one node may fail on the
// next. It shrinks with what it is for: a certificate that lives for an hour cannot wait
// for one.
func (r Retry) pause(failures int, threshold time.Duration) time.Duration {
	d := r.Initial
	for range min(max(failures, 1), 62) - 1 {
		if d *= 2; d >= r.Max || d <= 0 {
			d = r.Max
			break
		}
	}
	if threshold > 0 {
		d = min(d, threshold/8)
	}
	return max(d, leastPause)
}

// pauseAfterCancel is how long after one that was not begun it is asked for again: soon,
// since the policy has held it back meanwhile; but not for ever, should that not be so.
func (r Retry) pauseAfterCancel(canceled int) time.Duration {
	return min(leastPause<<min(max(canceled, 1)-1, 12), max(r.Max, leastPause))
}

// today counts the renewals that started automatically within the day before now and
// touched a node, and says when the oldest that is too many leaves that day.
func today(history []Past, now time.Time, limit int) (full bool, until time.Time) {
	return full24h(history, now, limit, func(*Past) bool { return true })
}

// PerNode is how many of a day's renewals one node may take part in: half of them, so that
// no node uses up those of the others, whatever it reports. 0: no limit.
func (l Limits) PerNode() int { return (l.RotationsPerDay + 1) / 2 }

// ofNode is [today] for the renewals of one node, without those that failed on others.
func ofNode(history []Past, now time.Time, limit int, node string) (full bool, until time.Time) {
	return full24h(history, now, limit, func(p *Past) bool {
		return slices.Contains(p.Nodes, node) && (len(p.FailedNodes) == 0 || slices.Contains(p.FailedNodes, node))
	})
}

func full24h(history []Past, now time.Time, limit int, counts func(*Past) bool) (full bool, until time.Time) {
	if limit == 0 {
		return false, time.Time{}
	}
	var created []time.Time
	for i := range history {
		if p := &history[i]; p.Automatic && !p.Compromised && p.touched() && now.Sub(p.Created) < day && counts(p) {
			created = append(created, p.Created)
		}
	}
	if len(created) < limit {
		return false, time.Time{}
	}
	slices.SortFunc(created, time.Time.Compare)
	return true, created[len(created)-limit].Add(day)
}
