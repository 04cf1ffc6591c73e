package watcherevents

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// Event is the printed part of a CloudEvent, with the fields of all types of docs/events.md.
type Event struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Source  string    `json:"source"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	Data    Data      `json:"data"`

	// Raw is the whole event as the watcher has sent it, in one line of JSON.
	Raw []byte `json:"-"`
}

// Data are the printed fields of the data of an event.
type Data struct {
	Node                   string          `json:"node"`
	Nodes                  []string        `json:"nodes"`
	Service                certs.Service   `json:"service"`
	Services               []certs.Service `json:"services"`
	Name                   string          `json:"name"`
	FingerprintSHA256      string          `json:"fingerprintSHA256"`
	OldFingerprintSHA256   string          `json:"oldFingerprintSHA256"`
	Fingerprint            string          `json:"fingerprint"`
	NotAfter               time.Time       `json:"notAfter"`
	Reason                 string          `json:"reason"`
	Message                string          `json:"message"`
	CompromisedCertificate string          `json:"compromisedCertificate"`
	RotationID             string          `json:"rotationID"`
	Attempt                int             `json:"attempt"`
	Result                 string          `json:"result"`
	Cluster                string          `json:"cluster"`
	User                   string          `json:"user"`
	Rotation               string          `json:"rotation"`
	Refused                string          `json:"refused"`
}

// UnmarshalJSON accepts any data: that of an unknown type may differ.
func (d *Data) UnmarshalJSON(raw []byte) error {
	type plain Data
	_ = json.Unmarshal(raw, (*plain)(d)) // matching fields are printed
	return nil
}

// shortType is the type without prefix and version.
func (e Event) shortType() string {
	kind := strings.TrimPrefix(e.Type, "io.rotate-certs.")
	if i := strings.LastIndex(kind, ".v"); i > 0 {
		kind = kind[:i]
	}
	return kind
}

// WhichNodes names the nodes of an event; empty: it is about none.
func (e Event) WhichNodes() string {
	if e.Data.Node == "" && len(e.Data.Nodes) > 0 {
		return printers.SomeNames(e.Data.Nodes)
	}
	return e.Data.Node
}

// InWords is an event as a line: time, node, description.
func (e Event) InWords(wide bool) string {
	where := cmp.Or(e.WhichNodes(), printers.Nothing)
	text := fmt.Sprintf("%s  %-10s  %s", printers.ToTheSecond(e.Time), where, e.DescribeEvent())
	if wide {
		text += fmt.Sprintf("  [%s %s]", e.shortType(), e.ID)
		if f := e.Data.FingerprintSHA256 + e.Data.Fingerprint; f != "" {
			text += " sha256=" + f
		}
	}
	return text
}

// DescribeEvent is an event as a sentence.
func (e Event) DescribeEvent() string {
	d := e.Data
	certificate := fmt.Sprintf("%s %s", d.Service, d.Name)
	rotation := "rotation " + d.Name
	if d.RotationID != "" {
		rotation += " (" + d.RotationID + ")"
	}
	switch e.shortType() {
	case "certificate.expiring":
		return joinSentences(fmt.Sprintf("%s expires soon: %s", certificate, printers.UTCMinute(d.NotAfter)), d.Message)
	case "certificate.expired":
		return joinSentences(fmt.Sprintf("%s HAS EXPIRED: %s", certificate, printers.UTCMinute(d.NotAfter)), d.Message)
	case "certificate.renewed":
		return fmt.Sprintf("%s was renewed, and is valid until %s", certificate, printers.UTCMinute(d.NotAfter))
	case "certificate.compromised":
		return fmt.Sprintf("%s is marked as COMPROMISED: %s", d.Service, d.Reason)
	case "ca.expiring":
		return joinSentences(fmt.Sprintf("CA %s expires soon: %s", d.Name, printers.UTCMinute(d.NotAfter)), d.Message)
	case "rotation.requested":
		return joinSentences(fmt.Sprintf("%s requested: %s, %s%s", rotation, printers.JoinServices(d.Services, ", "), strings.ToLower(d.Reason), attemptSuffix(d.Attempt)), d.Message)
	case "rotation.asked":
		asked := fmt.Sprintf("%s of cluster %s asked for %s", d.User, d.Cluster, printers.JoinServices(d.Services, ", "))
		if d.Refused != "" {
			return asked + ": REFUSED, " + d.Refused
		}
		return asked + ": rotation " + d.Rotation
	case "rotation.started":
		return joinSentences(fmt.Sprintf("%s started: %s", rotation, printers.JoinServices(d.Services, ", ")), d.Message)
	case "rotation.nodeverified":
		return joinSentences(rotation+": verified on this node", d.Message)
	case "rotation.succeeded":
		return joinSentences(rotation+" succeeded", d.Message)
	case "rotation.rolledback":
		return joinSentences(rotation+" was ROLLED BACK", d.Message)
	case "rotation.failed":
		if d.Result == "ManualInterventionRequired" {
			return joinSentences(rotation+": MANUAL INTERVENTION REQUIRED", d.Message)
		}
		if d.Result == "Refused" {
			return joinSentences(rotation+" was REFUSED before a node was touched", d.Message)
		}
		return joinSentences(rotation+" FAILED", d.Message)
	}
	return joinSentences(strings.TrimSpace(e.shortType()+" "+e.Subject), d.Message)
}

func attemptSuffix(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(", attempt %d", n)
}

// joinSentences adds a message where there is one.
func joinSentences(text, message string) string {
	if message == "" {
		return text
	}
	return text + ". " + message
}
