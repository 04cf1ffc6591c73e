package bus

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// The roles of users. docs/events.md has them as the configuration of a server.
const (
	roleReporter          = "reporter"           // publishes observations, requests rotations
	roleRotator           = "rotator"            // receives requests and reports, publishes how rotations proceed
	roleIncidentResponder = "incident-responder" // reports compromised keys
	roleViewer            = "viewer"             // reads
	roleFleet             = "fleet"              // reads the summaries of all clusters, asks them for rotations
)

func allRoles() []string {
	return []string{roleReporter, roleRotator, roleIncidentResponder, roleViewer, roleFleet}
}

// permissionsOf are the minimal permissions of a role. A viewer cannot create consumers: it
// could change those of the rotator, or have messages delivered to subjects that it may not
// publish to. It reads stored messages one by one, and new ones as they are published.
func permissionsOf(role, cluster string) *server.Permissions {
	events := EventStream(cluster)
	compromised := CompromisedStream(cluster)
	asked := AskedStream(cluster)
	subject := func(pattern string) string { return subjectRoot + "." + NameToken(cluster) + "." + pattern }
	api := func(call, stream string) string { return "$JS.API." + call + "." + stream }
	var publish []string
	subscribe := []string{inboxPrefix + role + ".>"}
	switch role {
	case roleReporter:
		for _, t := range event.AllTypes() {
			if publishingRole(t) == roleReporter {
				publish = append(publish, subject(string(t)+".*"))
			}
		}
		publish = append(publish, api("STREAM.INFO", events), api("STREAM.INFO", summaryStream), summarySubjects+NameToken(cluster))
	case roleRotator:
		for _, t := range event.AllTypes() {
			if publishingRole(t) == roleRotator {
				publish = append(publish, subject(string(t)+".*"))
			}
		}
		publish = append(publish,
			api("STREAM.INFO", events), api("STREAM.CREATE", events),
			api("CONSUMER.CREATE", events)+".>", api("CONSUMER.INFO", events)+".*",
			api("CONSUMER.MSG.NEXT", events)+".*", api("CONSUMER.DELETE", events)+".*",
			api("STREAM.INFO", compromised), api("STREAM.CREATE", compromised),
			api("CONSUMER.CREATE", compromised)+"."+ConsumerCompromised+".>", api("CONSUMER.INFO", compromised)+"."+ConsumerCompromised,
			api("CONSUMER.MSG.NEXT", compromised)+"."+ConsumerCompromised,
			api("STREAM.CREATE", summaryStream),
			api("STREAM.INFO", asked), api("STREAM.CREATE", asked),
			api("CONSUMER.CREATE", asked)+"."+ConsumerAsked+".>", api("CONSUMER.INFO", asked)+"."+ConsumerAsked,
			api("CONSUMER.MSG.NEXT", asked)+"."+ConsumerAsked)
		for _, c := range append(declaredConsumers(cluster, ackWait), askedConsumer(cluster, ackWait)) {
			publish = append(publish, "$JS.ACK."+c.stream+"."+c.Durable+".>", "$JS.ACK.*.*."+c.stream+"."+c.Durable+".>")
		}
	case roleIncidentResponder:
		publish = []string{CompromisedSubject(cluster)}
	case roleViewer:
		for _, stream := range []string{events, compromised} {
			publish = append(publish,
				api("STREAM.INFO", stream), api("STREAM.MSG.GET", stream), api("DIRECT.GET", stream), api("DIRECT.GET", stream)+".>")
		}
		for _, s := range declaredStreams(cluster, 1) {
			subscribe = append(subscribe, s.Subjects...)
		}
	case roleFleet:
		publish = []string{api("STREAM.INFO", summaryStream), api("DIRECT.GET", summaryStream) + "." + summarySubjects + "*", askedRoot + ".v1.*." + NameToken(cluster)}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

// publishingRole is the role with which the watcher publishes events of a type. Its own
// certificate.compromised announces an existing CompromisedCertificate; only events at
// [CompromisedSubject] create one.
func publishingRole(t event.Type) string {
	if slices.Contains([]event.Type{
		event.TypeCertificateCompromised,
		event.TypeRotationAsked, event.TypeRotationStarted, event.TypeRotationNodeVerified,
		event.TypeRotationSucceeded, event.TypeRotationRolledBack, event.TypeRotationFailed,
	}, t) {
		return roleRotator
	}
	return roleReporter
}
