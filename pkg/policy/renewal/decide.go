package renewal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Reason is why a due certificate does not start to rotate.
type Reason string

// The reasons.
const (
	ReasonRunning         Reason = "Running"         // another rotation is in progress
	ReasonQueued          Reason = "Queued"          // it does not fit into the rotation that starts now
	ReasonSuspended       Reason = "Suspended"       // its rotation is suspended
	ReasonWindow          Reason = "Window"          // no maintenance window is open
	ReasonFreeze          Reason = "Freeze"          // the policy has a freeze
	ReasonLimit           Reason = "Limit"           // the daily limit is reached
	ReasonBackOff         Reason = "BackOff"         // it failed, and is tried again later
	ReasonStopped         Reason = "Stopped"         // it failed too often, or manual intervention is required: it is tried once a day
	ReasonNotifyOnly      Reason = "NotifyOnly"      // its rule starts nothing
	ReasonCAExpiresSoon   Reason = "CAExpiresSoon"   // a new certificate would expire with its CA, too soon
	ReasonNoGain          Reason = "NoGain"          // a new certificate would be due again before the old one expires
	ReasonNodeUnavailable Reason = "NodeUnavailable" // no pod can run on its node now
	ReasonNotRenewable    Reason = "NotRenewable"    // it cannot be renewed on its node
	ReasonNotControlPlane Reason = "NotControlPlane" // a worker reports a certificate of the control plane
)

// Input is everything that a decision depends on.
type Input struct {
	Now    time.Time
	Policy *Policy
	// Assessments of the nodes that have Items; there may be others.
	Assessments []Assessment
	// Node returns a node of the cluster; false: it does not exist. It is called for nodes
	// with due or compromised certificates.
	Node                    func(name string) (Node, bool)
	CompromisedCertificates []CompromisedCertificate
	History                 []Past
	// Requested are earlier proposals whose objects do not exist yet. While all their
	// certificates are still due or compromised, each is proposed again unchanged, so that no
	// two objects are created for one certificate.
	Requested []Proposal
}

// Decision is what to do now.
type Decision struct {
	// Start are the rotations to request: at most one renewal, and replacements of compromised
	// keys. They are returned until History has them.
	Start []Proposal
	// Waiting are due and compromised certificates that do not start.
	Waiting []Waiting
	Next    time.Time // when the clock alone changes the decision; zero: never
}

// Proposal is one rotation to request.
type Proposal struct {
	Name                    string
	Compromised             bool
	Services                []certs.Service
	Nodes                   []string
	Restart                 plan.RestartPolicy
	Validity                time.Duration // 0: the default of the cluster
	MaxUnavailable          string
	Fingerprints            []string // of Certificates, sorted, once each
	Certificates            []Ref    // due; others of the same services and nodes are renewed with them
	CompromisedCertificates []string // names
	Attempt                 int
	// Overrides means that it starts outside its window, because a certificate expires soon.
	Overrides bool
	// Urgent means that a certificate has expired, or expires too soon to wait for a window.
	Urgent bool
}

// Waiting are certificates that wait for the same reason.
type Waiting struct {
	Reason       Reason
	Text         string    // an explanation
	Until        time.Time // zero: time alone does not end it
	Compromised  bool
	Certificates []Ref
}

// Decide returns the rotations that start now. Compromised keys come first, and wait only
// after own failures, unless the policy stops them. A renewal starts if no rotation is in
// progress: one rotation of everything that is due and permitted, as far as the rules agree.
func Decide(in Input) Decision {
	d := decider{Input: in, attempts: newAttemptIndex(in.History), nodes: map[string]*Node{}, waiting: map[string]*Waiting{}}
	start := d.compromisedProposals()
	start = append(start, d.renewalProposals(len(start) > 0)...)
	out := Decision{Start: start, Next: d.next}
	for _, w := range d.waiting {
		sortRefs(w.Certificates)
		out.Waiting = append(out.Waiting, *w)
	}
	slices.SortFunc(out.Waiting, func(a, b Waiting) int {
		return cmp.Or(strings.Compare(string(a.Reason), string(b.Reason)), a.Until.Compare(b.Until), strings.Compare(a.Text, b.Text))
	})
	return out
}

type decider struct {
	Input
	attempts attemptIndex
	nodes    map[string]*Node // returned by Input.Node; nil: does not exist
	waiting  map[string]*Waiting
	next     time.Time
}

func (d *decider) lookupNode(name string) *Node {
	if n, known := d.nodes[name]; known {
		return n
	}
	d.nodes[name] = nil
	if n, ok := d.Node(name); ok {
		d.nodes[name] = &n
	}
	return d.nodes[name]
}

func (d *decider) addWaiting(ref Ref, compromised bool, why Reason, text string, until time.Time) {
	if until.After(d.Now) {
		d.next = EarlierOf(d.next, until)
	}
	key := fmt.Sprint(why, text, until.Unix(), compromised)
	w := d.waiting[key]
	if w == nil {
		w = &Waiting{Reason: why, Text: text, Until: until, Compromised: compromised}
		d.waiting[key] = w
	}
	w.Certificates = append(w.Certificates, ref)
}

