package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var everything = plan.Request{Services: []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer}, Restart: plan.RestartAlways}

func rotate(ctx context.Context, t *testing.T, c *cluster, change func(*fleet.Options)) (*v1alpha1.RotationReport, error) {
	t.Helper()
	request := everything
	request.RollbackOf = c.rollbackOf
	p, err := plan.BuildPlan(c.inventories(), request, nil)
	require.NoError(t, err)
	o := fleet.Options{Rotation: fleet.Rotation{ID: "7f3c2a", Request: request, Plan: p, Scanned: c.inventories()}, Timeout: time.Millisecond}
	if change != nil {
		change(&o)
	}
	report, err := fleet.Rotate(ctx, c.asCluster(), o)
	require.NotNil(t, report)
	assert.True(t, c.held != nil || c.did(`close "7f3c2a"`), "pods must be removed whatever happens")
	return report, err
}

func result(report *v1alpha1.RotationReport, node string) v1alpha1.Result {
	for _, item := range report.Items {
		if item.Node == node {
			return item.Result
		}
	}
	return ""
}

func TestControlPlaneIsStagedAtOnceAndCommittedOneByOneLeaderLast(t *testing.T) {
	c := newCluster(3, 2)
	c.leader = "cp1"
	report, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)

	assert.Equal(t, v1alpha1.Succeeded, report.Result)
	assert.Equal(t, 1, c.maxSeen, "never two control-plane nodes at once")
	lastStage := max(c.index("Stage cp1"), c.index("Stage cp2"), c.index("Stage cp3"))
	assert.Less(t, lastStage, c.index("Commit cp2"), "nothing is changed before every control-plane node is staged")
	assert.Less(t, c.index("Commit cp2"), c.index("Commit cp3"))
	assert.Less(t, c.index("Commit cp3"), c.index("Commit cp1"), "the leader goes last")
	assert.Less(t, c.index("Commit cp1"), c.index("Commit w1"), "workers come after the control plane")
	assert.Less(t, c.index("Commit w1"), c.index("Stage w2"), "a wave is staged when the one before is done")
	assert.True(t, c.did("Finish w2"), "a node of the last wave remembers the end")
	for _, item := range report.Items {
		require.NotEmpty(t, item.Certificates)
		require.NotNil(t, item.Certificates[0].New)
		assert.NotEqual(t, item.Certificates[0].Old, *item.Certificates[0].New)
	}
}

func TestBrokenConnectionsAreMadeAgainAndNothingIsOrderedTwice(t *testing.T) {
	c := newCluster(1, 0)
	c.nodes["cp1"].breaks = 5
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{`close ""`, "dry-run", "open cp1", "Stage cp1", "Commit cp1", "ready cp1", "Finish cp1", `close "7f3c2a"`, "release"}, c.log)
}

// TestUnknownNodeCountsMoreThanARolledBackOne of the same wave, whichever ends first.
func TestUnknownNodeCountsMoreThanARolledBackOne(t *testing.T) {
	request := everything
	request.MaxUnavailable = "2"
	c := newCluster(1, 2)
	c.nodes["w1"].commit = nodeapi.RolledBack
	c.nodes["w2"].commit = nodeapi.Unknown
	p, err := plan.BuildPlan(c.inventories(), request, nil)
	require.NoError(t, err)
	report, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
		o.Request = request
		o.Plan = p
	})
	require.ErrorIs(t, err, fleet.ErrManualInterventionRequired)
	assert.Equal(t, v1alpha1.Failed, report.Result)
	assert.Contains(t, err.Error(), "w2: state unknown")
	assert.Contains(t, err.Error(), "w1 runs on its old certificates again")
}

