package certs

import (
	"crypto/x509"
	"time"
)

// LastingOf returns the index of the certificate to use of several of one CA: a CA that was
// renewed with its key, or is signed by two others, has more than one. It is the one that is
// valid at now and expires last; if none is valid now, the one that expires last. It returns -1
// for none. dates returns a certificate's NotBefore and NotAfter.
func LastingOf[T any](of []T, now time.Time, dates func(T) (notBefore, notAfter time.Time)) int {
	best := -1
	bestValid := false
	bestEnd := time.Time{}
	for i, c := range of {
		from, end := dates(c)
		valid := !now.Before(from) && now.Before(end)
		if best < 0 || valid && !bestValid || valid == bestValid && end.After(bestEnd) {
			best = i
			bestValid = valid
			bestEnd = end
		}
	}
	return best
}

// DatesOf returns a certificate's NotBefore and NotAfter, for [LastingOf].
func DatesOf(c *x509.Certificate) (notBefore, notAfter time.Time) { return c.NotBefore, c.NotAfter }
