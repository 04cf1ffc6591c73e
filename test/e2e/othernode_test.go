//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hideCAKey moves the key of etcd's CA out of the place where a node's programs look for it,
// until the test ends.
func (l *lab) hideCAKey(t *testing.T, n machine) {
	t.Helper()
	key := l.pki(t) + "/etcd/ca.key"
	l.on(t, n.Name, "mv "+key+" /root/hidden-etcd-ca.key")
	t.Cleanup(func() {
		_, err := l.try(context.WithoutCancel(t.Context()), n.Name, "mv /root/hidden-etcd-ca.key "+key)
		assert.NoError(t, err)
	})
}

// TestSignedWhereTheKeyOfTheCAIs: stacked etcd members whose CA's key is on one node only.
func TestSignedWhereTheKeyOfTheCAIs(t *testing.T) {
	controlPlanes := the.controlPlanes()
	if len(controlPlanes) < 2 {
		t.Skip("there is one control-plane node only")
	}
	signer := controlPlanes[0]
	for _, n := range controlPlanes[1:] {
		the.hideCAKey(t, n)
	}
	_, checked := the.check(t)
	assert.Zero(t, checked.exit, "%s", checked)
	assert.NotContains(t, checked.stdout+checked.stderr, "cannot be renewed", "another node signs")

	plan := the.kubectl(t, "rotate-certs", "plan", "--service", "etcd")
	require.Zero(t, plan.exit, "%s", plan)
	assert.Contains(t, plan.stdout, "are signed by "+signer.Name+", since the key of their CA is not on the node")

	report := the.rotateAndCompare(t, []string{"etcd"}, "--service", "etcd")

	assert.Empty(t, report.LeftOut)
	for _, item := range report.Items {
		for _, c := range item.Certificates {
			want := signer.Name
			if item.Node == signer.Name {
				want = "" // its own
			}
			assert.Equal(t, want, c.SignedBy, "%s of %s", c.Name, item.Node)
		}
	}
	signed := string(the.on(t, signer.Name, "cat /var/lib/rotate-certs/rotations/"+report.ID+"/signed.jsonl"))
	for _, n := range controlPlanes[1:] {
		assert.Equal(t, 3, strings.Count(signed, `"node":"`+n.Name+`"`), "recorded for %s: %s", n.Name, signed)
		the.on(t, n.Name, "test ! -e "+the.pki(t)+"/etcd/ca.key") // no key has travelled
	}
}

// TestLeftOutWhereNoNodeHasTheKeyOfTheCA: what no node can sign is left out by name.
func TestLeftOutWhereNoNodeHasTheKeyOfTheCA(t *testing.T) {
	for _, n := range the.controlPlanes() {
		the.hideCAKey(t, n)
	}
	before := the.snapshots(t)

	plan := the.kubectl(t, "rotate-certs", "plan", "--service", "etcd,kube-scheduler")

	require.Zero(t, plan.exit, "%s", plan)
	assert.Contains(t, plan.stdout, "Left out, since it cannot be renewed")
	for _, name := range []string{"etcd-server", "etcd-peer", "etcd-healthcheck-client"} {
		assert.Contains(t, plan.stdout, name)
	}
	assert.Contains(t, plan.stdout, "the key of its CA")
	for _, n := range the.controlPlanes() {
		assert.Contains(t, plan.stdout, n.Name)
	}
	for _, n := range the.nodes {
		assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
	}
}