func TestFirstFailureStops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ends   nodeapi.Kind
		kind   error
		result v1alpha1.Result
	}{
		{"rolled back", nodeapi.RolledBack, fleet.ErrStopped, v1alpha1.RolledBack},
		{"broken", nodeapi.Unknown, fleet.ErrManualInterventionRequired, v1alpha1.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(3, 1)
			c.nodes["cp2"].commit = tt.ends
			report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Command = "kubectl rotate-certs --context x" })
			require.ErrorIs(t, err, tt.kind)
			assert.Contains(t, err.Error(), "cp2: etcd did not become healthy")
			assert.Contains(t, err.Error(), "cp1 keeps the new, verified certificates")
			assert.Contains(t, err.Error(), "cp3 w1 were not touched")
			assert.Contains(t, err.Error(), "next: kubectl rotate-certs --context x history 7f3c2a --node cp2\n  then: fix the cause", "what happened comes before what to do")
			assert.False(t, c.did("Commit cp3"))
			assert.False(t, c.did("Commit w1"))
			assert.False(t, c.did("Finish cp1"), "an unfinished rotation must be found as such")
			assert.Equal(t, tt.result, report.Result)
			assert.Equal(t, v1alpha1.Succeeded, result(report, "cp1"))
			assert.Equal(t, tt.result, result(report, "cp2"))
			assert.Equal(t, v1alpha1.Skipped, result(report, "cp3"))
		})
	}
}

func TestFailureWhileStagingChangesNothing(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp3"].stage = nodeapi.Failed
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp3 was not changed")
	for _, n := range []string{"cp1", "cp2", "cp3"} {
		assert.False(t, c.did("Commit "+n))
	}
}

func TestUnhealthyClusterIsRefusedBeforeAnythingChanges(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].unhealthy = "[-]etcd failed"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp2: API server is not ready: [-]etcd failed")
	assert.False(t, c.did("Stage cp1"))
}

// The health check after one node is also the one before the next, while it is recent enough.
func TestHealthIsAskedAfterEveryNodeAndIsFreshBeforeTheNext(t *testing.T) {
	for name, tt := range map[string]struct {
		pass   time.Duration // from one reading of the clock to the next
		checks int
	}{
		"at once":               {0, 1 + 3},
		"where everything took": {2 * time.Second, 1 + 3 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, 0)
			now := time.Now()
			_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				o.Now = func() time.Time { now = now.Add(tt.pass); return now }
			})
			require.NoError(t, err)
			assert.Equal(t, tt.checks, c.nodes["cp1"].healthChecks)
		})
	}
}

func TestLostLockStopsBeforeTheNextNode(t *testing.T) {
	c := newCluster(3, 0)
	c.lost = true
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "held by another rotation")
	assert.False(t, c.did("Commit cp1"))
}

func TestHeldLockChangesNothing(t *testing.T) {
	c := newCluster(1, 0)
	c.held = errors.New("held by alice")
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, c.held)
	assert.Empty(t, c.log)
}

func TestTokenIsAboveTheHighestThatAnyNodeKnows(t *testing.T) {
	c := newCluster(2, 0)
	c.nodes["cp2"].inventory.Token = 41
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Equal(t, int64(42), c.token)
}

func TestInterruptStopsAfterTheNodeInProgress(t *testing.T) {
	c := newCluster(3, 0)
	ctx, cancel := context.WithCancel(t.Context())
	report, err := rotate(ctx, t, c, func(o *fleet.Options) {
		o.Progress = func(p fleet.Progress) {
			if p.Node == "cp1" && p.Phase == fleet.PhaseWorking {
				cancel()
			}
		}
	})
	require.ErrorIs(t, err, fleet.ErrInterrupted)
	assert.Equal(t, v1alpha1.Succeeded, result(report, "cp1"), "the node that was started is completed")
	assert.Equal(t, v1alpha1.Skipped, result(report, "cp2"))
	assert.False(t, c.did("Commit cp2"))
}

// A rotation that is interrupted while it waits for a healthy cluster, or for its lock, is
// reported neither as refused nor as failed.
func TestInterruptWhileItWaits(t *testing.T) {
	for name, prepare := range map[string]func(*cluster){
		"before the start": func(c *cluster) { c.nodes["cp2"].unhealthy = "[-]etcd failed" },
		"between two nodes": func(c *cluster) {
			c.nodes["cp1"].onCommit = func() { c.nodes["cp3"].unhealthy = "[-]poststarthook failed" }
		},
		"healthy": func(*cluster) {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, 0)
			prepare(c)
			ctx, cancel := context.WithCancel(t.Context())
			report, err := rotate(ctx, t, c, func(o *fleet.Options) {
				o.Timeout = time.Second // enough to ask once, however slow the machine is
				o.Progress = func(p fleet.Progress) {
					if p.Phase == fleet.PhaseWaiting || name == "healthy" && p.Phase == fleet.PhaseStaged {
						cancel()
					}
				}
			})
			require.ErrorIs(t, err, fleet.ErrInterrupted)
			require.NotErrorIs(t, err, fleet.ErrStopped)
			assert.NotEqual(t, v1alpha1.Failed, result(report, "cp2"))
		})
	}
}

