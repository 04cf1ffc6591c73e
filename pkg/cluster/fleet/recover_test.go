package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var recovery = plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, MaxUnavailable: "100%", Recover: true}

// countCommits counts the orders to commit. It is called with the lock held.
func (c *cluster) countCommits() int {
	return len(slices.DeleteFunc(slices.Clone(c.log), func(entry string) bool { return verb(entry) != "Commit" }))
}

// expireNodes makes the certificates of nodes expired.
func (c *cluster) expireNodes(names ...string) {
	for _, name := range names {
		n := &c.nodes[name].inventory
		n.Time = time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
		for i := range n.Certificates {
			n.Certificates[i].Status = certs.Expired
		}
	}
}

// dieUntilRenewed makes the API servers of nodes unhealthy until all of these nodes have committed,
// as etcd members do that refuse each other.
func (c *cluster) dieUntilRenewed(names ...string) {
	left := len(names)
	for _, name := range names {
		c.nodes[name].unhealthy = "[-]etcd failed"
		c.nodes[name].takes = 20 * time.Millisecond
		c.nodes[name].onCommit = func() {
			c.atCommit = append(c.atCommit, c.countCommits())
			if left--; left > 0 {
				return
			}
			c.noLeader = false
			for _, again := range names {
				c.nodes[again].unhealthy = ""
			}
		}
	}
}

func recoverCluster(t *testing.T, c *cluster) (*v1alpha1.RotationReport, error) {
	t.Helper()
	p, err := plan.BuildPlan(c.inventories(), recovery, nil)
	require.NoError(t, err)
	return fleet.Recover(t.Context(), c.asCluster(), fleet.Options{Rotation: fleet.Rotation{ID: "7f3c2a", Request: recovery, Plan: p, Scanned: c.inventories()}, Timeout: time.Second})
}

func TestDeadControlPlaneIsCommittedTogetherThenTheWorkers(t *testing.T) {
	c := newCluster(3, 2)
	c.expireNodes("cp1", "cp2", "cp3", "w1", "w2")
	c.dieUntilRenewed("cp1", "cp2", "cp3")
	report, err := recoverCluster(t, c)
	require.NoError(t, err)
	assert.Equal(t, v1alpha1.Succeeded, report.Result)
	assert.Equal(t, []int{3, 3, 3}, c.atCommit, "members of etcd become healthy only together")
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		assert.Less(t, c.index("Stage "+node), c.index("Commit cp1"), "nothing is changed before all is signed")
		assert.Greater(t, c.index("open w1"), c.index("Commit "+node), "workers need the API server")
	}
	for _, node := range []string{"cp1", "w2"} {
		assert.True(t, c.did("ready "+node))
	}
	assert.True(t, c.did("Finish w2"))
}

func TestNodesWithoutExpiredCertificatesAreNotChanged(t *testing.T) {
	c := newCluster(3, 2)
	c.expireNodes("cp3", "w2")
	c.dieUntilRenewed("cp3")
	report, err := recoverCluster(t, c)
	require.NoError(t, err)
	assert.Equal(t, v1alpha1.Succeeded, report.Result)
	for _, node := range []string{"cp1", "cp2"} {
		assert.True(t, c.did("open "+node), "their health counts")
		assert.False(t, c.did("Stage "+node))
		assert.False(t, c.did("Commit "+node))
	}
	assert.False(t, c.did("open w1"))
	assert.True(t, c.did("Commit cp3"))
	assert.True(t, c.did("Commit w2"))
}

func TestNodesThatAnswerAreCommittedOneByOne(t *testing.T) {
	c := newCluster(3, 0)
	c.expireNodes("cp1", "cp2", "cp3")
	for _, n := range c.nodes {
		n.takes = 20 * time.Millisecond
		n.onCommit = func() {
			c.atCommit = append(c.atCommit, c.countCommits())
		}
	}
	_, err := recoverCluster(t, c)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 3}, c.atCommit)
}

// TestDataOfEtcdIsCopiedWhereItHasNoQuorum: of each member, before anything changes on its node.
func TestDataOfEtcdIsCopiedWhereItHasNoQuorum(t *testing.T) {
	for _, quorum := range []bool{true, false} {
		c := newCluster(3, 1)
		c.noLeader = !quorum
		c.expireNodes("cp1", "cp2", "w1")
		c.dieUntilRenewed("cp1", "cp2")
		report, err := recoverCluster(t, c)
		require.NoError(t, err)
		for node, want := range map[string]bool{"cp1": !quorum, "cp2": !quorum, "cp3": false, "w1": false} {
			assert.Equal(t, want, slices.Contains(report.Notes, node+": etcd's data was copied"), "%s, quorum: %v", node, quorum)
		}
	}
}

