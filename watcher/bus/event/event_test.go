package event_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

var at = time.Date(2030, 5, 17, 9, 30, 0, 0, time.UTC)

func TestEveryTypeSurvivesTheWire(t *testing.T) {
	require.Len(t, eventtest.All(), len(event.AllTypes()), "an example of each")
	for i, data := range eventtest.All() {
		require.Equal(t, event.AllTypes()[i], data.EventType())
		t.Run(string(data.EventType()), func(t *testing.T) {
			e := event.New("prod", at, data)
			raw, err := json.Marshal(e)
			require.NoError(t, err)
			got, err := event.ParseEvent(raw)
			require.NoError(t, err)
			require.Equal(t, e, got)

			var fields map[string]any
			require.NoError(t, json.Unmarshal(raw, &fields))
			require.Equal(t, "1.0", fields["specversion"])
			require.Equal(t, "io.rotate-certs."+string(data.EventType())+".v1", fields["type"])
			require.Equal(t, e.SourceURI(), fields["source"])
			require.Equal(t, "application/json", fields["datacontenttype"])
		})
	}
}

func TestSameDataSameID(t *testing.T) {
	seen := map[string]event.Type{}
	for _, data := range eventtest.All() {
		a, b := event.New("prod", at, data), event.New("prod", at.Add(time.Minute), data)
		require.Equal(t, a.ID, b.ID, data.EventType())
		require.NotEqual(t, a.ID, event.New("test", at, data).ID, "another cluster's")
		require.Empty(t, seen[a.ID])
		seen[a.ID] = data.EventType()
	}
}

func TestIDFollowsTheContent(t *testing.T) {
	id := func(d event.Data) string { return event.New("prod", at, d).ID }

	c := eventtest.Certificate
	renewed := c
	renewed.FingerprintSHA256 = strings.Repeat("b", 64)
	require.NotEqual(t, id(event.CertificateExpiring{Certificate: c}), id(event.CertificateExpiring{Certificate: renewed}))
	require.Equal(t, id(event.CertificateExpiring{Certificate: c}), id(event.CertificateExpiring{Certificate: c, Message: "in other words"}))

	report := event.CertificateCompromised{Service: certs.Etcd, Nodes: []string{"a", "b"}, Reason: "stolen"}
	turned := event.CertificateCompromised{Service: certs.Etcd, Nodes: []string{"b", "a"}, Reason: "stolen"}
	require.Equal(t, id(report), id(turned))

	request := event.RotationRequested{Name: "auto-1", Services: []certs.Service{certs.Etcd}, Reason: event.ReasonExpiring, Attempt: 1}
	later := event.New("prod", at.Add(5*time.Minute), request)
	require.NotEqual(t, id(request), later.ID, "a request that is still due is delivered again")
}

func TestObjectNameFollowsFromTheEvent(t *testing.T) {
	report := event.CertificateCompromised{Service: certs.Etcd, Reason: "stolen"}
	first := event.New("prod", at, report)
	again := event.New("prod", at.Add(time.Hour), report)
	require.Equal(t, first.ObjectName(), again.ObjectName())
	require.Regexp(t, `^nats-[0-9a-f]{20}$`, first.ObjectName())

	other := first
	other.Data = event.CertificateCompromised{Service: certs.Admin, Reason: "stolen"}
	require.NotEqual(t, first.ObjectName(), other.ObjectName(), "an id that is used twice hides nothing")

	report.CompromisedCertificate = "laptop-stolen"
	require.Equal(t, "laptop-stolen", event.New("prod", at, report).ObjectName())
}

func TestParseRefuses(t *testing.T) {
	good := event.New("prod", at, event.CertificateCompromised{Service: certs.Etcd, Reason: "stolen"})
	raw, err := json.Marshal(good)
	require.NoError(t, err)
	for _, tc := range []struct{ name, old, with, want string }{
		{"no JSON", "{", "[", "not a CloudEvent in JSON"},
		{"another version of CloudEvents", `"specversion":"1.0"`, `"specversion":"0.2"`, "not a CloudEvent in JSON"},
		{"no id", `"id":"` + good.ID + `"`, `"id":""`, "not a valid CloudEvent"},
		{"an unknown type", "certificate.compromised.v1", "certificate.vanished.v1", "unknown type or version"},
		{"an unknown version", "certificate.compromised.v1", "certificate.compromised.v2", "unknown type or version"},
		{"a strange source", "/clusters/prod", "/elsewhere", "is not /clusters/NAME"},
		{"a mistyped field", `"reason":`, `"node":["a"],"reason":`, "additional properties 'node' not allowed"},
		{"an unknown service", `"service":"etcd"`, `"service":"ectd"`, "value must be one of"},
		{"a missing field", `,"reason":"stolen"`, ``, "missing property 'reason'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := strings.Replace(string(raw), tc.old, tc.with, 1)
			require.NotEqual(t, string(raw), changed)
			_, err := event.ParseEvent([]byte(changed))
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestSourceEscapesNames(t *testing.T) {
	odd := eventtest.Certificate
	odd.Node = "rack 1/node?x"
	e := event.New("a/b c", at, event.CertificateExpired{Certificate: odd})
	require.Equal(t, "/clusters/a%2Fb%20c/nodes/rack%201%2Fnode%3Fx", e.SourceURI())
	raw, err := json.Marshal(e)
	require.NoError(t, err)
	got, err := event.ParseEvent(raw)
	require.NoError(t, err)
	require.Equal(t, e, got)
}

// TestAskedNameIsTheDocumented one, which programs of others compute.
func TestAskedNameIsTheDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/events.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), `"request":"`+event.AskedName("staging", "change-815")+`"`)
	assert.NotEqual(t, event.AskedName("a", "b"), event.AskedName("b", "a"))
	assert.NotEqual(t, event.AskedName(`a" "b`, "c"), event.AskedName("a", `b" "c`))
}