func TestCertificateSigningRequestsAreApprovedOrIssued(t *testing.T) {
	c := newCluster(1, 2)
	c.nodes["w1"].csr = &nodeapi.Record{Kind: nodeapi.CSRPosted, CSR: &nodeapi.CSR{Name: "csr-w1"}}
	c.nodes["w2"].csr = &nodeapi.Record{Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{TargetID: "kubelet/kubelet-client"}}
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.True(t, c.did("approve csr-w1 for w1"))
	assert.True(t, c.did("issue for w2"))
	assert.True(t, c.did("Issued w2"))
}

func TestOrphanedPodsAreRemovedAndTheNodesScannedAgain(t *testing.T) {
	c := newCluster(1, 0)
	c.orphans = 3
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Less(t, c.index(`close ""`), c.index("scan"))
	assert.Less(t, c.index("scan"), c.index("Stage cp1"))
}

// TestAgreedPlanIsNotReplacedByAnother: the processes of an earlier run have changed the nodes
// since the plan was made.
func TestAgreedPlanIsNotReplacedByAnother(t *testing.T) {
	for name, change := range map[string]func(*inventory.Node){
		"the same":             func(*inventory.Node) {},
		"another certificate":  func(n *inventory.Node) { n.Certificates[0].FingerprintSHA256 = "of-the-earlier-run" },
		"another restart":      func(n *inventory.Node) { n.Components = n.Components[:1] },
		"one certificate less": func(n *inventory.Node) { n.Certificates = n.Certificates[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(1, 1)
			c.orphans = 1
			_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				o.OnlyPlanned = true
				change(&c.nodes["cp1"].inventory)
			})
			if name == "the same" {
				require.NoError(t, err)
				return
			}
			var stop *fleet.StopError
			require.ErrorAs(t, err, &stop)
			assert.ErrorIs(t, err, fleet.ErrStopped)
			assert.Contains(t, err.Error(), "the nodes have changed since the plan; nothing was changed")
			assert.Contains(t, err.Error(), "next: plan again")
			assert.False(t, stop.Changed)
			assert.False(t, c.did("open"), "no node is touched")
		})
	}
}

func TestContinuesAnUnfinishedRotation(t *testing.T) {
	c := newCluster(3, 0)
	// cp1 was done by a run that was killed.
	done := c.nodes["cp1"]
	rotation := inventory.NodeRotation{ID: "7f3c2a", Scope: everything.ScopeText(), StartTime: time.Now(), State: inventory.Committed}
	for i := range done.inventory.Certificates {
		cert := &done.inventory.Certificates[i]
		old := cert.Facts
		cert.FingerprintSHA256 = "new-" + cert.FingerprintSHA256
		rotation.Renewed = append(rotation.Renewed, inventory.Renewal{ID: cert.ID(), Old: old, New: cert.Facts})
	}
	done.inventory.Rotations = []inventory.NodeRotation{rotation}
	unfinished := plan.FindUnfinished(c.inventories(), everything.ScopeText(), time.Now(), "")
	require.NotNil(t, unfinished)
	p, err := plan.BuildPlan(c.inventories(), everything, unfinished)
	require.NoError(t, err)
	report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Plan, o.Unfinished = p, unfinished })
	require.NoError(t, err)
	assert.False(t, c.did("open cp1"), "what is renewed is not renewed twice")
	assert.True(t, c.did("Commit cp2"))
	assert.Equal(t, v1alpha1.Skipped, result(report, "cp1"))
	assert.NotNil(t, report.Items[0].Certificates[0].New, "the report covers the whole rotation")
}
