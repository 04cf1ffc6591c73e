package component

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestOwnQuota is for an etcd that does not report its quota: before 3.6.
func TestOwnQuota(t *testing.T) {
	for _, test := range []struct{ configured, want int64 }{{0, 2 << 30}, {8 << 30, 8 << 30}, {-1, 0}} {
		e := &inventory.Etcd{LocalID: 1, Members: []inventory.Member{{ID: 1}, {ID: 2}}}
		node := inventory.Node{Components: []inventory.Component{{Service: certs.Etcd, DBQuotaBytes: test.configured}}}
		addOwnQuota(e, node)
		if e.Members[0].DBQuota != test.want || e.Members[1].DBQuota != 0 {
			t.Errorf("%d: %+v, want %d for the own member only", test.configured, e.Members, test.want)
		}
		addOwnQuota(e, inventory.Node{}) // external etcd
		e.Members[0].DBQuota = 7
		addOwnQuota(e, node)
		if e.Members[0].DBQuota != 7 {
			t.Errorf("%d: what the member said itself is replaced", test.configured)
		}
	}
}
