package plugin

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// resourceEvents names the events in an error of a watcher that is asked directly.
var resourceEvents = schema.GroupResource{Resource: "events"}

// cloudEvent is what is shown of an event: CloudEvents 1.0, with the fields of all types
// of docs/events.md together.
type cloudEvent struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Source  string    `json:"source"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	Data    eventData `json:"data"`
}

type eventData struct {
	Node                 string          `json:"node"`
	Nodes                []string        `json:"nodes"`
	Service              certs.Service   `json:"service"`
	Services             []certs.Service `json:"services"`
	Name                 string          `json:"name"`
	FingerprintSHA256    string          `json:"fingerprintSHA256"`
	OldFingerprintSHA256 string          `json:"oldFingerprintSHA256"`
	Fingerprint          string          `json:"fingerprint"`
	NotAfter             time.Time       `json:"notAfter"`
	Reason               string          `json:"reason"`
	Message              string          `json:"message"`
	Mark                 string          `json:"mark"`
	RotationID           string          `json:"rotationID"`
	Attempt              int             `json:"attempt"`
	Result               string          `json:"result"`
}

// UnmarshalJSON never fails for what the data of an unknown type may be.
func (d *eventData) UnmarshalJSON(raw []byte) error {
	type plain eventData
	_ = json.Unmarshal(raw, (*plain)(d)) // what fits is shown
	return nil
}

// kind is the type without what all types share.
func (e cloudEvent) kind() string {
	kind := strings.TrimPrefix(e.Type, "io.rotate-certs.")
	if i := strings.LastIndex(kind, ".v"); i > 0 {
		kind = kind[:i]
	}
	return kind
}

// inWords is an event as a line: when, where, what, in words.
func (e cloudEvent) inWords(wide bool) string {
	where := e.Data.Node
	if where == "" && len(e.Data.Nodes) > 0 {
		where = some(e.Data.Nodes)
	}
	if where == "" {
		where = nothing
	}
	text := fmt.Sprintf("%s  %-10s  %s", second(e.Time), where, e.what())
	if wide {
		text += fmt.Sprintf("  [%s %s]", e.kind(), e.ID)
		if f := e.Data.FingerprintSHA256 + e.Data.Fingerprint; f != "" {
			text += " sha256=" + f
		}
	}
	return text
}

func (e cloudEvent) what() string {
	d := e.Data
	certificate := fmt.Sprintf("%s %s", d.Service, d.Name)
	rotation := "rotation " + d.Name
	if d.RotationID != "" {
		rotation += " (" + d.RotationID + ")"
	}
	switch e.kind() {
	case "certificate.expiring":
		return then(fmt.Sprintf("%s nears its end: %s", certificate, moment(d.NotAfter)), d.Message)
	case "certificate.expired":
		return then(fmt.Sprintf("%s HAS EXPIRED, on %s", certificate, moment(d.NotAfter)), d.Message)
	case "certificate.renewed":
		return fmt.Sprintf("%s was renewed, and is valid until %s", certificate, moment(d.NotAfter))
	case "certificate.compromised":
		return fmt.Sprintf("%s is marked as COMPROMISED: %s", d.Service, d.Reason)
	case "ca.expiring":
		return then(fmt.Sprintf("CA %s nears its end: %s; no renewal mends that", d.Name, moment(d.NotAfter)), d.Message)
	case "rotation.requested":
		return then(fmt.Sprintf("%s asked for: %s, %s%s", rotation, joinServices(d.Services, ", "), strings.ToLower(d.Reason), attempt(d.Attempt)), d.Message)
	case "rotation.started":
		return then(fmt.Sprintf("%s began: %s", rotation, joinServices(d.Services, ", ")), d.Message)
	case "rotation.nodeverified":
		return then(rotation+": verified on this node", d.Message)
	case "rotation.succeeded":
		return then(rotation+" succeeded", d.Message)
	case "rotation.rolledback":
		return then(rotation+" was ROLLED BACK", d.Message)
	case "rotation.failed":
		if d.Result == "ManualInterventionRequired" {
			return then(rotation+" NEEDS A PERSON", d.Message)
		}
		if d.Result == "Refused" {
			return then(rotation+" was REFUSED before a node was touched", d.Message)
		}
		return then(rotation+" FAILED", d.Message)
	}
	return then(strings.TrimSpace(e.kind()+" "+e.Subject), d.Message)
}

func attempt(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(", attempt %d", n)
}

// then adds a message where there is one.
func then(text, message string) string {
	if message == "" {
		return text
	}
	return text + ". " + message
}
