//go:build e2e

package e2e

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// due is how long a certificate has left that the watcher renews and that is not urgent: NATS
// is what triggers its renewal.
const due = 20 * 24 * time.Hour

// putExpiring puts an etcd server certificate in place that has so long left of a year, and
// is the old one otherwise. It returns its serial number.
func (l *lab) putExpiring(t *testing.T, n machine, left time.Duration) *big.Int {
	t.Helper()
	dir := l.pki(t) + "/etcd/"
	files := l.snapshot(t, n.Name)
	old, ca := files.identity(t, dir+"server.crt", dir+"server.key"), files.identity(t, dir+"ca.crt", dir+"ca.key")
	end := time.Now().Add(left)
	leaf := resigned(t, old, ca, end.Add(-365*24*time.Hour), end)
	path := dir + "server.crt"
	l.put(t, n.Name, path, withCertificate(t, path, files[path].data, leaf))
	return leaf.SerialNumber
}

// waitUntilRenewed waits for another certificate on etcd's port, which lives as long as
// the cluster's do.
func (l *lab) waitUntilRenewed(t *testing.T, n machine, old *big.Int) {
	t.Helper()
	within(t, 4*time.Minute, "another certificate on "+n.Name, func() bool { return showsAnother(t, n, old) })
	leaf := served(t, n.IP+":2379")
	assert.Greater(t, time.Until(leaf.NotAfter), 2*due, "it lives as long as others do")
	within(t, 2*time.Minute, "the end of every rotation", func() bool {
		return !slices.ContainsFunc(l.rotations(t), func(c v1alpha1.CertificateRotation) bool { return c.Status.CompletionTime == nil })
	})
}

// showsAnother returns whether etcd's port shows a certificate other than the old one.
func showsAnother(t *testing.T, n machine, old *big.Int) bool {
	t.Helper()
	leaf, _ := shown(t, n.IP+":2379") // what shows none is asked again
	return leaf != nil && leaf.SerialNumber.Cmp(old) != 0
}
