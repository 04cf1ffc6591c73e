package rotate

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// An earlier rotation that was rolled back has the very key in its backup that is
// compromised now.
func TestCompromisedKeysAreDestroyedInEarlierBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.breaks[certs.Etcd] = true
		e, _ := n.newEngine()
		e.Alone = true
		err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.Etcd, certs.KubeScheduler}, Restart: plan.RestartAlways})
		if !errors.Is(err, ErrAsBefore) {
			t.Fatal(err)
		}
		n.breaks[certs.Etcd] = false
		if len(n.savedKeys("etcd-server")) == 0 {
			t.Fatal("no earlier backup holds the key: this test shows nothing")
		}
		e, r := n.newEngine()
		n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: n.planStep(plan.RestartAlways, certs.Etcd), Restart: plan.RestartAlways, Compromised: true, Token: 9})
		r.orderAfter(n, nodeapi.Staged, nodeapi.Order{Kind: nodeapi.OrderCommit, Token: 9})
		r.orderAfter(n, nodeapi.Committed, nodeapi.Order{Kind: nodeapi.OrderFinish, Token: 9})
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd)
		for _, name := range []string{"etcd-server", "etcd-peer", "etcd-healthcheck-client"} {
			if left := n.savedKeys(name); len(left) > 0 {
				t.Errorf("the old key of %s is still in %v", name, left)
			}
		}
	})
}

// savedKeys lists the files below the state directory that hold an original key.
func (n *fakeNode) savedKeys(name string) (found []string) {
	n.t.Helper()
	key := n.tree.Pairs[name].KeyPEM(n.t)
	err := filepath.WalkDir(n.tree.Local(statedir.HostPath), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, bytes.TrimSpace(key)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return found
}
