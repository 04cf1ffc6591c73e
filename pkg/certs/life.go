package certs

import (
	"math"
	"time"
)

// IsUnlimited reports whether a certificate is valid for longer than a Duration holds, 292 years: in
// general until 9999, by which RFC 5280 says that it has no well-defined expiration. Its successor
// is valid until the same day, if that is later than 292 years from now: a certificate that was made
// without a NotBefore is valid from the year 1, and may expire soon.
func IsUnlimited(notBefore, notAfter time.Time) bool { return notAfter.Sub(notBefore) == math.MaxInt64 }

// LifeOf returns how long a certificate was made to be valid, for a successor that is valid as
// long: from NotBefore to NotAfter.
//
// copied means that NotBefore is its CA's. kubeadm before v1.31, k3s and others copy it at
// every renewal, so that a certificate for one year, renewed in the CA's third, seems to be
// valid for four. It was made together with its CA only if that life is a whole number of days.
// Otherwise the answer is [DefaultLifetime], or the time left at now if that is longer, and
// never more than from NotBefore to NotAfter.
func LifeOf(notBefore, notAfter, now time.Time, copied bool) time.Duration {
	life := notAfter.Sub(notBefore)
	if life <= 0 {
		return DefaultLifetime
	}
	if odd := (life - life.Round(Day)).Abs(); !copied || odd <= 2*Backdate {
		return life
	}
	return min(life, max(DefaultLifetime, notAfter.Sub(now)))
}

// ValidityFor returns how long from now on a certificate with a total life must be valid, since
// it begins [Backdate] ago.
func ValidityFor(life time.Duration) time.Duration { return max(life-Backdate, life/2) }
