//go:build e2e

package e2e

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests of this file run on a kubeadm cluster whose etcd is on three hosts of its own, in
// kubespray's layout, see "make e2e-etcd".

const (
	kubespray    = "kubespray" // that layout
	kubesprayDir = "/etc/ssl/etcd/ssl"
)

func TestKubesprayClientOfEtcdIsListedAndLeftOut(t *testing.T) {
	cp := the.controlPlanes()[0]
	client, _ := the.etcdClient(t)
	list, o := the.check(t)
	assert.Zero(t, o.exit, "%s", o)
	found := false
	for _, i := range list.Items {
		found = found || i.Node == cp.Name && i.Path == client.cert
	}
	assert.True(t, found, "it is listed: %s", o)

	o = the.kubectl(t, "rotate-certs", "--service", "kube-apiserver", "-o", "json")

	assert.Equal(t, 4, o.exit, "done, but something was left out: %s", o)
	report := parseReport(t, o)
	if assert.Len(t, report.LeftOut, 1, "%s", o) {
		assert.Equal(t, client.cert, report.LeftOut[0].Path)
	}
	the.assertClusterIsWhole(t)
}

// TestKubesprayMemberRotatesWhereTheCAsKeyIs rotates the first member by hand, on its host. A
// member's certificate is its server's and its peer's.
func TestKubesprayMemberRotatesWhereTheCAsKeyIs(t *testing.T) {
	host := the.etcds[0]
	the.install(t, host.Name, "rotate-certs-node", "/run/rotate-certs-node")
	t.Cleanup(func() {
		_, err := the.try(context.WithoutCancel(t.Context()), host.Name, "rm -rf /run/rotate-certs-node /var/lib/rotate-certs")
		assert.NoError(t, err)
	})
	before := the.snapshot(t, host.Name)

	out, err := the.try(t.Context(), host.Name, "/run/rotate-certs-node rotate --service etcd --restart always 2>&1")

	require.NoError(t, err, "%s", out)
	after := the.snapshot(t, host.Name)
	stem := kubesprayDir + "/member-" + host.Name
	member := stored{cert: stem + ".pem", key: stem + "-key.pem", ports: []string{host.IP + ":2379", host.IP + ":2380"}}
	the.assertStoredAnew(t, host, member, before, after)
	assert.Subset(t, changed(before, after), []string{member.cert, member.key})
	the.waitUntilReady(t)
	the.assertClusterIsWhole(t)
}

// TestKubesprayMemberWithoutTheCAsKeyIsRefused is about the other hosts: their certificates
// are signed on the first one only.
func TestKubesprayMemberWithoutTheCAsKeyIsRefused(t *testing.T) {
	host := the.etcds[1]
	the.install(t, host.Name, "rotate-certs-node", "/run/rotate-certs-node")
	t.Cleanup(func() {
		_, err := the.try(context.WithoutCancel(t.Context()), host.Name, "rm -rf /run/rotate-certs-node /var/lib/rotate-certs")
		assert.NoError(t, err)
	})
	before := the.snapshot(t, host.Name)

	out, err := the.try(t.Context(), host.Name, "/run/rotate-certs-node rotate --service etcd 2>&1")

	assert.Error(t, err, "%s", out)
	assert.Contains(t, string(out), "member-"+host.Name)
	assert.Empty(t, changed(before, the.snapshot(t, host.Name)))
	the.assertClusterIsWhole(t)
}

// TestKubesprayMembersRotateOverSSH rotates all three members from one place: the first host signs
// for the others, whose keys stay on them.
func TestKubesprayMembersRotateOverSSH(t *testing.T) {
	before := map[string]tree{}
	for _, host := range the.etcds {
		before[host.Name] = the.snapshot(t, host.Name)
	}

	o := the.kubectl(t, append([]string{"rotate-certs", "--service", "etcd", "--yes"}, the.overSSH(t)...)...)

	require.Zero(t, o.exit, "%s", o)
	for _, host := range the.etcds {
		after := the.snapshot(t, host.Name)
		for _, name := range []string{"member-", "admin-"} {
			stem := kubesprayDir + "/" + name + host.Name
			s := stored{cert: stem + ".pem", key: stem + "-key.pem"}
			if name == "member-" {
				s.ports = []string{host.IP + ":2379", host.IP + ":2380"}
			}
			the.assertStoredAnew(t, host, s, before[host.Name], after)
		}
	}
	the.assertClusterIsWhole(t)
}
