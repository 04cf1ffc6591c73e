package rotate

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// commitWithCopy renews etcd's certificates by an order that asks for a copy of its data.
func commitWithCopy(n *fakeNode) *records {
	n.t.Helper()
	e, r := n.newEngine()
	n.stageServices(plan.RestartAlways, certs.Etcd)
	r.orderAfter(n, nodeapi.Staged, nodeapi.Order{Kind: nodeapi.OrderCommit, CopyEtcd: true})
	r.orderAfter(n, nodeapi.Committed, finish)
	require.NoError(n.t, runOrders(n.t, n.t.Context(), e))
	return r
}

func TestDataOfEtcdIsCopiedBeforeAnythingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.writeMember("pages")
		// Absolute, in the file system of the host.
		if err := os.Symlink("/fast/wal", n.tree.Local("/var/lib/etcd/member/wal")); err != nil {
			t.Fatal(err)
		}
		r := commitWithCopy(n)
		assert.Equal(t, nodeapi.Finished, r.lastRecord().Kind)
		copied := r.recordsOf(nodeapi.EtcdCopied)
		require.Len(t, copied, 1)
		assert.Equal(t, "etcd's data (0 MiB) was copied to /var/lib/rotate-certs/rotations/"+rotationID+"/etcd", copied[0].Message)
		assert.Less(t, copied[0].Seq, r.recordsOf(nodeapi.Committing)[0].Seq)
		data, err := os.ReadFile(n.fileState("etcd/etcd/member/snap/db"))
		require.NoError(t, err)
		assert.Equal(t, "pages", string(data))
		data, err = os.ReadFile(n.fileState("etcd/etcd/member/wal/0.wal"))
		require.NoError(t, err)
		assert.Equal(t, "entries", string(data))
	})
}

// writeMember gives the node a member's data; its log is in another directory.
func (n *fakeNode) writeMember(pages string) {
	n.t.Helper()
	n.etcdData = []string{"/var/lib/etcd"}
	n.tree.Write(n.t, "/var/lib/etcd/member/snap/db", []byte(pages), 0o600)
	n.tree.Write(n.t, "/fast/wal/0.wal", []byte("entries"), 0o600)
}

// TestFirstCopyOfEtcdIsKept: a recovery that is continued finds data that it may have damaged.
func TestFirstCopyOfEtcdIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.writeMember("pages")
		n.etcdData = append(n.etcdData, "/fast/wal")
		n.breaks[certs.Etcd] = true
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd)
		r.orderAfter(n, nodeapi.Staged, nodeapi.Order{Kind: nodeapi.OrderCommit, CopyEtcd: true})
		r.orderAfter(n, nodeapi.RolledBack, abandon)
		require.NoError(t, runOrders(t, t.Context(), e))
		n.breaks[certs.Etcd] = false
		n.tree.Write(t, "/var/lib/etcd/member/snap/db", []byte("worse"), 0o600)

		again := commitWithCopy(n)

		assert.Contains(t, again.recordsOf(nodeapi.EtcdCopied)[0].Message, "was copied before to")
		data, err := os.ReadFile(n.fileState("etcd/etcd/member/snap/db"))
		require.NoError(t, err)
		assert.Equal(t, "pages", string(data))
	})
}

// TestRecoveryContinuesWithoutACopy: where the order does not require one, as with --force.
func TestRecoveryContinuesWithoutACopy(t *testing.T) {
	for name, c := range map[string]struct {
		data []string
		want string
	}{
		"not known": {nil, "its directory is not known, or not on the host"},
		"missing":   {[]string{"/var/lib/elsewhere"}, "no such file"},
		"no log":    {[]string{"/etc/kubernetes/pki"}, "no file of etcd's write-ahead log"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.etcdData = c.data
				r := commitWithCopy(n)
				n.isAll(true, certs.Etcd)
				said := r.recordsOf(nodeapi.EtcdCopied)[0].Message
				assert.True(t, strings.HasPrefix(said, "etcd's data was not copied: "), said)
				assert.Contains(t, said, c.want)
			})
		})
	}
}

// stageWithCopy stages etcd's certificates by an order that requires a copy of its data.
func stageWithCopy(n *fakeNode) {
	n.t.Helper()
	n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: n.planStep(plan.RestartAlways, certs.Etcd), Restart: plan.RestartAlways,
		Scope: "test", StartTime: n.clock(), CopyEtcd: true, RequireCopy: true})
}

