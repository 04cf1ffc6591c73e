package bus

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// All names in NATS are defined here; docs/events.md lists them. Each cluster has its own
// streams, so that clusters can share a NATS account without access to, or limits from, the
// events of others.
const (
	// subjectRoot begins every subject: "rotate-certs.v1.CLUSTER.certificate.expiring.NODE".
	subjectRoot = eventRoot + ".v1"
	eventRoot   = "rotate-certs"
	// noNode is the last token of events that are not about a single node.
	noNode = "_"

	// compromisedRoot begins the subject of reports of compromised keys,
	// "rotate-certs-compromised.v1.CLUSTER". It is not among the subjects of events, so that
	// events cannot use up the space of reports.
	compromisedRoot = "rotate-certs-compromised"

	// askedRoot begins the subject of requests of other clusters,
	// "rotate-certs-asked.v1.CLUSTER.ASKING". NATS lets a cluster publish as itself only.
	askedRoot = "rotate-certs-asked"

	// Prefixes of stream names: with maxShort, a name has fewer than 32 characters.
	eventStreamPrefix       = "rotate-certs-events-"
	compromisedStreamPrefix = "compromised-certs-"
	askedStreamPrefix       = "rotations-asked-"

	// ConsumerRotator is the durable consumer of rotation.requested.
	ConsumerRotator = "rotator"
	// ConsumerCompromised is the durable consumer of reports of compromised keys.
	ConsumerCompromised = "compromised"

	// summaryBucket is the key-value bucket of all clusters that share a NATS account. A bucket is a
	// stream of this name, with a subject for each key.
	summaryBucket   = "rotate-certs-clusters"
	summaryStream   = "KV_" + summaryBucket
	summarySubjects = "$KV." + summaryBucket + "."

	// ConsumerAsked is the durable consumer of requests of other clusters.
	ConsumerAsked = "asked"

	// inboxPrefix and the role begin the subjects of replies, so that no user can read the
	// replies to another.
	inboxPrefix = "_INBOX_"
)

// The limits of the streams and consumers.
const (
	eventMaxBytes = 256 << 20
	// eventMaxSize has room for a request that names every certificate of a large cluster.
	eventMaxSize        = 4 << 20
	compromisedMaxSize  = 64 << 10
	compromisedMaxMsgs  = 1000
	compromisedMaxBytes = compromisedMaxMsgs * compromisedMaxSize
	// SummaryMaxSize is the size of the summary of a cluster, with some room.
	SummaryMaxSize = 4 << 10
	// maxClusters is how many summaries are read, and for how many of the largest size the bucket
	// has room.
	maxClusters     = 1000
	summaryMaxBytes = maxClusters * SummaryMaxSize
	// A request of another cluster is for now: later, the situation may have changed, and its user
	// may not expect it. A stream that is full refuses more.
	askedMaxWait  = 10 * time.Minute
	askedMaxSize  = 64 << 10
	askedMaxMsgs  = 100
	askedMaxBytes = askedMaxMsgs * askedMaxSize
	// compromisedMaxWait is how old a report may be when the watcher receives it: for that long
	// the watcher or NATS may be unavailable. Later, the certificates may have been renewed for
	// other reasons, and the report must be published again if it still applies.
	compromisedMaxWait = 7 * 24 * time.Hour
	// startBack is how far back a consumer starts that is created for an existing stream.
	// Receivers drop requests of that age.
	startBack = time.Hour
	// ackWait is for how long a handler may hold a message without extending it.
	ackWait = time.Minute
	// A message that was delivered so often is given up. The decider publishes a request again.
	// A report is published once, so it gets more deliveries.
	maxRequestDeliveries     = 5
	maxCompromisedDeliveries = 20
)

// NameToken encodes a name as one token of a subject, stream or consumer name: letters, digits
// and "-" are kept, every other byte becomes "_" and two hexadecimal digits. So
// "cp1.example.org" is "cp1_2eexample_2eorg", and different names have different tokens.
func NameToken(name string) string {
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

// maxShort keeps stream names shorter than the 32 characters that NATS recommends.
const maxShort = 11

// shortToken is the token of a cluster name, or the beginning of the SHA-256 of the name if
// the token is long, as that of a UID is.
func shortToken(cluster string) string {
	if token := NameToken(cluster); len(token) <= maxShort {
		return token
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(cluster)))[:maxShort]
}

// SubjectOf is the subject of an event.
func SubjectOf(e event.Event) string {
	return buildSubject(e.Cluster, e.Type, NameToken(e.Node))
}

func buildSubject(cluster string, t event.Type, last string) string {
	return subjectRoot + "." + NameToken(cluster) + "." + string(t) + "." + last
}

// EventStream is the name of the stream of events of a cluster.
func EventStream(cluster string) string { return eventStreamPrefix + shortToken(cluster) }

// CompromisedStream is the name of the stream of reports of compromised keys of a cluster.
func CompromisedStream(cluster string) string { return compromisedStreamPrefix + shortToken(cluster) }

