package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// minMsgSize is the message size that a stream must accept: that of a report, or of a request
// in a cluster of some hundred nodes.
const minMsgSize = 64 << 10

// bounds collects the rules that a stream or consumer violates.
type bounds struct{ broken []string }

// requireRule records a violated rule, and corrects the configuration to be written.
func (b *bounds) requireRule(holds bool, what string, is, should any, correct func()) {
	if !holds {
		b.broken = append(b.broken, fmt.Sprintf("%s is %v, not %v", what, is, should))
		correct()
	}
}

// fitStream returns a configuration of a stream that complies with the rules, and those that
// were violated. Age, size and replicas are the choice of the operator.
func fitStream(want stream, have jetstream.StreamConfig) (jetstream.StreamConfig, []string) {
	var b bounds
	fit := have
	b.requireRule(coversSubject(want.subject, have.Subjects), "subjects", have.Subjects, want.Subjects, func() { fit.Subjects = mergeSubjects(want.Subjects, have.Subjects) })
	b.requireRule(have.Retention == want.Retention, "retention", have.Retention, want.Retention, func() { fit.Retention = want.Retention })
	b.requireRule(have.Discard == want.Discard, "discard", have.Discard, want.Discard, func() { fit.Discard = want.Discard })
	b.requireRule(atLeast(want.minAge, have.MaxAge), "maximum age", have.MaxAge, "at least "+want.minAge.String(), func() { fit.MaxAge = want.MaxAge })
	b.requireRule(atLeast(minMsgSize, have.MaxMsgSize), "maximum message size", have.MaxMsgSize, fmt.Sprintf("at least %d", minMsgSize), func() { fit.MaxMsgSize = want.MaxMsgSize })
	b.requireRule(!have.NoAck, "no-ack", true, false, func() { fit.NoAck = false })
	b.requireRule(!have.Sealed, "sealed", true, false, func() { fit.Sealed = false })
	b.requireRule(have.Mirror == nil, "mirror", "set", "none", func() { fit.Mirror = nil })
	b.requireRule(have.SubjectTransform == nil, "subject transform", "set", "none", func() { fit.SubjectTransform = nil })
	if want.Discard != jetstream.DiscardNew {
		return fit, b.broken
	}
	// An acknowledged report must not be lost: its publisher publishes it once.
	b.requireRule(!have.AllowRollup, "roll-up headers", "allowed", "denied", func() { fit.AllowRollup = false })
	b.requireRule(have.Storage == want.Storage, "storage", have.Storage, want.Storage, func() { fit.Storage = want.Storage })
	b.requireRule(have.PersistMode != jetstream.AsyncPersistMode, "persist mode", have.PersistMode, want.PersistMode, func() { fit.PersistMode = want.PersistMode })
	b.requireRule(have.MaxMsgsPerSubject <= 0 || have.DiscardNewPerSubject, "maximum messages per subject", have.MaxMsgsPerSubject, "unlimited", func() { fit.MaxMsgsPerSubject = -1 })
	return fit, b.broken
}

// fitConsumer does the same for a consumer.
func fitConsumer(want consumer, have jetstream.ConsumerConfig) (jetstream.ConsumerConfig, []string) {
	var b bounds
	fit := have
	filters := slices.Clone(have.FilterSubjects)
	if have.FilterSubject != "" {
		filters = append(filters, have.FilterSubject)
	}
	b.requireRule(want.filtered(filters), "filter", filters, want.FilterSubject, func() {
		fit.FilterSubject = want.FilterSubject
		fit.FilterSubjects = nil
	})
	b.requireRule(have.AckPolicy == want.AckPolicy, "ack policy", have.AckPolicy, want.AckPolicy, func() { fit.AckPolicy = want.AckPolicy })
	b.requireRule(have.AckWait >= want.AckWait, "ack wait", have.AckWait, "at least "+want.AckWait.String(), func() { fit.AckWait = want.AckWait })
	b.requireRule(len(have.BackOff) == 0 || slices.Min(have.BackOff) >= want.AckWait, "backoff", have.BackOff, "none", func() { fit.BackOff = nil })
	b.requireRule(atLeast(want.deliveries+1, have.MaxDeliver), "max deliver", have.MaxDeliver, "unlimited", func() { fit.MaxDeliver = want.MaxDeliver })
	b.requireRule(atLeast(fetchWait, have.MaxRequestExpires), "maximum wait of a pull", have.MaxRequestExpires, "at least "+fetchWait.String(), func() { fit.MaxRequestExpires = 0 })
	b.requireRule(have.PauseUntil == nil || have.PauseUntil.IsZero(), "paused until", have.PauseUntil, "not paused", func() { fit.PauseUntil = nil })
	b.requireRule(have.DeliverSubject == "", "deliver subject", have.DeliverSubject, "none", func() { fit.DeliverSubject = "" })
	b.requireRule(!have.HeadersOnly, "headers only", true, false, func() { fit.HeadersOnly = false })
	return fit, b.broken
}

// atLeast is true if a limit allows a value; a limit that is not positive is none.
func atLeast[T int | int32 | time.Duration](least, limit T) bool { return limit <= 0 || limit >= least }

// coversSubject is true if one of the filters matches all of a subject.
func coversSubject(subject string, filters []string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return server.SubjectMatchesFilter(subject, f) })
}

// mergeSubjects adds those of other subjects that are not covered.
func mergeSubjects(subjects, others []string) []string {
	out := slices.Clone(subjects)
	for _, s := range others {
		if !coversSubject(s, subjects) {
			out = append(out, s)
		}
	}
	return out
}