// renewalProposals proposes at most one rotation of due certificates.
func (d *decider) renewalProposals(compromised bool) []Proposal {
	var due, soon []Item
	for _, a := range d.Assessments {
		for _, left := range a.LeftOut {
			d.addWaiting(left.Ref, false, ReasonNotRenewable, left.Text, time.Time{})
		}
		for _, item := range a.Items {
			switch {
			case !d.isEligible(item):
			case item.Soon:
				soon = append(soon, item)
			default:
				due = append(due, item)
			}
		}
	}
	if len(due) == 0 {
		return nil
	}
	if text := d.busyText(compromised); text != "" {
		for _, item := range due {
			d.addWaiting(item.Ref, false, ReasonRunning, text, time.Time{})
		}
		return nil
	}
	if r, ok := d.repeatRequest(due, soon); ok {
		return []Proposal{r}
	}
	limit := d.Policy.Limits.RotationsPerDay
	if full, until := dailyLimitReached(d.History, d.Now, limit); full {
		for _, item := range due {
			d.addWaiting(item.Ref, false, ReasonLimit, limitText(limit), until)
		}
		return nil
	}
	due = d.withinNodeLimit(due)
	soon = d.withinNodeLimit(soon)
	if len(due) == 0 {
		return nil
	}
	rotation, left := d.gatherProposal(due, soon)
	for _, item := range left {
		d.addWaiting(item.Ref, false, ReasonQueued, "it follows the rotation that starts now", time.Time{})
	}
	return []Proposal{rotation}
}

// withinNodeLimit returns the items that are urgent, or whose nodes have not reached their
// part of the daily limit, and records that the others wait.
func (d *decider) withinNodeLimit(items []Item) []Item {
	limit := d.Policy.Limits.PerNode()
	full := map[string]time.Time{} // until when; zero: the limit is not reached
	return slices.DeleteFunc(slices.Clone(items), func(item Item) bool {
		if item.rule.isUrgent(&item.cert, d.Now) {
			return false
		}
		until, known := full[item.Node]
		if !known {
			_, until = nodeLimitReached(d.History, d.Now, limit, item.Node)
			full[item.Node] = until
		}
		if !until.IsZero() && !item.Soon {
			d.addWaiting(item.Ref, false, ReasonLimit, fmt.Sprintf("%d rotations of node %s have started within a day: the limit of a node is reached", limit, item.Node), until)
		}
		return !until.IsZero()
	})
}

func limitText(limit int) string {
	return fmt.Sprintf("%d rotations have started within a day: the limit is reached", limit)
}

// isEligible is true if nothing but other rotations delays an item, and records the reason if
// not.
func (d *decider) isEligible(item Item) bool {
	why, text, until := d.holdReason(item)
	if why == "" {
		return true
	}
	if !item.Soon {
		d.addWaiting(item.Ref, false, why, text, until)
	}
	return false
}

func (d *decider) holdReason(item Item) (Reason, string, time.Time) {
	if item.Held != "" {
		return item.Held, item.HeldText, item.Until
	}
	if p := d.attempts.suspendedRotation(item.Ref); p != nil {
		return ReasonSuspended, suspendedText(p), time.Time{}
	}
	if why, text, until := d.backOffReason(item.Ref, item.rule, &item.cert, false); why != "" {
		return why, text, until
	}
	at, why := d.Policy.earliestStart(item.rule, &item.cert, d.Now)
	if !at.IsZero() && !at.After(d.Now) {
		return "", "", time.Time{}
	}
	return why, d.Policy.closedText(why, item.rule, at), at
}

func (f Freeze) freezeText() string {
	text := "renewals are frozen"
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	return text
}

// busyText is why another rotation has precedence.
func (d *decider) busyText(compromised bool) string {
	if compromised {
		return "compromised keys are replaced first"
	}
	for i := range d.History {
		if d.History[i].State == Active {
			return "rotation " + quoteName(d.History[i].Name) + " is in progress"
		}
	}
	return ""
}

// repeatRequest returns an earlier proposal, if all of it may still start.
func (d *decider) repeatRequest(due, soon []Item) (Proposal, bool) {
	allowed := map[key]bool{}
	for _, item := range due {
		allowed[item.refKey()] = true
	}
	isDue := func(r Ref) bool { return allowed[r.refKey()] }
	for _, r := range d.Requested {
		if r.Compromised || slices.ContainsFunc(d.History, func(p Past) bool { return p.Name == r.Name }) || !slices.ContainsFunc(r.Certificates, isDue) {
			continue
		}
		requested := map[key]bool{}
		for _, ref := range r.Certificates {
			requested[ref.refKey()] = true
		}
		for _, item := range soon {
			allowed[item.refKey()] = true
		}
		if slices.ContainsFunc(r.Certificates, func(ref Ref) bool { return !allowed[ref.refKey()] }) {
			continue
		}
		for _, item := range due {
			if !requested[item.refKey()] {
				d.addWaiting(item.Ref, false, ReasonQueued, "it follows the requested rotation", time.Time{})
			}
		}
		return r, true
	}
	return Proposal{}, false
}

func quoteName(s string) string { return fmt.Sprintf("%q", s) }
