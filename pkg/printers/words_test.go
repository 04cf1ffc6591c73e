package printers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestTimesThatNoDurationHolds: a certificate may be valid until the year 9999, and a wrong one may
// have expired in any year.
func TestTimesThatNoDurationHolds(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	assert.Equal(t, ">292y", residualTime(never, now))
	assert.Equal(t, "->292y", residualTime(time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC), now))
	assert.Equal(t, "99y", RemainingTime(99*365*certs.Day))
	assert.Equal(t, "-3d", RemainingTime(-3*certs.Day))
	assert.Equal(t, "more than 292 years", ValidityInWords(never.Sub(now)))
	assert.Equal(t, "more than 292 years", ValidityInWords(certs.LifeOf(now, never, now, false)/time.Second*time.Second))
	assert.Equal(t, "36135 days", ValidityInWords(99*365*certs.Day))
}
