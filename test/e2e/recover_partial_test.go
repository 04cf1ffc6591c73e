//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRecoverOneNode recovers a cluster of which one machine was off for a year: the others are not
// changed.
func TestRecoverOneNode(t *testing.T) {
	the.startWorkload(t)
	off := []machine{the.nodes[len(the.nodes)-1]}
	if planes := the.controlPlanes(); len(planes) > 2 { // the others have etcd's quorum
		off = append(off, planes[len(planes)-1])
	}
	for _, n := range off {
		t.Run(n.Role, func(t *testing.T) {
			the.expireSome(t, "--node", n.Name)
			before := the.snapshots(t)
			the.recoverPart(t)
			for _, other := range the.nodes {
				if other.Name != n.Name {
					assert.Empty(t, changed(before[other.Name], the.snapshot(t, other.Name)), "on %s", other.Name)
				}
			}
			the.assertRecovered(t)
		})
	}
}

// TestRecoverSomeCertificates recovers a cluster of which one kind of certificate has expired. The
// names of its files match in every shape of the lab.
func TestRecoverSomeCertificates(t *testing.T) {
	the.startWorkload(t)
	for _, kind := range []struct{ name, files string }{
		{name: "kubelets", files: "/kubelet"},
		{name: "peers of etcd", files: "/(peer|member-)"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			the.expireSome(t, "--only", kind.files)
			the.recoverPart(t)
			the.assertRecovered(t)
		})
	}
}

// recoverPart runs a recovery of all machines, of which only a part needs it.
func (l *lab) recoverPart(t *testing.T) {
	t.Helper()
	began := time.Now()
	o := l.recoverHosts(t, l.sshConfig(t), "--yes")
	require.Zero(t, o.exit, "%s", o)
	t.Logf("verified after %s", time.Since(began).Round(time.Second))
	assert.NotContains(t, o.stdout, "FAILED")
}
