package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// eventID hashes the identity of an event. Each part is preceded by its length, so that
// different lists of parts have different hashes.
func eventID(cluster string, at time.Time, data Data) string {
	var b strings.Builder
	for _, part := range append([]string{data.EventType().WireName(), cluster}, data.identityParts(at)...) {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// ObjectName is the name of the CompromisedCertificate of a certificate.compromised: that of
// the existing object if the watcher published it, otherwise a name that follows from id and
// content. So a repeated event creates no second object, and no event can take the name of
// another.
func (e Event) ObjectName() string {
	c, ok := e.Data.(CertificateCompromised)
	if ok && c.CompromisedCertificate != "" {
		return c.CompromisedCertificate
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", e.ID, e.SourceURI(), fmt.Sprint(c)))
	return "nats-" + hex.EncodeToString(sum[:10])
}
