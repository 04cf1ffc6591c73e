package scan

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// BenchmarkScan scans a control-plane node of kubeadm beside units that are no components.
func BenchmarkScan(b *testing.B) {
	tree := certstest.Kubeadm(b, "cp1", certstest.WithKey(certstest.RSA2048, ""))
	node := layouttest.NodeIn(b, tree.Root)
	node.AddKubeadm(certstest.PKIDir)
	for i := range 20 {
		name := fmt.Sprintf("agent%d", i)
		node.WriteFile("/etc/systemd/system/"+name+".service", "[Service]\nExecStart=/usr/bin/"+name+" --config /etc/agent.conf\n")
		node.WriteFile("/usr/bin/"+name, "\x7fELF"+strings.Repeat("/usr/lib ", 10_000))
		if err := os.Chmod(node.LocalPath("/usr/bin/"+name), 0o755); err != nil {
			b.Fatal(err)
		}
		node.AddProcess(1000+i, layouttest.UnitCgroup(name+".service"), "/usr/bin/"+name)
	}
	b.ReportAllocs()
	for b.Loop() {
		TakeInventory(b.Context(), tree.Root, Options{Handshake: func(context.Context, string, string) (*x509.Certificate, error) {
			return nil, errors.New("not part of this")
		}})
	}
}
