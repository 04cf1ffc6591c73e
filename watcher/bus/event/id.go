package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// RequestSlot is how long repetitions of one rotation.requested count as the same event.
const RequestSlot = 5 * time.Minute

// identify hashes what tells an event from all others. Each part is preceded by its
// length, so that no two lists of parts look the same.
func identify(cluster string, at time.Time, data Data) string {
	var b strings.Builder
	for _, part := range append([]string{data.Type().Wire(), cluster}, data.identity(at)...) {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// MarkName is the name of the CompromisedCertificate that stands for a
// certificate.compromised: its own where the watcher told of one that exists, else one
// that follows from the event's id and content, so that a repeated event makes no second one
// and none can take the place of another.
func (e Event) MarkName() string {
	c, ok := e.Data.(CertificateCompromised)
	if ok && c.Mark != "" {
		return c.Mark
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", e.ID, e.Source(), fmt.Sprint(c)))
	return "nats-" + hex.EncodeToString(sum[:10])
}
