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

// Reason is why something that is due does not start.
type Reason string

// The reasons.
const (
	ReasonRunning         Reason = "Running"         // one rotation at a time, and there is one
	ReasonQueued          Reason = "Queued"          // it does not fit into the one that starts now
	ReasonSuspended       Reason = "Suspended"       // its rotation is there, and somebody has suspended it
	ReasonWindow          Reason = "Window"          // no maintenance window is open
	ReasonFreeze          Reason = "Freeze"          // the policy stops everything
	ReasonLimit           Reason = "Limit"           // enough rotations for this day
	ReasonBackOff         Reason = "BackOff"         // it failed, and is tried again later
	ReasonStopped         Reason = "Stopped"         // it failed too often: a person must look, and it is tried once a day
	ReasonNotifyOnly      Reason = "NotifyOnly"      // its rule acts on nothing
	ReasonCANearEnd       Reason = "CANearEnd"       // a successor would end with its CA, too soon
	ReasonNoGain          Reason = "NoGain"          // a successor would be due again before the old one ends
	ReasonNodeAway        Reason = "NodeAway"        // no pod of ours can work there now
	ReasonNotRenewable    Reason = "NotRenewable"    // nothing on its node can renew it
	ReasonNotControlPlane Reason = "NotControlPlane" // a worker reports a certificate of the control plane
)

// Input is everything that a decision depends on.
type Input struct {
	Now    time.Time
	Policy *Policy
	// Assessments of the nodes that have Items. Others may be among them.
	Assessments []Assessment
	// Node returns a node of the cluster; false: there is none of that name any more. It
	// is asked about nodes with due certificates and about those that marks name.
	Node    func(name string) (Node, bool)
	Marks   []Mark
	History []Past
	// Requested are rotations that were asked for before and whose objects do not exist
	// yet. While all of it is still due, or compromised, each is asked for again as it was,
	// so that no two objects are made for one certificate.
	Requested []Proposal
}

// Decision is what to do now.
type Decision struct {
	// Start are rotations to ask for: at most one renewal, and what replaces compromised
	// keys. They are returned until History knows them.
	Start []Proposal
	// Waiting is what is due, or compromised, and does not start.
	Waiting []Waiting
	Next    time.Time // when the clock alone changes the decision; zero: never
}

// Proposal is one rotation to ask for.
type Proposal struct {
	Name           string
	Compromised    bool
	Services       []certs.Service
	Nodes          []string
	Restart        plan.RestartPolicy
	Validity       time.Duration // 0: as the cluster has it
	MaxUnavailable string
	Fingerprints   []string // of Certificates, sorted, once each
	Certificates   []Ref    // what is due; what shares their services and nodes comes along
	Marks          []string // names
	Attempt        int
	// Overrides says that it starts outside its window, because an end is near.
	Overrides bool
	// Urgent says that an end is near enough not to wait for a window, or past.
	Urgent bool
}

// Waiting is a group of certificates that wait for the same.
type Waiting struct {
	Reason       Reason
	Text         string    // a sentence for people
	Until        time.Time // zero: not by time alone
	Compromised  bool
	Certificates []Ref
}

// Decide says what starts now. Compromised keys come first and wait for nothing but their
// own failures, unless the policy holds them back. A renewal starts when nothing else
// runs: everything that is due and allowed, in one rotation as far as the rules agree.
func Decide(in Input) Decision {
	d := decider{Input: in, record: newRecord(in.History), nodes: map[string]*Node{}, waiting: map[string]*Waiting{}}
	start := d.compromises()
	start = append(start, d.renewals(len(start) > 0)...)
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
	record  record
	nodes   map[string]*Node // that Input.Node returned; nil: there is none
	waiting map[string]*Waiting
	next    time.Time
}

func (d *decider) node(name string) *Node {
	if n, asked := d.nodes[name]; asked {
		return n
	}
	d.nodes[name] = nil
	if n, ok := d.Node(name); ok {
		d.nodes[name] = &n
	}
	return d.nodes[name]
}

func (d *decider) wait(ref Ref, compromised bool, why Reason, text string, until time.Time) {
	if until.After(d.Now) {
		d.next = earlier(d.next, until)
	}
	key := fmt.Sprint(why, text, until.Unix(), compromised)
	w := d.waiting[key]
	if w == nil {
		w = &Waiting{Reason: why, Text: text, Until: until, Compromised: compromised}
		d.waiting[key] = w
	}
	w.Certificates = append(w.Certificates, ref)
}