var requiredCopy = nodeapi.Order{Kind: nodeapi.OrderCommit, CopyEtcd: true, RequireCopy: true}

// TestStagingFailsWhereARequiredCopyIsImpossible: before anything is changed on any node.
func TestStagingFailsWhereARequiredCopyIsImpossible(t *testing.T) {
	for name, c := range map[string]struct {
		data []string
		size int64
		want string
	}{
		"not known":  {nil, 0, "its directory is not known, or not on the host"},
		"a log only": {[]string{"/var/lib/elsewhere", "/etc/kubernetes/pki"}, 0, "no such file"},
		"no data":    {[]string{"/var/lib/elsewhere"}, 0, ""},
		"no log":     {[]string{"/etc/kubernetes/pki"}, 0, "no file of etcd's write-ahead log"},
		"no space":   {[]string{"/var/lib/etcd", "/fast/wal"}, 8 << 40, "it has 8388608 MiB, so its copy needs 16778240 MiB free on the disk of "},
		"everything": {[]string{"/var/lib/etcd", "/fast/wal"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.writeMember("pages")
				n.etcdData = c.data
				if c.size > 0 { // sparse
					require.NoError(t, os.Truncate(n.tree.Local("/var/lib/etcd/member/snap/db"), c.size))
				}
				e, r := n.newEngine()
				stageWithCopy(n)
				r.orderAfter(n, nodeapi.Failed, abandon)
				r.orderAfter(n, nodeapi.Staged, requiredCopy)
				r.orderAfter(n, nodeapi.Committed, finish)
				require.NoError(t, runOrders(t, t.Context(), e))
				if c.want == "" {
					assert.Equal(t, nodeapi.Finished, r.lastRecord().Kind)
					return
				}
				failed := r.recordsOf(nodeapi.Failed)
				require.Len(t, failed, 1, r.kindsText())
				assert.Contains(t, failed[0].Message, c.want)
				assert.Contains(t, failed[0].Hint, "--force continues without a copy")
				n.isAll(false, certs.Etcd)
				n.stagedIsEmpty()
			})
		})
	}
}

// TestCommitContinuesWhereACopyFailsAfterAll: the disk may have filled up since the staging, and the
// other members commit at the same time.
func TestCommitContinuesWhereACopyFailsAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.writeMember("pages")
		n.etcdData = []string{"/var/lib/etcd", "/fast/wal"}
		e, r := n.newEngine()
		stageWithCopy(n)
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.Staged {
				assert.NoError(t, os.Remove(n.tree.Local("/fast/wal/0.wal")))
			}
		}
		r.orderAfter(n, nodeapi.Staged, requiredCopy)
		r.orderAfter(n, nodeapi.Committed, finish)
		require.NoError(t, runOrders(t, t.Context(), e))
		assert.Contains(t, r.recordsOf(nodeapi.EtcdCopied)[0].Message, "etcd's data was not copied: ")
		n.isAll(true, certs.Etcd)
	})
}

// TestMemberThatWritesNeedsNoCopy: it has got its quorum since the order was given.
func TestMemberThatWritesNeedsNoCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.writeMember("pages")
		n.etcdData = []string{"/var/lib/etcd", "/fast/wal"}
		e, r := n.newEngine()
		stageWithCopy(n)
		r.orderAfter(n, nodeapi.Staged, requiredCopy)
		r.orderAfter(n, nodeapi.Committed, finish)
		ended := make(chan struct{})
		go func() {
			for turn := int64(0); ; turn++ {
				select {
				case <-ended:
					return
				case <-time.After(time.Second / 2):
					assert.NoError(t, os.Chtimes(n.tree.Local("/fast/wal/0.wal"), time.Time{}, time.Unix(turn, 0)))
				}
			}
		}()
		require.NoError(t, runOrders(t, t.Context(), e))
		close(ended)
		assert.Contains(t, r.recordsOf(nodeapi.EtcdCopied)[0].Message, "etcd's data was not copied: ")
		n.isAll(true, certs.Etcd)
	})
}

// TestRotationsCopyNothing: only an order that asks for it has data copied.
func TestRotationsCopyNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.etcdData = []string{"/var/lib/etcd"}
		began := time.Now()
		r := rotateAll(n, plan.RestartAlways, certs.Etcd)
		assert.Empty(t, r.recordsOf(nodeapi.CopyingEtcd))
		assert.Less(t, time.Since(began), time.Minute)
		assert.NoDirExists(t, n.fileState("etcd"))
	})
}
