package plan

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Validity is for how long from its signing on a certificate's successor is to be valid:
// as asked for, else (0) so that it lives as long as the certificate was made to.
func Validity(c inventory.Certificate, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	return certs.ValidityFor(life(c))
}

// life is for how long a certificate was made to be valid.
func life(c inventory.Certificate) time.Duration {
	if c.LifeSeconds > 0 {
		return time.Duration(c.LifeSeconds) * time.Second
	}
	return certs.Life(c.NotBefore, c.NotAfter, c.NotBefore, false)
}