// renewals starts at most one rotation of what is due.
func (d *decider) renewals(compromised bool) []Proposal {
	var due, soon []Item
	for _, a := range d.Assessments {
		for _, left := range a.LeftOut {
			d.wait(left.Ref, false, ReasonNotRenewable, left.Text, time.Time{})
		}
		for _, item := range a.Items {
			switch {
			case !d.eligible(item):
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
	if text := d.busy(compromised); text != "" {
		for _, item := range due {
			d.wait(item.Ref, false, ReasonRunning, text, time.Time{})
		}
		return nil
	}
	if r, ok := d.again(due, soon); ok {
		return []Proposal{r}
	}
	limit := d.Policy.Limits.RotationsPerDay
	if full, until := today(d.History, d.Now, limit); full {
		for _, item := range due {
			d.wait(item.Ref, false, ReasonLimit, limitText(limit), until)
		}
		return nil
	}
	due, soon = d.withinShare(due), d.withinShare(soon)
	if len(due) == 0 {
		return nil
	}
	rotation, left := d.gather(due, soon)
	for _, item := range left {
		d.wait(item.Ref, false, ReasonQueued, "it comes after the rotation that starts now", time.Time{})
	}
	return []Proposal{rotation}
}

// withinShare returns the items whose nodes have not had their share of a day's renewals, or
// that are urgent, and notes that the others wait.
func (d *decider) withinShare(items []Item) []Item {
	limit := d.Policy.Limits.PerNode()
	full := map[string]time.Time{} // until when; zero: it is not
	return slices.DeleteFunc(slices.Clone(items), func(item Item) bool {
		if item.rule.urgent(&item.cert, d.Now) {
			return false
		}
		until, known := full[item.Node]
		if !known {
			_, until = ofNode(d.History, d.Now, limit, item.Node)
			full[item.Node] = until
		}
		if !until.IsZero() && !item.Soon {
			d.wait(item.Ref, false, ReasonLimit, fmt.Sprintf("%d rotations of node %s have started within a day, which is its share", limit, item.Node), until)
		}
		return !until.IsZero()
	})
}

func limitText(limit int) string { return fmt.Sprintf("%d rotations have started within a day", limit) }

// eligible says whether nothing but the rotations of others holds an item back, and notes
// what does.
func (d *decider) eligible(item Item) bool {
	why, text, until := d.held(item)
	if why == "" {
		return true
	}
	if !item.Soon {
		d.wait(item.Ref, false, why, text, until)
	}
	return false
}

func (d *decider) held(item Item) (Reason, string, time.Time) {
	if item.Held != "" {
		return item.Held, item.HeldText, item.Until
	}
	if p := d.record.suspended(item.Ref); p != nil {
		return ReasonSuspended, suspendedText(p), time.Time{}
	}
	if why, text, until := d.failed(item.Ref, item.rule, &item.cert, false); why != "" {
		return why, text, until
	}
	at, why := d.Policy.start(item.rule, &item.cert, d.Now)
	if !at.IsZero() && !at.After(d.Now) {
		return "", "", time.Time{}
	}
	return why, d.Policy.closed(why, item.rule, at), at
}

func (f Freeze) text() string {
	text := "renewals are frozen"
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	return text
}

// busy says what else runs.
func (d *decider) busy(compromised bool) string {
	if compromised {
		return "what is compromised comes first"
	}
	for i := range d.History {
		if d.History[i].State == Active {
			return "rotation " + quoted(d.History[i].Name) + " is not at its end"
		}
	}
	return ""
}

// again returns a rotation that was asked for before, if all of it may still start.
func (d *decider) again(due, soon []Item) (Proposal, bool) {
	allowed := map[key]bool{}
	for _, item := range due {
		allowed[item.key()] = true
	}
	isDue := func(r Ref) bool { return allowed[r.key()] }
	for _, r := range d.Requested {
		if r.Compromised || slices.ContainsFunc(d.History, func(p Past) bool { return p.Name == r.Name }) || !slices.ContainsFunc(r.Certificates, isDue) {
			continue
		}
		asked := map[key]bool{}
		for _, ref := range r.Certificates {
			asked[ref.key()] = true
		}
		for _, item := range soon {
			allowed[item.key()] = true
		}
		if slices.ContainsFunc(r.Certificates, func(ref Ref) bool { return !allowed[ref.key()] }) {
			continue
		}
		for _, item := range due {
			if !asked[item.key()] {
				d.wait(item.Ref, false, ReasonQueued, "it comes after the rotation that was asked for", time.Time{})
			}
		}
		return r, true
	}
	return Proposal{}, false
}

func sortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(string(a.Service), string(b.Service)),
			strings.Compare(a.Name, b.Name), strings.Compare(a.Fingerprint, b.Fingerprint))
	})
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }
