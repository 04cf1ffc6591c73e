package scan

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// preferredCA returns the CA to use of several that verify the same certificate: one that a
// component names, since peers have it, before one that only exists beside it; of those the one
// that expires last.
func preferredCA(of []*authority, now time.Time) *authority {
	named := slices.DeleteFunc(slices.Clone(of), func(a *authority) bool { return !a.isNamed() })
	if len(named) > 0 {
		of = named
	}
	i := certs.LastingOf(of, now, func(a *authority) (time.Time, time.Time) { return certs.DatesOf(a.cert) })
	if i < 0 {
		return nil
	}
	return of[i]
}

// renewalOf returns the later certificate of the same CA if every file that a component names
// contains it, otherwise nil: a component with a file that lacks it still depends on the old
// one.
func (k *authorities) renewalOf(a *authority, now time.Time) *authority {
	same := slices.DeleteFunc(slices.Clone(k.all), func(b *authority) bool {
		return !bytes.Equal(a.cert.RawSubject, b.cert.RawSubject) || !bytes.Equal(a.cert.RawSubjectPublicKeyInfo, b.cert.RawSubjectPublicKeyInfo)
	})
	best := preferredCA(same, now)
	if best == a || now.Before(best.cert.NotBefore) || !now.Before(best.cert.NotAfter) || !best.cert.NotAfter.After(a.cert.NotAfter) {
		return nil
	}
	for _, p := range a.files {
		replaced := slices.ContainsFunc(same, func(b *authority) bool {
			return b != a && slices.Contains(b.files, p) && b.cert.NotAfter.After(a.cert.NotAfter) && !now.Before(b.cert.NotBefore)
		})
		if !replaced {
			return nil
		}
	}
	return best
}

func renewedReason(a, by *authority) string {
	return fmt.Sprintf("expires %s; renewed with the same key, the renewed one in %s expires %s",
		a.cert.NotAfter.UTC().Format(time.RFC3339), by.paths[0], by.cert.NotAfter.UTC().Format(time.RFC3339))
}
