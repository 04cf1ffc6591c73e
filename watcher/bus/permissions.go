package bus

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// The roles of users. docs/events.md has them as the configuration of a server.
const (
	roleReporter = "reporter" // tells what is seen, asks for rotations
	roleRotator  = "rotator"  // hears requests and marks, tells how rotations go
	roleMarker   = "marker"   // may mark as compromised
	roleViewer   = "viewer"   // reads
)

func roles() []string { return []string{roleReporter, roleRotator, roleMarker, roleViewer} }

// permissions are what a role needs, and nothing else. A viewer cannot create consumers:
// whoever can might change those of the rotator, or have messages delivered to subjects
// that it may not publish to. It reads messages one by one, or as they come.
func permissions(role, cluster string) *server.Permissions {
	events, marks := EventStream(cluster), MarkStream(cluster)
	told := func(what string) string { return subjectRoot + "." + Token(cluster) + "." + what }
	api := func(call, stream string) string { return "$JS.API." + call + "." + stream }
	var publish []string
	subscribe := []string{inboxPrefix + role + ".>"}
	switch role {
	case roleReporter:
		for _, t := range event.Types() {
			if publisher(t) == roleReporter {
				publish = append(publish, told(string(t)+".*"))
			}
		}
		publish = append(publish, api("STREAM.INFO", events))
	case roleRotator:
		for _, t := range event.Types() {
			if publisher(t) == roleRotator {
				publish = append(publish, told(string(t)+".*"))
			}
		}
		publish = append(publish,
			api("STREAM.INFO", events), api("STREAM.CREATE", events),
			api("CONSUMER.CREATE", events)+".>", api("CONSUMER.INFO", events)+".*",
			api("CONSUMER.MSG.NEXT", events)+".*", api("CONSUMER.DELETE", events)+".*",
			api("STREAM.INFO", marks), api("STREAM.CREATE", marks),
			api("CONSUMER.CREATE", marks)+"."+ConsumerMarks+".>", api("CONSUMER.INFO", marks)+"."+ConsumerMarks,
			api("CONSUMER.MSG.NEXT", marks)+"."+ConsumerMarks)
		for _, c := range consumers(cluster, ackWait) {
			publish = append(publish, "$JS.ACK."+c.stream+"."+c.Durable+".>", "$JS.ACK.*.*."+c.stream+"."+c.Durable+".>")
		}
	case roleMarker:
		publish = []string{MarkSubject(cluster)}
	case roleViewer:
		for _, stream := range []string{events, marks} {
			publish = append(publish,
				api("STREAM.INFO", stream), api("STREAM.MSG.GET", stream), api("DIRECT.GET", stream), api("DIRECT.GET", stream)+".>")
		}
		for _, s := range streams(cluster, 1) {
			subscribe = append(subscribe, s.Subjects...)
		}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

// publisher is the role by which the watcher publishes events of a type. Its own
// certificate.compromised says that a CompromisedCertificate exists and makes none, which only
// one at [MarkSubject] does.
func publisher(t event.Type) string {
	if slices.Contains([]event.Type{
		event.TypeCertificateCompromised,
		event.TypeRotationStarted, event.TypeRotationNodeVerified,
		event.TypeRotationSucceeded, event.TypeRotationRolledBack, event.TypeRotationFailed,
	}, t) {
		return roleRotator
	}
	return roleReporter
}
