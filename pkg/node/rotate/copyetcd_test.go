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

// TestRecoveryContinuesWithoutACopy: a cluster that is down is not kept down for want of one.
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
