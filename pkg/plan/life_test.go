package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Lifetimes of decades are common, and up to that of a certificate without an end, of the year 9999.
func TestLifeChanges(t *testing.T) {
	const year = 365 * 24 * time.Hour
	const longest = time.Duration(1<<63 - 1)
	for _, was := range []time.Duration{year, 10 * year, 30 * year, 31 * year, 50 * year, 99 * year, longest} {
		assert.False(t, LifeChanges(was, was), was)
		assert.False(t, LifeChanges(was, was-was/11), was)
		assert.True(t, LifeChanges(was, was-was/9), was)
		assert.True(t, LifeChanges(was-was/9, was), was)
		assert.True(t, LifeChanges(was, time.Hour), was)
	}
}

// TestPlanOfAnUnlimitedCertificate: its successor is the same, and nothing is said to change.
func TestPlanOfAnUnlimitedCertificate(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	n := sharingNode()
	n.Time = now
	c := &n.Certificates[2]
	c.NotBefore = now.AddDate(-1, 0, 0)
	c.NotAfter = never
	c.LifeSeconds = int64(certs.LifeOf(c.NotBefore, c.NotAfter, now, false) / time.Second)
	for ends, reason := range map[time.Time]string{never: "", now.AddDate(9, 0, 0): `its CA "ca" expires then`} {
		n.Authorities = []inventory.Authority{{Name: "ca", Paths: []string{"/ca.crt"}, KeyOn: "/ca.key",
			Facts: certs.Facts{Subject: "CN=ca", NotBefore: now.AddDate(-1, 0, 0), NotAfter: ends}}}
		p, err := BuildPlan([]inventory.Node{n}, Request{Services: []certs.Service{certs.KubeAPIServer}, Restart: RestartAlways}, nil)
		require.NoError(t, err)
		target := p.AllSteps()[0].targetOf(c.ID())
		require.NotNil(t, target)
		assert.Equal(t, ends, target.NewNotAfter)
		assert.Equal(t, reason, target.LifeReason)
	}
}

// TestPlanOfACertificateWithoutABeginning: it is valid from the year 1, and expires soon.
func TestPlanOfACertificateWithoutABeginning(t *testing.T) {
	n := sharingNode()
	n.Time = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	c := &n.Certificates[2]
	c.NotBefore = time.Time{}
	c.NotAfter = n.Time.AddDate(0, 0, 10)
	p, err := BuildPlan([]inventory.Node{n}, Request{Services: []certs.Service{certs.KubeAPIServer}, Restart: RestartAlways}, nil)
	require.NoError(t, err)
	target := p.AllSteps()[0].targetOf(c.ID())
	require.NotNil(t, target)
	assert.Greater(t, target.NewNotAfter.Year(), 2300)
}
