// Package event has the events that the watcher tells: CloudEvents 1.0 in their structured
// JSON form, each with data of its own type and a JSON Schema. They carry public facts
// only, never a key, a token or the bytes of a file. docs/events.md describes them to
// those who read or publish them.
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

// Type is an event's type as its readers say it, "certificate.expiring". On the wire it
// stands between [typePrefix] and [typeVersion].
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
	TypeRotationStarted        Type = "rotation.started"
	TypeRotationNodeVerified   Type = "rotation.nodeverified"
	TypeRotationSucceeded      Type = "rotation.succeeded"
	TypeRotationRolledBack     Type = "rotation.rolledback"
	TypeRotationFailed         Type = "rotation.failed"
)

// Wire is the type as CloudEvents has it, "io.rotate-certs.certificate.expiring.v1".
func (t Type) Wire() string { return typePrefix + string(t) + typeVersion }

// all has one empty value of every type of data.
var all = []Data{
	CertificateExpiring{}, CertificateExpired{}, CertificateCompromised{}, CertificateRenewed{},
	CAExpiring{},
	RotationRequested{}, RotationStarted{}, RotationNodeVerified{}, RotationSucceeded{}, RotationRolledBack{}, RotationFailed{},
}

// Types lists the types in the order in which they are documented.
func Types() []Type {
	out := make([]Type, 0, len(all))
	for _, d := range all {
		out = append(out, d.Type())
	}
	return out
}

// Data is what an event says: one of the structs of this package, by value.
type Data interface {
	Type() Type
	// place is the node it happened on; empty for what concerns the whole cluster.
	place() string
	// subject is what it is about, within its source.
	subject() string
	// identity tells it from all others of its type: two with the same are one event,
	// told twice.
	identity(at time.Time) []string
}

// Event is one event. Data is never nil in one that [New] or [Parse] made.
type Event struct {
	ID      string
	Type    Type
	Cluster string
	Node    string // empty: the whole cluster
	Subject string
	Time    time.Time
	Data    Data
}

// New makes the event that data is, told at a time. The same data gives the same id.
func New(cluster string, at time.Time, data Data) Event {
	return Event{
		ID: identify(cluster, at, data), Type: data.Type(), Cluster: cluster, Node: data.place(),
		Subject: data.subject(), Time: at.UTC(), Data: data,
	}
}

// Source is where the event comes from, as a CloudEvents source.
func (e Event) Source() string {
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
	ce.SetType(e.Type.Wire())
	ce.SetSource(e.Source())
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

// UnmarshalJSON is [Parse].
func (e *Event) UnmarshalJSON(raw []byte) error {
	parsed, err := Parse(raw)
	if err == nil {
		*e = parsed
	}
	return err
}

// Parse reads the structured form. What is no CloudEvent, has a type or version that is
// not known here, or data that its schema refuses, is an error of one line.
func Parse(raw []byte) (Event, error) {
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
	if err := validate(empty.Type(), ce.Data()); err != nil {
		return Event{}, err
	}
	data := reflect.New(reflect.TypeOf(empty))
	if err := json.Unmarshal(ce.Data(), data.Interface()); err != nil {
		return Event{}, fmt.Errorf("data of %q: %s", ce.ID(), oneLine(err))
	}
	d, _ := data.Elem().Interface().(Data)
	return Event{
		ID: ce.ID(), Type: empty.Type(), Cluster: cluster, Node: node,
		Subject: ce.Subject(), Time: ce.Time(), Data: d,
	}, nil
}

// dataOf is the empty data of a type on the wire, or nil.
func dataOf(wire string) Data {
	i := slices.IndexFunc(all, func(d Data) bool { return d.Type().Wire() == wire })
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

// oneLine is an error for places that hold a line: reasons in NATS, columns.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
