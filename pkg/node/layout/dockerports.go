package layout

import (
	"fmt"
	"net/url"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// portBinding is an address of the host at which Docker publishes a port of a container.
type portBinding struct{ HostIP, HostPort string }

// ownNetwork reports whether a container is known to have another network than the host's.
func (h hostConfig) ownNetwork() bool { return h.NetworkMode != "" && h.NetworkMode != "host" }

// publishes reports whether the host reaches a port of the container at the same address.
func (h hostConfig) publishes(host, port string) bool {
	for _, b := range h.PortBindings[port+"/tcp"] {
		if b.HostPort == port && (listensEverywhere(b.HostIP) || b.HostIP == host) {
			return true
		}
	}
	return false
}

// leaveUnreachable leaves a component out of restarts if its container has a network of its own and
// the host does not reach the address of its health: a restart could not be verified, and would be undone.
func (p *program) leaveUnreachable() {
	health, err := url.Parse(p.component.Health)
	if err != nil || p.component.Health == "" || !p.docker.ownNetwork() || p.docker.publishes(health.Hostname(), health.Port()) {
		return
	}
	p.component.Note = fmt.Sprintf("runs in the Docker container %q with a network of its own (%q), which does not publish port %s under the same number, so its health cannot be asked; "+
		"restart it by its own means, or publish the port as %s:%s", p.component.ContainerName, p.docker.NetworkMode, health.Port(), health.Port(), health.Port())
	p.component.Runtime = inventory.None
	p.component.Health = ""
	p.component.Unit = ""
	p.component.ContainerID = ""
	p.component.ContainerName = ""
}
