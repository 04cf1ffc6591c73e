// Package event has the events of the watcher: CloudEvents 1.0 in structured JSON, each with
// data of its own type and a JSON Schema. They carry public facts only, never a key, a token
// or the contents of a file. docs/events.md describes them for users.
package event

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// ContentType is what a message with an event declares.
const ContentType = cloudevents.ApplicationCloudEventsJSON

// Type is the type of an event in its short form, "certificate.expiring". In a CloudEvent it
// is between [typePrefix] and [typeVersion].
type Type string

const (
	typePrefix  = "io.rotate-certs."
	typeVersion = ".v1"
)

// The types.
const (
	TypeCertificateExpiring    Type = "certificate.expiring"
	TypeCertificateExpired     Type = "certificate.expired"
	TypeCertificateCompromised Type = "certificate.compromised"
	TypeCertificateRenewed     Type = "certificate.renewed"
	TypeCAExpiring             Type = "ca.expiring"
	TypeRotationRequested      Type = "rotation.requested"
	TypeRotationAsked          Type = "rotation.asked"
	TypeRotationStarted        Type = "rotation.started"
	TypeRotationNodeVerified   Type = "rotation.nodeverified"
	TypeRotationSucceeded      Type = "rotation.succeeded"
	TypeRotationRolledBack     Type = "rotation.rolledback"
	TypeRotationFailed         Type = "rotation.failed"
)

// WireName is the type of the CloudEvent, "io.rotate-certs.certificate.expiring.v1".
func (t Type) WireName() string { return typePrefix + string(t) + typeVersion }

// all has one empty value of every type of data.
var all = []Data{
	CertificateExpiring{}, CertificateExpired{}, CertificateCompromised{}, CertificateRenewed{},
	CAExpiring{},
	RotationRequested{}, RotationAsked{}, RotationStarted{}, RotationNodeVerified{}, RotationSucceeded{}, RotationRolledBack{}, RotationFailed{},
}

// AllTypes lists the types in the order in which they are documented.
func AllTypes() []Type {
	out := make([]Type, 0, len(all))
	for _, d := range all {
		out = append(out, d.EventType())
	}
	return out
}

// Data is the content of an event: one of the structs of this package, by value.
type Data interface {
	EventType() Type
	// nodeName is the node of the event; empty: it concerns the whole cluster.
	nodeName() string
	// subjectName is the subject of the CloudEvent.
	subjectName() string
	// identityParts identify the event among those of its type: two with the same parts are
	// one event, published twice.
	identityParts(at time.Time) []string
}

// Event is one event. Data is never nil after [New] or [ParseEvent].
type Event struct {
	ID      string
	Type    Type
	Cluster string
	Node    string // empty: the whole cluster
	Subject string
	Time    time.Time
	Data    Data
}

// New makes an event with this data and time. The same data gives the same id.
func New(cluster string, at time.Time, data Data) Event {
	return Event{
		ID: eventID(cluster, at, data), Type: data.EventType(), Cluster: cluster, Node: data.nodeName(),
		Subject: data.subjectName(), Time: at.UTC(), Data: data,
	}
}

// SourceURI is the source of the CloudEvent.
func (e Event) SourceURI() string {
	source := "/clusters/" + url.PathEscape(e.Cluster)
	if e.Node != "" {
		source += "/nodes/" + url.PathEscape(e.Node)
	}
	return source
}

// MarshalJSON writes the structured form.
func (e Event) MarshalJSON() ([]byte, error) {
	ce := cloudevents.New()
	ce.SetID(e.ID)
	ce.SetType(e.Type.WireName())
	ce.SetSource(e.SourceURI())
	if e.Subject != "" {
		ce.SetSubject(e.Subject)
	}
	ce.SetTime(e.Time)
	if err := ce.SetData(cloudevents.ApplicationJSON, e.Data); err != nil {
		return nil, fmt.Errorf("write event %q: %w", e.ID, err)
	}
	if err := ce.Validate(); err != nil {
		return nil, fmt.Errorf("write event %q: %w", e.ID, err)
	}
	return json.Marshal(ce)
}

// UnmarshalJSON is [ParseEvent].
func (e *Event) UnmarshalJSON(raw []byte) error {
	parsed, err := ParseEvent(raw)
	if err == nil {
		*e = parsed
	}
	return err
}

// ParseEvent reads the structured form. Invalid CloudEvents, unknown types or versions, and data
// that its schema refuses are errors of one line.
func ParseEvent(raw []byte) (Event, error) {
	var ce cloudevents.Event
	if err := json.Unmarshal(raw, &ce); err != nil {
		return Event{}, fmt.Errorf("not a CloudEvent in JSON: %s", oneLine(err))
	}
	if err := ce.Validate(); err != nil {
		return Event{}, fmt.Errorf("not a valid CloudEvent: %s", oneLine(err))
	}
	empty := dataOf(ce.Type())
	if empty == nil {
		return Event{}, fmt.Errorf("unknown type or version %q", ce.Type())
	}
	cluster, node, err := parseSource(ce.Source())
	if err != nil {
		return Event{}, err
	}
	if err := validateData(empty.EventType(), ce.Data()); err != nil {
		return Event{}, err
	}
	data := reflect.New(reflect.TypeOf(empty))
	if err := json.Unmarshal(ce.Data(), data.Interface()); err != nil {
		return Event{}, fmt.Errorf("data of %q: %s", ce.ID(), oneLine(err))
	}
	d, _ := data.Elem().Interface().(Data)
	return Event{
		ID: ce.ID(), Type: empty.EventType(), Cluster: cluster, Node: node,
		Subject: ce.Subject(), Time: ce.Time(), Data: d,
	}, nil
}

// dataOf is the empty data of a type on the wire, or nil.
func dataOf(wire string) Data {
	i := slices.IndexFunc(all, func(d Data) bool { return d.EventType().WireName() == wire })
	if i < 0 {
		return nil
	}
	return all[i]
}

func parseSource(source string) (cluster, node string, err error) {
	parts := strings.Split(source, "/")
	ok := (len(parts) == 3 || len(parts) == 5 && parts[3] == "nodes") && parts[0] == "" && parts[1] == "clusters"
	if ok {
		cluster, err = url.PathUnescape(parts[2])
	}
	if ok && err == nil && len(parts) == 5 {
		node, err = url.PathUnescape(parts[4])
	}
	if !ok || err != nil || cluster == "" {
		return "", "", fmt.Errorf("source %q is not /clusters/NAME or /clusters/NAME/nodes/NAME", source)
	}
	return cluster, node, nil
}

// oneLine writes an error on one line, for reasons in NATS.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