// TestRecoveryWithoutACopyOfEtcdNeedsForce: a disk without space is known before anything is changed on
// any node.
func TestRecoveryWithoutACopyOfEtcdNeedsForce(t *testing.T) {
	const full = "etcd's data cannot be copied: it has 2048 MiB"
	for _, force := range []bool{false, true} {
		c := newCluster(3, 0)
		c.noLeader = true
		c.expireNodes("cp1", "cp2", "cp3")
		c.dieUntilRenewed("cp1", "cp2", "cp3")
		c.nodes["cp2"].uncopied = full
		p, err := plan.BuildPlan(c.inventories(), recovery, nil)
		require.NoError(t, err)
		report, err := fleet.Recover(t.Context(), c.asCluster(), fleet.Options{
			Rotation: fleet.Rotation{ID: "7f3c2a", Request: recovery, Plan: p, Scanned: c.inventories()}, Timeout: time.Second, Force: force})
		assert.Equal(t, force, c.did("Commit cp1"))
		if force {
			require.NoError(t, err)
			assert.Contains(t, report.Notes, "cp2: "+full)
			continue
		}
		require.ErrorIs(t, err, fleet.ErrStopped)
		require.ErrorContains(t, err, "cp2: its recovery could not be prepared; nothing was changed there")
		require.ErrorContains(t, err, full)
	}
}

// TestEtcdThatWorksKeepsItsQuorum: only the API servers' certificates have expired. Those of etcd that
// expire soon are renewed with them, and its members accept each other meanwhile.
func TestEtcdThatWorksKeepsItsQuorum(t *testing.T) {
	for _, status := range []certs.Status{certs.OK, certs.Expiring} {
		t.Run(string(status), func(t *testing.T) {
			c := newCluster(3, 0)
			c.expireNodes("cp1", "cp2", "cp3")
			for _, name := range []string{"cp1", "cp2", "cp3"} {
				n := c.nodes[name]
				etcd := &n.inventory.Certificates[0]
				etcd.Status = status
				etcd.NotAfter = n.inventory.Time.Add(24 * time.Hour)
				n.unhealthy = "x509: certificate has expired"
				n.takes = 20 * time.Millisecond
				n.onCommit = func() {
					c.atCommit = append(c.atCommit, c.countCommits())
					n.unhealthy = ""
				}
			}
			_, err := recoverCluster(t, c)
			require.NoError(t, err)
			assert.Equal(t, []int{1, 2, 3}, c.atCommit)
		})
	}
}

func TestControlPlaneThatStaysDeadStopsTheRecoveryBeforeTheWorkers(t *testing.T) {
	c := newCluster(3, 1)
	c.expireNodes("cp1", "cp2", "cp3", "w1")
	for _, name := range []string{"cp1", "cp2", "cp3"} {
		c.nodes[name].unhealthy = "[-]etcd failed"
	}
	report, err := recoverCluster(t, c)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.ErrorContains(t, err, "cp1 cp2 cp3 have new certificates, but not all of the control plane is healthy")
	assert.ErrorContains(t, err, "[-]etcd failed")
	assert.Equal(t, v1alpha1.Failed, report.Result)
	assert.False(t, c.did("open w1"))
}

func TestRecoveryStagesEverythingOrChangesNothing(t *testing.T) {
	c := newCluster(3, 0)
	c.expireNodes("cp1", "cp2", "cp3")
	c.dieUntilRenewed("cp1", "cp2", "cp3")
	c.nodes["cp2"].stage = "Failed"
	_, err := recoverCluster(t, c)
	require.ErrorIs(t, err, fleet.ErrStopped)
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		assert.False(t, c.did("Commit "+node))
	}
}

func TestRecoveryInVainIsRefused(t *testing.T) {
	for _, force := range []bool{false, true} {
		c := newCluster(3, 0)
		c.expireNodes("cp1", "cp2", "cp3")
		c.dieUntilRenewed("cp1", "cp2", "cp3")
		p, err := plan.BuildPlan(c.inventories(), recovery, nil)
		require.NoError(t, err)
		old := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		p.LeftOut = []plan.LeftOut{{Node: "cp2", Service: certs.Etcd, Name: "etcd-peer", Path: "/pki/peer.crt", NotAfter: old, Reason: "its CA's key is nowhere"}}
		_, err = fleet.Recover(t.Context(), c.asCluster(), fleet.Options{
			Rotation: fleet.Rotation{ID: "7f3c2a", Request: recovery, Plan: p, Scanned: c.inventories()}, Timeout: time.Second, Force: force})
		if force {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, fleet.ErrStopped)
		require.ErrorContains(t, err, `cp2: etcd-peer "/pki/peer.crt": its CA's key is nowhere`)
		assert.False(t, c.did("open cp1"))
	}
}

