package bus

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Everything that has a name in NATS has it from here; docs/events.md lists it. Each
// cluster has its own streams, so that many can share one NATS account without seeing,
// filling or deduplicating each other's.
const (
	// subjectRoot begins every subject: "rotate-certs.v1.CLUSTER.certificate.expiring.NODE".
	subjectRoot = eventRoot + ".v1"
	eventRoot   = "rotate-certs"
	// noNode is the last token of what is not about a single node.
	noNode = "_"

	// markRoot begins the subject of marks: "rotate-certs-marks.v1.CLUSTER". It is none of the
	// events' subjects, so that nothing published there takes room from marks.
	markRoot = "rotate-certs-marks"

	eventStreamPrefix = "rotate-certs-events-"
	markStreamPrefix  = "rotate-certs-marks-"

	// ConsumerRotator is the durable consumer of rotation.requested.
	ConsumerRotator = "rotator"
	// ConsumerMarks is the durable consumer of marks.
	ConsumerMarks = "marks"

	// inboxPrefix and the role's name begin the subjects of its replies, so that no user
	// can listen to another's.
	inboxPrefix = "_INBOX_"
)

// The limits of the streams and consumers.
const (
	eventMaxAge   = 90 * 24 * time.Hour
	eventMaxBytes = 256 << 20
	// eventMaxSize has room for a request that names every certificate of a large cluster.
	eventMaxSize = 4 << 20
	// A mark that finds its stream full is refused, so that none that was acknowledged goes.
	markMaxAge   = 30 * 24 * time.Hour
	markMaxSize  = 64 << 10
	markMaxMsgs  = 1000
	markMaxBytes = markMaxMsgs * markMaxSize
	// dedupeWindow is for how long the same event is told only once. What is still true
	// after it, such as a certificate that nobody renews, is told again.
	dedupeWindow = 7 * 24 * time.Hour
	// markAge is how old a mark may be when the watcher receives it. It is for how long the
	// watcher or NATS may be away with a mark that was acknowledged. After it, certificates may
	// have been renewed for other reasons: whoever published it has to say that it still holds.
	markAge = 7 * 24 * time.Hour
	// startBack is how far back a consumer begins that is made where the stream exists. Requests
	// are dropped long before that age, by their receiver.
	startBack = time.Hour
	// markDedupeWindow is for whoever publishes again because no answer came. NATS remembers an
	// id for that time, in memory. After it, the same id still makes the same object.
	markDedupeWindow = time.Hour
	// ackWait is how long a message may be silent in a handler's hands.
	ackWait = time.Minute
	// maxRequests and maxMarks are how often a message is delivered before the watcher gives
	// it up. The decider publishes a request again. A person publishes a mark once, so it gets
	// more deliveries.
	maxRequests = 5
	maxMarks    = 20
)

// Token encodes a name as one token of a subject, stream or consumer name: letters,
// digits and "-" stay, every other byte becomes "_" and two hexadecimal digits. So
// "cp1.example.org" is "cp1_2eexample_2eorg", and no two names become the same.
func Token(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	if b.Len() == 0 {
		return noNode
	}
	return b.String()
}

// maxShort keeps the names of streams below the 32 characters that NATS advises.
const maxShort = 11

// short is the token of a cluster's name, or the beginning of the name's SHA-256 where that
// token is long, as a UID is.
func short(cluster string) string {
	if token := Token(cluster); len(token) <= maxShort {
		return token
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(cluster)))[:maxShort]
}

// Subject is where an event is published.
func Subject(e event.Event) string {
	return subjectOf(e.Cluster, e.Type, Token(e.Node))
}

func subjectOf(cluster string, t event.Type, last string) string {
	return subjectRoot + "." + Token(cluster) + "." + string(t) + "." + last
}

// EventStream is the name of the stream with a cluster's events.
func EventStream(cluster string) string { return eventStreamPrefix + short(cluster) }

// MarkStream is the name of the stream with a cluster's marks that wait for the watcher.
func MarkStream(cluster string) string { return markStreamPrefix + short(cluster) }

// MarkSubject is where others publish a certificate.compromised, for the watcher to make a
// CompromisedCertificate of it.
func MarkSubject(cluster string) string { return markRoot + ".v1." + Token(cluster) }

// stream is a declared stream, and what it must do at least where it exists.
type stream struct {
	jetstream.StreamConfig
	takes string        // subject
	keeps time.Duration // messages for as long
}

// streams are the declared streams of a cluster. Events have limits, because a stream of that
// retention remembers the ids of what was acknowledged over a restart. Marks are a work queue:
// those that became objects take no room, and are not delivered again. File storage with the
// default persistence, because the other one acknowledges before it writes.
func streams(cluster string, replicas int) []stream {
	common := jetstream.StreamConfig{
		Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, Replicas: max(1, replicas), AllowDirect: true,
	}
	events, marks := common, common
	events.Name, events.Description = EventStream(cluster), "certificates and their rotations"
	events.Subjects = []string{eventRoot + ".*." + Token(cluster) + ".>"} // of every version
	events.Retention, events.Discard = jetstream.LimitsPolicy, jetstream.DiscardOld
	events.MaxAge, events.MaxBytes, events.MaxMsgSize = eventMaxAge, eventMaxBytes, eventMaxSize
	events.Duplicates, marks.Duplicates = dedupeWindow, markDedupeWindow
	marks.Name, marks.Description = MarkStream(cluster), "reports of compromised keys"
	marks.Subjects = []string{markRoot + ".*." + Token(cluster)}
	marks.Retention, marks.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	marks.MaxAge, marks.MaxBytes, marks.MaxMsgs, marks.MaxMsgSize = markMaxAge, markMaxBytes, markMaxMsgs, markMaxSize
	return []stream{
		{StreamConfig: events, takes: subjectRoot + "." + Token(cluster) + ".>", keeps: startBack},
		{StreamConfig: marks, takes: MarkSubject(cluster), keeps: markAge},
	}
}

// consumer is a durable consumer of a stream, and what it must do at least where it exists.
type consumer struct {
	jetstream.ConsumerConfig
	stream     string
	deliveries int
	filtered   func(filters []string) bool // tells whether these are what it may have
}

// consumers are the declared consumers of a cluster's streams. They have no BackOff, which
// would replace AckWait: what failed is put back with a delay of its own. They have no limit
// of deliveries: the watcher counts these itself, and reports what it gives up.
func consumers(cluster string, wait time.Duration) []consumer {
	common := jetstream.ConsumerConfig{
		AckPolicy:    jetstream.AckExplicitPolicy,
		ReplayPolicy: jetstream.ReplayInstantPolicy, AckWait: wait, MaxDeliver: -1,
	}
	rotator, marks := common, common
	rotator.Durable, rotator.DeliverPolicy = ConsumerRotator, jetstream.DeliverByStartTimePolicy
	rotator.FilterSubject = subjectOf(cluster, event.TypeRotationRequested, "*")
	marks.Durable, marks.DeliverPolicy = ConsumerMarks, jetstream.DeliverAllPolicy // a work queue has no other
	marks.FilterSubject = markRoot + ".*." + Token(cluster)                        // of an unknown version: it is given up
	return []consumer{
		{
			ConsumerConfig: rotator, stream: EventStream(cluster), deliveries: maxRequests,
			filtered: func(f []string) bool { return slices.Equal(f, []string{rotator.FilterSubject}) },
		},
		{
			ConsumerConfig: marks, stream: MarkStream(cluster), deliveries: maxMarks,
			filtered: func(f []string) bool { return len(f) == 0 || takes(MarkSubject(cluster), f) },
		},
	}
}
