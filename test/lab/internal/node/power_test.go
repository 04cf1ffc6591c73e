package node

import (
	"fmt"
	"os"
	"testing"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/netns"
)

// TestALinkOfAKilledNodeIsRemoved: a name that is longer than that of a link can be is its
// alternative name.
func TestALinkOfAKilledNodeIsRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	n := Node{Name: "cp1", Machine: "rotate-certs-lab-test-cp1", Namespace: netns.Namespace(fmt.Sprintf("rotate-certs-lab-test-%d", os.Getpid()))}
	if err := n.Namespace.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Namespace.Delete(); err != nil {
			t.Error(err)
		}
	})
	for _, command := range [][]string{
		{"link", "add", "vb-short", "type", "veth", "peer", "name", "host0"},
		{"link", "property", "add", "dev", "vb-short", "altname", "vb-" + n.Machine},
	} {
		if err := n.Namespace.IP(command...); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is none
		if err := n.removeLink(); err != nil {
			t.Fatal(err)
		}
		if n.Namespace.IP("link", "show", "dev", "vb-short") == nil {
			t.Error("the link is still there")
		}
	}
}