// TestRecoveryDoesNotNeedEveryCertificate: an API server starts and serves without a valid certificate of
// the front proxy, and etcd without that of its health checks. Their CAs may have expired alone.
func TestRecoveryDoesNotNeedEveryCertificate(t *testing.T) {
	for name, of := range map[string]inventory.Certificate{
		"front-proxy-client":       {Service: certs.KubeAPIServer, Client: &inventory.Client{Kind: inventory.ToAPIServerAsProxy}},
		"apiserver-kubelet-client": {Service: certs.KubeAPIServer, Client: &inventory.Client{Kind: inventory.ToKubelet}},
		"etcd-healthcheck-client":  {Service: certs.Etcd, Client: &inventory.Client{Kind: inventory.ToEtcd}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, 0)
			of.Name = name
			of.Store = inventory.Store{Kind: inventory.Pair, Cert: "/pki/" + name + ".crt"}
			of.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			of.Reason = "its CA has expired"
			of.NotAfter = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
			of.FingerprintSHA256 = "old-cp2-" + name
			n := &c.nodes["cp2"].inventory
			n.Certificates = append(n.Certificates, of)
			c.expireNodes("cp1", "cp2", "cp3")
			c.dieUntilRenewed("cp1", "cp2", "cp3")
			_, err := recoverCluster(t, c)
			require.NoError(t, err)
			assert.True(t, c.did("Commit cp2"))
		})
	}
}

// recoverWithoutCP3 recovers cp1 and cp2 while etcd still lists the member of cp3, a machine that is
// no more.
func recoverWithoutCP3(t *testing.T, c *cluster, force bool) (*v1alpha1.RotationReport, time.Duration, error) {
	t.Helper()
	scanned := slices.DeleteFunc(c.inventories(), func(n inventory.Node) bool { return n.Name == "cp3" })
	p, err := plan.BuildPlan(scanned, recovery, nil)
	require.NoError(t, err)
	began := time.Now()
	report, err := fleet.Recover(t.Context(), c.asCluster(), fleet.Options{
		Rotation: fleet.Rotation{ID: "7f3c2a", Request: recovery, Plan: p, Scanned: scanned}, Timeout: time.Second, Force: force, WithoutAPI: true})
	return report, time.Since(began), err
}

// TestMemberOfARemovedMachine: two of three members are a quorum. With --force the recovery waits for
// no member that runs on none of the hosts, and continues with nodes and workers; without it, it
// stops. Either way it names the member.
func TestMemberOfARemovedMachine(t *testing.T) {
	for _, force := range []bool{false, true} {
		for name, dead := range map[string][]string{"all others are dead": {"cp1", "cp2"}, "one of the others is dead": {"cp1"}, "none is dead": nil} {
			t.Run(fmt.Sprintf("%s, force %v", name, force), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(3, 1)
					c.noLeader = len(dead) == 2
					c.expireNodes("cp1", "cp2", "w1")
					c.dieUntilRenewed(dead...)
					c.nodes["cp3"].down = true
					report, took, err := recoverWithoutCP3(t, c, force)
					if !force {
						require.ErrorIs(t, err, fleet.ErrStopped)
						assert.ErrorContains(t, err, `etcd member "cp3" is not healthy`)
						assert.ErrorContains(t, err, "etcdctl member remove 33")
						assert.ErrorContains(t, err, "--force")
						assert.False(t, c.did("open w1"))
						return
					}
					require.NoError(t, err)
					assert.Equal(t, v1alpha1.Succeeded, report.Result)
					assert.Contains(t, strings.Join(report.Overridden, "; "), `etcd member "cp3" is not healthy`)
					for _, node := range []string{"cp1", "cp2", "w1"} {
						assert.True(t, c.did("Commit "+node), node)
					}
					assert.Less(t, took, 7*time.Second, "nothing is waited for that cannot come")
				})
			})
		}
	}
}

// TestMemberOfAForgottenHost is healthy: no command is proposed that removes it, and --force does
// not override that without the cluster's lock another rotation could restart it.
func TestMemberOfAForgottenHost(t *testing.T) {
	for _, force := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(3, 1)
			c.expireNodes("cp1", "cp2", "w1")
			c.dieUntilRenewed("cp1")
			_, _, err := recoverWithoutCP3(t, c, force)
			require.ErrorIs(t, err, fleet.ErrStopped)
			assert.ErrorContains(t, err, `etcd member "cp3" (`)
			assert.ErrorContains(t, err, "is on none of the hosts")
			assert.NotContains(t, err.Error(), "member remove")
		})
	}
}

// TestForceWaitsForMembersOfTheHosts: one that was renewed just now may need a moment more.
func TestForceWaitsForMembersOfTheHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(3, 1)
		c.noLeader = true
		c.expireNodes("cp1", "cp2", "w1")
		c.dieUntilRenewed("cp1", "cp2")
		c.nodes["cp2"].down = true
		c.nodes["cp3"].down = true
		c.onOpen = func(name string) error {
			if name == "w1" {
				assert.False(t, c.nodes["cp2"].down, "workers come after the control plane")
			}
			return nil
		}
		time.AfterFunc(1500*time.Millisecond, func() { c.Lock(); c.nodes["cp2"].down = false; c.Unlock() })
		report, _, err := recoverWithoutCP3(t, c, true)
		require.NoError(t, err)
		assert.NotContains(t, strings.Join(report.Overridden, "; "), `"cp2"`)
	})
}
