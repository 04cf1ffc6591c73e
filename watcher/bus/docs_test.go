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

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

const document = "../../docs/events.md"

// story says of every type when it is published and what its id follows from.
var story = map[event.Type]struct{ when, id string }{
	event.TypeCertificateExpiring:    {"A certificate has come within the policy's threshold of its end.", "node, service, name, path and fingerprint"},
	event.TypeCertificateExpired:     {"A certificate is past its end.", "node, service, name, path and fingerprint"},
	event.TypeCertificateCompromised: {"A CompromisedCertificate exists. At `rotate-certs-marks.v1.CLUSTER`, where others publish it: one is to be made.", "the mark; where another made the event, it chose the id"},
	event.TypeCertificateRenewed:     {"Another certificate lies where one lay before, whoever renewed it.", "node, service, name, path and fingerprint of the new one"},
	event.TypeCAExpiring:             {"A certificate authority nears its end. Nothing starts by itself: what it signs cannot outlive it.", "its fingerprint"},
	event.TypeRotationRequested:      {"A rotation is due by the policy or a mark, and no CertificateRotation of that name exists. The watcher makes it from this event.", "the name and the five minutes in which it is told: a request that was given up is heard when it is told again"},
	event.TypeRotationStarted:        {"A rotation has begun.", "name and rotation id"},
	event.TypeRotationNodeVerified:   {"A node serves its new certificates and its components are healthy.", "name, rotation id and node"},
	event.TypeRotationSucceeded:      {"A rotation is done and verified, or nothing was left to do.", "name and rotation id"},
	event.TypeRotationRolledBack:     {"A rotation stopped; the node that failed is as it was before, and verified so.", "name and rotation id"},
	event.TypeRotationFailed:         {"A rotation stopped before anything was changed on the node that failed; or, with the result ManualInterventionRequired, a node is neither provably old nor new.", "name and rotation id"},
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

// TestDocumentedSchemasAcceptWhatIsPublished takes both from the document's text.
func TestDocumentedSchemasAcceptWhatIsPublished(t *testing.T) {
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
	require.Len(t, sections, len(event.Types()))
	for i, s := range sections {
		require.Equal(t, string(event.Types()[i]), s[1])
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
			_, err := event.Parse([]byte(text))
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

// TestDocumentedMarkIsAMark publishes what the document says that a person should.
func TestDocumentedMarkIsAMark(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	found := regexp.MustCompile(`(?s)nats pub [^\n]* (rotate-certs-marks\S+) \\\n[^\n]*'(\{.*?\}\})'\n`).FindStringSubmatch(string(text))
	require.NotNil(t, found)
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	ack, err := js.Publish(t.Context(), found[1], []byte(found[2]))
	require.NoError(t, err)
	require.Equal(t, MarkStream("prod"), ack.Stream)
	got := make(chan event.Event, 1)
	background(t, b.Marks, func(_ context.Context, e event.Event) error { got <- e; return nil })
	e := receive(t, got)
	require.Equal(t, "incident-4711", e.ID)
	require.Regexp(t, "^nats-", e.MarkName())
	require.Equal(t, eventtest.All()[2], e.Data)
}

func fenced(language, text string) string { return "```" + language + "\n" + text + "```\n" }

func commands(cluster string) string {
	var out strings.Builder
	for _, s := range streams(cluster, 1) {
		fmt.Fprintln(&out, streamCommand(s.StreamConfig))
	}
	for _, c := range consumers(cluster, ackWait) {
		fmt.Fprintln(&out, consumerCommand(c))
	}
	return out.String()
}

func describeEvents(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, data := range eventtest.All() {
		kind := data.Type()
		e := event.New("prod", at, data)
		require.NotEmpty(t, story[kind].when)
		fmt.Fprintf(&out, "### %s\n\n%s\n\nSubject of the example: `%s`. Published by the %s. Its id follows from: %s.\n\n",
			kind, story[kind].when, Subject(e), publisher(kind), story[kind].id)
		out.WriteString(fenced("json", indent(t, e)))
		out.WriteString("\n<details><summary>schema</summary>\n\n" + fenced("json", indent(t, event.Schema(kind))) + "\n</details>\n\n")
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
MARKER: "UMARKER_PUBLIC_NKEY"
VIEWER: "UVIEWER_PUBLIC_NKEY"

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
	for _, role := range roles() {
		may := permissions(role, cluster)
		fmt.Fprintf(&out, "      {\n        nkey: $%s\n        permissions: {\n", strings.ToUpper(role))
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
