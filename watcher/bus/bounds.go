package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// minMsgSize is what a stream must take: a mark, or a request in a cluster of some hundred nodes.
const minMsgSize = 64 << 10

// bounds collects what of a stream or consumer breaks the rules that correctness needs.
type bounds struct{ broken []string }

// need notes a rule that does not hold, and corrects it in what is to be written instead.
func (b *bounds) need(holds bool, what string, is, should any, correct func()) {
	if !holds {
		b.broken = append(b.broken, fmt.Sprintf("%s is %v, not %v", what, is, should))
		correct()
	}
}

// fitStream returns a stream's configuration with what correctness needs, and what it lacked.
// How much is kept, for how long and on how many servers is the operator's choice.
func fitStream(want stream, have jetstream.StreamConfig) (jetstream.StreamConfig, []string) {
	var b bounds
	fit := have
	b.need(takes(want.takes, have.Subjects), "subjects", have.Subjects, want.Subjects, func() { fit.Subjects = merged(want.Subjects, have.Subjects) })
	b.need(have.Retention == want.Retention, "retention", have.Retention, want.Retention, func() { fit.Retention = want.Retention })
	b.need(have.Discard == want.Discard, "discard", have.Discard, want.Discard, func() { fit.Discard = want.Discard })
	b.need(atLeast(want.keeps, have.MaxAge), "maximum age", have.MaxAge, "at least "+want.keeps.String(), func() { fit.MaxAge = want.MaxAge })
	b.need(atLeast(minMsgSize, have.MaxMsgSize), "maximum message size", have.MaxMsgSize, fmt.Sprintf("at least %d", minMsgSize), func() { fit.MaxMsgSize = want.MaxMsgSize })
	b.need(!have.NoAck, "no-ack", true, false, func() { fit.NoAck = false })
	b.need(!have.Sealed, "sealed", true, false, func() { fit.Sealed = false })
	b.need(have.Mirror == nil, "mirror", "set", "none", func() { fit.Mirror = nil })
	b.need(have.SubjectTransform == nil, "subject transform", "set", "none", func() { fit.SubjectTransform = nil })
	if want.Discard != jetstream.DiscardNew {
		return fit, b.broken
	}
	// What others publish once must not be lost after it was acknowledged.
	b.need(!have.AllowRollup, "roll-up headers", "allowed", "denied", func() { fit.AllowRollup = false })
	b.need(have.Storage == want.Storage, "storage", have.Storage, want.Storage, func() { fit.Storage = want.Storage })
	b.need(have.PersistMode != jetstream.AsyncPersistMode, "persist mode", have.PersistMode, want.PersistMode, func() { fit.PersistMode = want.PersistMode })
	b.need(have.MaxMsgsPerSubject <= 0 || have.DiscardNewPerSubject, "maximum messages per subject", have.MaxMsgsPerSubject, "unlimited", func() { fit.MaxMsgsPerSubject = -1 })
	return fit, b.broken
}

// fitConsumer does the same with a consumer.
func fitConsumer(want consumer, have jetstream.ConsumerConfig) (jetstream.ConsumerConfig, []string) {
	var b bounds
	fit := have
	filters := slices.Clone(have.FilterSubjects)
	if have.FilterSubject != "" {
		filters = append(filters, have.FilterSubject)
	}
	b.need(want.filtered(filters), "filter", filters, want.FilterSubject, func() { fit.FilterSubject, fit.FilterSubjects = want.FilterSubject, nil })
	b.need(have.AckPolicy == want.AckPolicy, "ack policy", have.AckPolicy, want.AckPolicy, func() { fit.AckPolicy = want.AckPolicy })
	b.need(have.AckWait >= want.AckWait, "ack wait", have.AckWait, "at least "+want.AckWait.String(), func() { fit.AckWait = want.AckWait })
	b.need(len(have.BackOff) == 0 || slices.Min(have.BackOff) >= want.AckWait, "backoff", have.BackOff, "none", func() { fit.BackOff = nil })
	b.need(atLeast(want.deliveries+1, have.MaxDeliver), "max deliver", have.MaxDeliver, "unlimited", func() { fit.MaxDeliver = want.MaxDeliver })
	b.need(atLeast(fetchWait, have.MaxRequestExpires), "maximum wait of a pull", have.MaxRequestExpires, "at least "+fetchWait.String(), func() { fit.MaxRequestExpires = 0 })
	b.need(have.PauseUntil == nil || have.PauseUntil.IsZero(), "paused until", have.PauseUntil, "not paused", func() { fit.PauseUntil = nil })
	b.need(have.DeliverSubject == "", "deliver subject", have.DeliverSubject, "none", func() { fit.DeliverSubject = "" })
	b.need(!have.HeadersOnly, "headers only", true, false, func() { fit.HeadersOnly = false })
	return fit, b.broken
}

// atLeast tells whether a limit allows as much; one that is not positive is none.
func atLeast[T int | int32 | time.Duration](least, limit T) bool { return limit <= 0 || limit >= least }

// takes tells whether one of several filters matches all of a subject.
func takes(subject string, filters []string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return server.SubjectMatchesFilter(subject, f) })
}

// merged are subjects, with those of others that they do not include.
func merged(subjects, others []string) []string {
	out := slices.Clone(subjects)
	for _, s := range others {
		if !takes(s, subjects) {
			out = append(out, s)
		}
	}
	return out
}
