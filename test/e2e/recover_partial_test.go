//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
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
			the.completeRecovery(t)
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
			the.completeRecovery(t)
			the.assertRecovered(t)
		})
	}
}
