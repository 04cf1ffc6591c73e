package certs

import (
	"crypto/x509"
	"time"
)

// Lasting returns the index of the certificate to go by among several of one CA: a CA
// that was renewed with its key, or is signed by two others, has more than one. It is
// the one that is valid at now and ends last; where none is valid now, the one that ends
// last. It returns -1 for none. dates returns a certificate's NotBefore and NotAfter.
func Lasting[T any](of []T, now time.Time, dates func(T) (notBefore, notAfter time.Time)) int {
	best, bestValid, bestEnd := -1, false, time.Time{}
	for i, c := range of {
		from, end := dates(c)
		valid := !now.Before(from) && now.Before(end)
		if best < 0 || valid && !bestValid || valid == bestValid && end.After(bestEnd) {
			best, bestValid, bestEnd = i, valid, end
		}
	}
	return best
}

// Dates returns a certificate's NotBefore and NotAfter, for [Lasting].
func Dates(c *x509.Certificate) (notBefore, notAfter time.Time) { return c.NotBefore, c.NotAfter }
