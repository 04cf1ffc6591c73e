package component

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestOwnQuota is for an etcd that does not tell its quota: before 3.6.
func TestOwnQuota(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int64
	}{
		{nil, 2 << 30},
		{[]string{"--name=cp1", "--quota-backend-bytes=8589934592"}, 8 << 30},
		{[]string{"-quota-backend-bytes", "1073741824", "--name=cp1"}, 1 << 30},
		{[]string{"--quota-backend-bytes=0"}, 2 << 30},
		{[]string{"--quota-backend-bytes=-1"}, 0},
		{[]string{"--quota-backend-bytes"}, 0},
	} {
		e := &inventory.Etcd{LocalID: 1, Members: []inventory.Member{{ID: 1}, {ID: 2}}}
		node := inventory.Node{Components: []inventory.Component{{Service: certs.Etcd, Args: test.args}}}
		ownQuota(e, node)
		if e.Members[0].DBQuota != test.want || e.Members[1].DBQuota != 0 {
			t.Errorf("%q: %+v, want %d for the own member only", test.args, e.Members, test.want)
		}
		ownQuota(e, inventory.Node{}) // external etcd
		e.Members[0].DBQuota = 7
		ownQuota(e, node)
		if e.Members[0].DBQuota != 7 {
			t.Errorf("%q: what the member said itself is replaced", test.args)
		}
	}
}
