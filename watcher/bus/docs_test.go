package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

const document = "../../docs/events.md"

// eventDocs says of every type when it is published and what its id follows from.
var eventDocs = map[event.Type]struct{ when, id string }{
	event.TypeCertificateExpiring:    {"A certificate expires within the threshold of the policy.", "node, service, name, path and fingerprint"},
	event.TypeCertificateExpired:     {"A certificate has expired.", "node, service, name, path and fingerprint"},
	event.TypeCertificateCompromised: {"A CompromisedCertificate exists. Published by others to `rotate-certs-compromised.v1.CLUSTER`, it has the watcher create one.", "the name of the CompromisedCertificate; other publishers choose the id"},
	event.TypeCertificateRenewed:     {"A certificate was replaced by another one, by the watcher or otherwise.", "node, service, name, path and fingerprint of the new one"},
	event.TypeCAExpiring:             {"A certificate authority expires soon. No rotation starts: a certificate cannot outlive the CA that signs it.", "its fingerprint"},
	event.TypeRotationRequested:      {"A rotation is due by the policy or a CompromisedCertificate, and no CertificateRotation of that name exists. The watcher creates it from this event.", "the name and the period of five minutes in which it is published: a request that was given up is received when it is published again"},
	event.TypeRotationAsked:          {"A user of another cluster has asked for a rotation, see [above](#asking-for-a-rotation-in-another-cluster), and the watcher has created a CertificateRotation or refused it. Published by others to `rotate-certs-asked.v1.CLUSTER.ASKING`, it is the request.", "the asking cluster, its user, the request and the answer; other publishers choose the id"},
	event.TypeRotationStarted:        {"A rotation has begun.", "name and rotation id"},
	event.TypeRotationNodeVerified:   {"The components of a node present their new certificates and are healthy.", "name, rotation id and node"},
	event.TypeRotationSucceeded:      {"A rotation is done and verified, or there was nothing to do.", "name and rotation id"},
	event.TypeRotationRolledBack:     {"A rotation stopped, and the failed node was rolled back and verified.", "name and rotation id"},
	event.TypeRotationFailed:         {"A rotation stopped before anything was changed on the failed node; or, with the result ManualInterventionRequired, the state of a node is unknown: neither old nor new certificates could be verified.", "name and rotation id"},
}

// TestDocument keeps docs/events.md true; UPDATE=1 writes it.
func TestDocument(t *testing.T) {
	old, err := os.ReadFile(document)
	require.NoError(t, err)
	text := string(old)
	for name, content := range map[string]string{
		"config": fenced("", accountConfig("prod")), "commands": fenced("sh", commands("prod")), "nack": fenced("yaml", nackObjects(t, "prod")), "events": describeEvents(t),
	} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(text, begin)
		require.True(t, ok, "docs/events.md has a place for %s", name)
		_, after, ok := strings.Cut(rest, end)
		require.True(t, ok)
		text = before + begin + content + end + after
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(document, []byte(text), 0o644))
		return
	}
	require.Equal(t, string(old), text, "UPDATE=1 go test ./watcher/bus -run TestDocument writes docs/events.md")
}

// TestDocumentedSchemasAcceptPublishedEvents takes both from the document's text.
func TestDocumentedSchemasAcceptPublishedEvents(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	b := openReady(t, testConfig(t))
	for _, data := range eventtest.All() {
		require.NoError(t, b.Publish(data))
		flushed(t, b)
	}
	_, js := raw(t, b)
	stream, err := js.Stream(t.Context(), EventStream("prod"))
	require.NoError(t, err)
	section := regexp.MustCompile("(?s)\n### ([a-z.]+)\n.*?```json\n(.*?)```.*?```json\n(.*?)```")
	sections := section.FindAllStringSubmatch(string(text), -1)
	require.Len(t, sections, len(event.AllTypes()))
	for i, s := range sections {
		require.Equal(t, string(event.AllTypes()[i]), s[1])
		published, err := stream.GetMsg(t.Context(), uint64(i+1))
		require.NoError(t, err)
		schema, err := jsonschema.UnmarshalJSON(strings.NewReader(s[3]))
		require.NoError(t, err)
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		require.NoError(t, c.AddResource("urn:x", schema))
		compiled, err := c.Compile("urn:x")
		require.NoError(t, err)
		for _, text := range []string{s[2], string(published.Data)} {
			_, err := event.ParseEvent([]byte(text))
			require.NoError(t, err)
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			require.NoError(t, err)
			envelope, ok := value.(map[string]any)
			require.True(t, ok)
			require.NoError(t, compiled.Validate(envelope["data"]))
			require.Equal(t, "io.rotate-certs."+s[1]+".v1", envelope["type"])
		}
	}
}

var (
	documentedCommand = regexp.MustCompile(`(?s)\nnats pub --jetstream --inbox-prefix (\S+) (\S+) \\\n([^\n]*)'(\{.*?\}\})'\n`)
	documentedHeader  = regexp.MustCompile(`-H ['"](\S+): ([^'"]+)['"]`)
)

