package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// State is the state of a rotation, as far as decisions need it.
type State string

// The states.
const (
	Active State = "Active" // pending, in progress or interrupted
	// Suspended rotations keep their certificates from other renewals, and delay nothing else.
	Suspended State = "Suspended"
	Succeeded State = "Succeeded"
	Failed    State = "Failed" // stopped; the failed node was rolled back or not changed
	// Refused rotations ended before they touched a node: the cluster was not healthy, a
	// webhook refused the pods, none of the certificates existed. It is not a failure of a
	// certificate.
	Refused State = "Refused"
	// Canceled rotations did not start, since the policy no longer permitted them.
	Canceled                   State = "Canceled"
	ManualInterventionRequired State = "ManualInterventionRequired" // the state of a node is unknown
)

// Past is a rotation that exists, from any creator.
type Past struct {
	Name         string
	Services     []certs.Service
	Nodes        []string // empty: every node
	Fingerprints []string // of the certificates to replace
	Created      time.Time
	Completed    time.Time // zero: not yet
	State        State
	Attempt      int
	Automatic    bool // the watcher created it
	Compromised  bool // it replaces compromised keys
	// FailedNodes are the failed nodes, if known. Certificates on other nodes have not failed.
	FailedNodes []string
}

// concernsCertificate is true if a rotation is to replace this very certificate. Fingerprints alone are
// not enough: those of serving certificates are public, and any node can report one.
func (p *Past) concernsCertificate(ref Ref) bool {
	return p.coversService(ref.Node, ref.Service) && slices.Contains(p.Fingerprints, ref.Fingerprint)
}

// IsOpen is true for a rotation that has not ended.
func (p *Past) IsOpen() bool { return p.State == Active || p.State == Suspended }

// suspendedRotation returns the suspended automatic rotation of a certificate; nil: there is
// none. Rotations of other creators name no certificates, and hold none.
func (r attemptIndex) suspendedRotation(ref Ref) *Past {
	for _, p := range r.pasts[ref.Fingerprint] {
		if p.State == Suspended && p.Automatic && p.concernsCertificate(ref) {
			return p
		}
	}
	return nil
}

func suspendedText(p *Past) string {
	return "rotation " + quoteName(p.Name) + " is suspended; set its spec.suspend to false, or delete it to have another one requested"
}

// mayHaveChanged is true if a rotation may have changed a node.
func (p *Past) mayHaveChanged() bool { return p.State != Refused && p.State != Canceled }

func (p *Past) endTime() time.Time {
	if p.Completed.IsZero() {
		return p.Created
	}
	return p.Completed
}

// attemptIndex are the rotations by fingerprint; [Past.concernsCertificate] selects those of a
// certificate.
type attemptIndex struct {
	pasts map[string][]*Past
}

func newAttemptIndex(history []Past) attemptIndex {
	r := attemptIndex{pasts: map[string][]*Past{}}
	for i := range history {
		for _, f := range history[i].Fingerprints {
			r.pasts[f] = append(r.pasts[f], &history[i])
		}
	}
	return r
}

// highestAttempt is the highest attempt among the ended rotations of a certificate that is
// still there.
func (r attemptIndex) highestAttempt(ref Ref) int {
	highest := 0
	for _, p := range r.pasts[ref.Fingerprint] {
		if !p.IsOpen() && p.concernsCertificate(ref) && p.Attempt < maxPlausibleAttempt {
			highest = max(highest, p.Attempt)
		}
	}
	return highest
}

// maxPlausibleAttempt is more than the watcher ever reaches: a higher number comes from
// another publisher of requests.
const maxPlausibleAttempt = 1_000_000

// failures are the unsuccessful attempts for one certificate.
type failures struct {
	failures                   int       // of this certificate
	refusals                   int       // rotations that touched no node, perhaps because of this certificate
	elsewhere                  bool      // it failed on another node
	canceled                   int       // rotations that did not start
	last                       time.Time // the end of the last attempt
	name                       string    // of the last attempt
	manualInterventionRequired bool
	separate                   bool // the failed node is unknown: control plane and workers are not combined
}

// failuresOf sums up the attempts that left a certificate in place. A certificate that is
// still there although its rotation succeeded has failed, too: it would be rotated forever
// otherwise.
func (r attemptIndex) failuresOf(ref Ref, compromised bool) failures {
	var t failures
	for _, p := range r.pasts[ref.Fingerprint] {
		if p.IsOpen() || compromised && !p.Compromised || !p.concernsCertificate(ref) {
			continue
		}
		if end := p.endTime(); !end.Before(t.last) {
			t.last = end
			t.name = p.Name
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
		t.separate = t.separate || len(p.FailedNodes) == 0
		t.manualInterventionRequired = t.manualInterventionRequired || p.State == ManualInterventionRequired
	}
	return t
}

func (t failures) describeFailures() string {
	if t.failures == 0 && t.refusals > 0 {
		return "was refused before it touched a node"
	}
	return "has failed or left it in place"
}

// minPause is the minimum pause between two attempts.
const minPause = 30 * time.Second

// pauseAfter is the pause after the last attempt. Certificates on other nodes than the failed
// one wait as after a first failure, since the same may happen to them. The pause is shorter
// for short-lived certificates.
func (r Retry) pauseAfter(failures int, threshold time.Duration) time.Duration {
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
	return max(d, minPause)
}

// pauseAfterCancel is the pause after rotations that did not start: short, since the policy
// has delayed them, and growing, in case it has not.
func (r Retry) pauseAfterCancel(canceled int) time.Duration {
	return min(minPause<<min(max(canceled, 1)-1, 12), max(r.Max, minPause))
}

// dailyLimitReached counts the automatic renewals of the last 24 hours that touched a node,
// and returns until when the limit is reached.
func dailyLimitReached(history []Past, now time.Time, limit int) (full bool, until time.Time) {
	return limitReached(history, now, limit, func(*Past) bool { return true })
}

// PerNode is how many of a day's renewals one node may take part in: half of them, so that no
// node uses up the limit of the others, whatever it reports. 0: no limit.
func (l Limits) PerNode() int { return (l.RotationsPerDay + 1) / 2 }

// nodeLimitReached is [dailyLimitReached] for one node, without renewals that failed on other
// nodes.
func nodeLimitReached(history []Past, now time.Time, limit int, node string) (full bool, until time.Time) {
	return limitReached(history, now, limit, func(p *Past) bool {
		return slices.Contains(p.Nodes, node) && (len(p.FailedNodes) == 0 || slices.Contains(p.FailedNodes, node))
	})
}

func limitReached(history []Past, now time.Time, limit int, counts func(*Past) bool) (full bool, until time.Time) {
	if limit == 0 {
		return false, time.Time{}
	}
	var created []time.Time
	for i := range history {
		if p := &history[i]; p.Automatic && !p.Compromised && p.mayHaveChanged() && now.Sub(p.Created) < certs.Day && counts(p) {
			created = append(created, p.Created)
		}
	}
	if len(created) < limit {
		return false, time.Time{}
	}
	slices.SortFunc(created, time.Time.Compare)
	return true, created[len(created)-limit].Add(certs.Day)
}
