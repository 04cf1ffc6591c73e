package certs

import (
	"cmp"
	"fmt"
	"time"
)

// Status is the status of a certificate.
type Status string

// The statuses of a certificate, as `check -o json` prints them.
const (
	OK          Status = "OK"
	Expiring    Status = "Expiring"
	Expired     Status = "Expired"
	NotYetValid Status = "NotYetValid"
	Invalid     Status = "Invalid"   // cannot be parsed, key does not fit, chain does not verify
	NotServed   Status = "NotServed" // valid on disk, but an endpoint serves another certificate
)

// DefaultWithin is the time before its expiry from which a certificate counts as expiring: 30
// days, or a fifth of a shorter life.
const DefaultWithin = 30 * 24 * time.Hour

// ValidityStatus depends only on the dates. within 0 means the default: [DefaultWithin], or 20
// % of the certificate's life where that is shorter. The reason is empty for OK.
func (f Facts) ValidityStatus(now time.Time, within time.Duration) (Status, string) {
	within = cmp.Or(within, min(DefaultWithin, f.NotAfter.Sub(f.NotBefore)/5))
	switch {
	case now.Before(f.NotBefore):
		return NotYetValid, fmt.Sprintf("valid only from %s; check this node's clock", f.NotBefore.Format(time.RFC3339))
	case !now.Before(f.NotAfter):
		return Expired, "expired " + f.NotAfter.Format(time.RFC3339)
	case f.NotAfter.Sub(now) <= within:
		return Expiring, "ends " + f.NotAfter.Format(time.RFC3339)
	default:
		return OK, ""
	}
}