// publishDocumented does what the only "nats pub" of the document with this inbox does: as its user,
// with its subject, headers and payload.
func (s *site) publishDocumented(role string) *jetstream.PubAck {
	s.t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(s.t, err)
	var found [][]string
	for _, command := range documentedCommand.FindAllStringSubmatch(string(text), -1) {
		if command[1] == inboxPrefix+role {
			found = append(found, command)
		}
	}
	require.Len(s.t, found, 1)
	msg := nats.NewMsg(found[0][2])
	msg.Data = []byte(found[0][4])
	for _, header := range documentedHeader.FindAllStringSubmatch(found[0][3], -1) {
		msg.Header.Set(header[1], header[2])
	}
	require.Len(s.t, msg.Header, 2, found[0][3])
	js, err := jetstream.New(s.dialServer(role))
	require.NoError(s.t, err)
	ack, err := js.PublishMsg(s.t.Context(), msg)
	require.NoError(s.t, err)
	return ack
}

// TestDocumentedReportIsAccepted, from the user of the document.
func TestDocumentedReportIsAccepted(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.busConfig())
	require.Equal(t, CompromisedStream("prod"), s.publishDocumented(roleIncidentResponder).Stream)
	require.True(t, s.publishDocumented(roleIncidentResponder).Duplicate, "the same id is the same report")
	got := make(chan event.Event, 1)
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { got <- e; return nil })
	e := receive(t, got)
	require.Equal(t, "incident-4711", e.ID)
	require.Regexp(t, "^nats-", e.ObjectName())
	require.Equal(t, eventtest.All()[2], e.Data)
}

// TestDocumentedRequestIsAccepted, from the user fleet of the cluster that asks in the document.
func TestDocumentedRequestIsAccepted(t *testing.T) {
	s := newSite(t, askedRoot+".v1.*.prod", askedRoot+".v1.*.staging")
	s.start()
	b := openReady(t, s.busConfig())
	got := receiveAsked(t, b)
	require.Equal(t, AskedStream("prod"), s.publishDocumented(roleFleet).Stream)
	e := receive(t, got)
	require.Equal(t, "change-815", e.ID)
	require.Equal(t, event.RotationAsked{Services: []certs.Service{certs.Kubelet}, Cluster: "staging", User: "jane"}, e.Data)
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
}

func fenced(language, text string) string { return "```" + language + "\n" + text + "```\n" }

func commands(cluster string) string {
	var out strings.Builder
	for _, s := range declaredStreams(cluster, 1) {
		fmt.Fprintln(&out, streamCommand(s.StreamConfig))
	}
	for _, c := range declaredConsumers(cluster, ackWait) {
		fmt.Fprintln(&out, consumerCommand(c))
	}
	fmt.Fprintln(&out, streamCommand(declaredBucket(1)))
	fmt.Fprintln(&out, streamCommand(askedStream(cluster, 1).StreamConfig))
	fmt.Fprintln(&out, consumerCommand(askedConsumer(cluster, ackWait)))
	return out.String()
}

func describeEvents(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, data := range eventtest.All() {
		kind := data.EventType()
		e := event.New("prod", at, data)
		require.NotEmpty(t, eventDocs[kind].when)
		fmt.Fprintf(&out, "### %s\n\n%s\n\nSubject of the example: `%s`. Published by the %s. Its id follows from: %s.\n\n",
			kind, eventDocs[kind].when, SubjectOf(e), publishingRole(kind), eventDocs[kind].id)
		out.WriteString(fenced("json", indent(t, e)))
		out.WriteString("\n<details><summary>schema</summary>\n\n" + fenced("json", indent(t, event.DataSchema(kind))) + "\n</details>\n\n")
	}
	return out.String()
}

func indent(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, json.Indent(&out, raw, "", "  "))
	return out.String() + "\n"
}

// accountConfig is the server's configuration that the document offers.
func accountConfig(cluster string) string {
	var out strings.Builder
	out.WriteString(`# Edit these lines.
LISTEN: "0.0.0.0:4222"
CERT: "/etc/nats/tls.crt"
KEY: "/etc/nats/tls.key"
STORE: "/var/lib/nats"
REPORTER: "UREPORTER_PUBLIC_NKEY"
ROTATOR: "UROTATOR_PUBLIC_NKEY"
INCIDENT_RESPONDER: "URESPONDER_PUBLIC_NKEY"
VIEWER: "UVIEWER_PUBLIC_NKEY"
FLEET: "UFLEET_PUBLIC_NKEY"

listen: $LISTEN
max_payload: 8MB # a request may name every certificate of a large cluster
tls {
  cert_file: $CERT
  key_file: $KEY
  # ca_file: "/etc/nats/ca.crt" # with these two, clients also need a certificate
  # verify: true
}
jetstream {
  store_dir: $STORE
  sync_interval: always # acknowledge what is on disk, not before
}
accounts {
  ROTATE_CERTS {
    jetstream: enabled
    users: [
`)
	for _, role := range allRoles() {
		may := permissionsOf(role, cluster)
		fmt.Fprintf(&out, "      {\n        nkey: $%s\n        permissions: {\n", strings.ToUpper(strings.ReplaceAll(role, "-", "_")))
		for _, list := range []struct {
			what     string
			subjects []string
		}{{"publish", may.Publish.Allow}, {"subscribe", may.Subscribe.Allow}} {
			fmt.Fprintf(&out, "          %s: { allow: [\n", list.what)
			for _, s := range list.subjects {
				fmt.Fprintf(&out, "            %q\n", s)
			}
			out.WriteString("          ] }\n")
		}
		out.WriteString("        }\n      }\n")
	}
	out.WriteString("    ]\n  }\n}\n")
	return out.String()
}
