package layout

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// criSockets are tried if the kubelet's runtime is not configured.
var criSockets = []string{
	"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock",
}

// dbusSockets are where systemd can be reached: through the system bus, or directly where
// there is none.
var dbusSockets = []string{"/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", "/run/systemd/private"}

// addSockets finds the sockets through which components are restarted.
func (d *discovery) addSockets() {
	if d.kubelet != nil {
		d.out.Node.CRISocket = d.kubelet.criSocket
	}
	if d.out.Node.CRISocket == "" && d.kubelet != nil {
		d.out.Node.CRISocket = d.firstSocket(criSockets)
	}
	d.out.Node.DBusSocket = d.firstSocket(dbusSockets)
	byDocker := func(r reader) bool { return r.user.Kind == inventory.OtherContainer }
	byComponent := func(c inventory.Component) bool { return c.Runtime == inventory.Docker }
	if slices.ContainsFunc(d.out.Node.Components, byComponent) || slices.ContainsFunc(d.out.readers, byDocker) {
		d.out.Node.DockerSocket = d.firstSocket(dockerSockets)
	}
	if _, err := d.root.Stat("/run"); d.opts.PodsHidden && errors.Is(err, fs.ErrNotExist) {
		d.out.Node.SocketsHidden = true
	}
}

func (d *discovery) firstSocket(paths []string) string {
	for _, p := range paths {
		if info, err := d.root.Stat(p); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return p
		}
	}
	return ""
}
