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
	events := EventStream(cluster)
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
			api("CONSUMER.MSG.NEXT", events)+".*", api("CONSUMER.DELETE", events)+".*")
		for _, consumer := range []string{ConsumerRotator, ConsumerMarks} {
			publish = append(publish, "$JS.ACK."+events+"."+consumer+".>", "$JS.ACK.*.*."+events+"."+consumer+".>")
		}
	case roleMarker:
		publish = []string{told(string(event.TypeCertificateCompromised) + ".*")}
	case roleViewer:
		publish = []string{api("STREAM.INFO", events), api("STREAM.MSG.GET", events), api("DIRECT.GET", events), api("DIRECT.GET", events) + ".>"}
		subscribe = append(subscribe, told(">"))
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

// publisher is the role by which the watcher tells events of a type. A compromise that it
// tells of is a mark that there is; who reports must not be able to make one up.
func publisher(t event.Type) string {
	if slices.Contains([]event.Type{
		event.TypeCertificateCompromised,
		event.TypeRotationStarted, event.TypeRotationNodeProven,
		event.TypeRotationSucceeded, event.TypeRotationRolledBack, event.TypeRotationFailed,
	}, t) {
		return roleRotator
	}
	return roleReporter
}
