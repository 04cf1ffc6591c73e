package certs

import "time"

// Life returns for how long a certificate was made to be valid, for a successor that
// lives as long: from NotBefore to NotAfter.
//
// copied says that NotBefore is its CA's. kubeadm before v1.31, k3s and others copy it
// whenever they renew, so that a certificate for one year, renewed in the CA's third, says
// that it lives for four. Only where that life is a whole number of days was it made
// together with its CA. Else the answer is [DefaultLifetime], or what is left of it at
// now where that is more, and never more than from NotBefore to NotAfter.
func Life(notBefore, notAfter, now time.Time, copied bool) time.Duration {
	life := notAfter.Sub(notBefore)
	if life <= 0 {
		return DefaultLifetime
	}
	if odd := (life - life.Round(day)).Abs(); !copied || odd <= 2*Backdate {
		return life
	}
	return min(life, max(DefaultLifetime, notAfter.Sub(now)))
}

// ValidityFor is for how long from now on a certificate must be valid to live for life,
// since it begins [Backdate] ago.
func ValidityFor(life time.Duration) time.Duration { return max(life-Backdate, life/2) }
