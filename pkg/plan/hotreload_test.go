package plan

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestHotReloadNeedsNoRestart(t *testing.T) {
	etcd := []certs.Service{certs.Etcd}
	for name, tt := range map[string]struct {
		c    inventory.Certificate
		want bool
	}{
		"etcd reads it on every handshake":        {inventory.Certificate{Service: certs.Etcd, Name: "etcd-server", UsedBy: etcd}, true},
		"another service loads it too":            {inventory.Certificate{Service: certs.Etcd, Name: "etcd-server", UsedBy: []certs.Service{certs.Etcd, certs.KubeAPIServer}}, false},
		"its container keeps what was replaced":   {inventory.Certificate{Service: certs.Etcd, Name: "etcd-server", UsedBy: etcd, FileMount: true}, false},
		"the scheduler reads its kubeconfig once": {inventory.Certificate{Service: certs.KubeScheduler, Name: "scheduler.conf"}, false},
	} {
		if got := HotReload(tt.c) != ""; got != tt.want {
			t.Errorf("%s: hot reload %v", name, got)
		}
	}
}
