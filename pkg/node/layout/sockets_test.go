package layout

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// TestSystemdIsReachedThroughItsBus or, where there is none, through its own socket.
func TestSystemdIsReachedThroughItsBus(t *testing.T) {
	root := t.TempDir()
	for _, socket := range []string{"", "/run/systemd/private", "/run/dbus/system_bus_socket"} {
		if socket != "" {
			local := filepath.Join(root, socket)
			if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("unix", local)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
		}
		d := &discovery{root: hostfs.Root(root)}
		d.addSockets()
		if d.out.Node.DBusSocket != socket {
			t.Errorf("with %q: %q", socket, d.out.Node.DBusSocket)
		}
	}
}
