package layout

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// portBinding is an address of the host at which Docker publishes a port of a container.
type portBinding struct{ HostIP, HostPort string }

// ownNetwork reports whether a container is known to have another network than the host's. One
// that shares the network of another container may have the host's by it.
func (h hostConfig) ownNetwork() bool {
	return h.NetworkMode != "" && h.NetworkMode != "host" && !strings.HasPrefix(h.NetworkMode, "container:")
}

// publishes reports whether the host reaches a port of the container at the same loopback address.
func (h hostConfig) publishes(loopback netip.Addr, port string) bool {
	everywhere := netip.IPv4Unspecified()
	if loopback.Is6() {
		everywhere = netip.IPv6Unspecified()
	}
	for _, b := range h.PortBindings[port+"/tcp"] {
		if b.HostPort == port && (b.HostIP == "" || b.HostIP == everywhere.String() || b.HostIP == loopback.String()) {
			return true
		}
	}
	return false
}

// leaveUnreachable leaves a component out of restarts if its container has a network of its own and
// the loopback address of its health is another one on the host: a restart could not be verified,
// and would be undone. The host reaches the container's other addresses.
func (p *program) leaveUnreachable() {
	health, err := url.Parse(p.component.Health)
	if err != nil || !p.docker.ownNetwork() {
		return
	}
	loopback, err := netip.ParseAddr(health.Hostname())
	if err != nil || !loopback.IsLoopback() || p.docker.publishes(loopback, health.Port()) {
		return
	}
	p.component.Note = joinNotes(p.component.Note, fmt.Sprintf("runs in the Docker container %q with a network of its own (%q), which does not publish port %s at %s under the same number, so its health cannot be asked; "+
		"restart it by its own means, or publish the port as %s:%s", p.component.ContainerName, p.docker.NetworkMode, health.Port(), loopback, health.Port(), health.Port()))
	p.component.Runtime = inventory.None
	p.component.Health = ""
	p.component.Unit = ""
	p.component.ContainerID = ""
	p.component.ContainerName = ""
}
