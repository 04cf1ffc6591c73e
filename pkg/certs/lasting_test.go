package certs_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestLasting(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := func(from, to time.Duration) *x509.Certificate {
		return &x509.Certificate{NotBefore: now.Add(from), NotAfter: now.Add(to)}
	}
	for name, test := range map[string]struct {
		of   []*x509.Certificate
		want int
	}{
		"none":                           {nil, -1},
		"the only one, though it ended":  {[]*x509.Certificate{c(-9, -1)}, 0},
		"of two that are valid the last": {[]*x509.Certificate{c(-9, 5), c(-1, 9)}, 1},
		"in whatever order":              {[]*x509.Certificate{c(-1, 9), c(-9, 5)}, 0},
		"not one that ended":             {[]*x509.Certificate{c(-9, 0), c(-9, 1)}, 1},
		"not one that begins later":      {[]*x509.Certificate{c(1, 90), c(-9, 1)}, 1},
		"of those that ended the last":   {[]*x509.Certificate{c(-9, -5), c(-9, -2), c(-9, -3)}, 1},
	} {
		assert.Equal(t, test.want, certs.LastingOf(test.of, now, certs.DatesOf), name)
	}
}