// CompromisedSubject is the subject to which others publish certificate.compromised, for the
// watcher to create a CompromisedCertificate.
func CompromisedSubject(cluster string) string { return compromisedRoot + ".v1." + NameToken(cluster) }

// stream is a declared stream, and the minimum that an existing one must comply with.
type stream struct {
	jetstream.StreamConfig
	subject string        // that it must have
	minAge  time.Duration // for how long it must keep messages
}

// declaredStreams are the streams of a cluster. The event stream has the retention "limits",
// since it then remembers the ids of acknowledged messages over a restart. The stream of
// reports is a work queue: handled reports use no space, and are not delivered again. Both
// use file storage with the default persistence; the other mode acknowledges before writing.
func declaredStreams(cluster string, replicas int) []stream {
	token := NameToken(cluster)
	common := jetstream.StreamConfig{
		Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, Replicas: max(1, replicas), AllowDirect: true,
	}
	events := common
	events.Name = EventStream(cluster)
	events.Description = "certificates and their rotations"
	events.Subjects = []string{eventRoot + ".*." + token + ".>"} // of every version
	events.Retention = jetstream.LimitsPolicy
	events.Discard = jetstream.DiscardOld
	events.MaxAge = 90 * certs.Day
	events.MaxBytes = eventMaxBytes
	events.MaxMsgSize = eventMaxSize
	// NATS stores the same event only once within this time.
	events.Duplicates = 7 * certs.Day

	compromised := common
	compromised.Name = CompromisedStream(cluster)
	compromised.Description = "reports of compromised keys"
	compromised.Subjects = []string{compromisedRoot + ".*." + token}
	compromised.Retention = jetstream.WorkQueuePolicy
	// A report that finds its stream full is refused, so that no acknowledged one is removed.
	compromised.Discard = jetstream.DiscardNew
	compromised.MaxAge = 30 * certs.Day
	compromised.MaxBytes = compromisedMaxBytes
	compromised.MaxMsgs = compromisedMaxMsgs
	compromised.MaxMsgSize = compromisedMaxSize
	// A publisher that received no acknowledgement publishes again. NATS keeps the ids of that time
	// in memory. Later, the same id still leads to the same object.
	compromised.Duplicates = time.Hour
	return []stream{
		{StreamConfig: events, subject: subjectRoot + "." + token + ".>", minAge: startBack},
		{StreamConfig: compromised, subject: CompromisedSubject(cluster), minAge: compromisedMaxWait},
	}
}

// declaredBucket is the stream of the summaries of all clusters. As a bucket it has one message for
// each subject. Unlike the buckets of "nats kv add" it refuses roll-up headers, by which a cluster
// could remove the summaries of the others. A cluster that has been removed stays in it for 30 days.
func declaredBucket(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: summaryStream, Description: "summaries of clusters", Subjects: []string{summarySubjects + ">"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxConsumers: -1, MaxAge: 30 * certs.Day, MaxBytes: summaryMaxBytes, MaxMsgSize: SummaryMaxSize,
		Replicas: max(1, replicas), AllowDirect: true, DenyDelete: true, DenyPurge: true,
	}
}

// consumer is a durable consumer of a stream, and the minimum that an existing one must comply
// with.
type consumer struct {
	jetstream.ConsumerConfig
	stream     string
	deliveries int
	filtered   func(filters []string) bool // whether these filters are sufficient
}

// declaredConsumers are the consumers of the streams of a cluster. They have no BackOff, which
// would replace AckWait: a failed message is put back with a delay. They have no limit of
// deliveries: the watcher counts deliveries, and reports messages that it gives up.
func declaredConsumers(cluster string, wait time.Duration) []consumer {
	common := jetstream.ConsumerConfig{
		AckPolicy:    jetstream.AckExplicitPolicy,
		ReplayPolicy: jetstream.ReplayInstantPolicy, AckWait: wait, MaxDeliver: -1,
	}
	rotator := common
	rotator.Durable = ConsumerRotator
	rotator.DeliverPolicy = jetstream.DeliverByStartTimePolicy
	rotator.FilterSubject = buildSubject(cluster, event.TypeRotationRequested, "*")

	compromised := common
	compromised.Durable = ConsumerCompromised
	compromised.DeliverPolicy = jetstream.DeliverAllPolicy // the only one for a work queue
	// Reports of unknown versions are received too, and given up.
	compromised.FilterSubject = compromisedRoot + ".*." + NameToken(cluster)
	return []consumer{
		{
			ConsumerConfig: rotator, stream: EventStream(cluster), deliveries: maxRequestDeliveries,
			filtered: func(f []string) bool { return slices.Equal(f, []string{rotator.FilterSubject}) },
		},
		{
			ConsumerConfig: compromised, stream: CompromisedStream(cluster), deliveries: maxCompromisedDeliveries,
			filtered: func(f []string) bool { return len(f) == 0 || coversSubject(CompromisedSubject(cluster), f) },
		},
	}
}
