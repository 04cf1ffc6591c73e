package layout

import (
	"cmp"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// clientConnection holds the common fields of the configuration files of scheduler and
// kube-proxy.
type clientConnection struct {
	ClientConnection struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"clientConnection"`
	HealthzBindAddress string `json:"healthzBindAddress"`
}

var controllerPorts = map[certs.Service]string{certs.KubeControllerManager: "10257", certs.KubeScheduler: "10259"}

// addController records the files of the controller manager and the scheduler: up to three
// kubeconfigs, which often are one file, and a serving certificate where one is named.
func (d *discovery) addController(p *program) {
	port := cmp.Or(p.args.lastValue("secure-port"), controllerPorts[p.service])
	address := joinHostPort(localAddress(p.args.lastValue("bind-address")), port)
	if !p.isolated && port != "0" {
		p.component.Health = "https://" + address + "/healthz"
	}
	get := values(p.args.allValues)
	if conf := p.args.lastValue("config"); conf != "" {
		if c, ok := d.readClientConnection(p, conf); ok && c.ClientConnection.Kubeconfig != "" {
			get = get.withValue("kubeconfig", c.ClientConnection.Kubeconfig) // the configuration takes precedence over the flag
		}
	}
	var serving verificationPlace
	if !p.isolated && port != "0" {
		serving.served = []inventory.Served{{Address: address}}
	}
	d.addSettings(p, get, map[settings.Verification]verificationPlace{settings.Served: serving})
	if p.args.lastValue("tls-cert-file") == "" {
		name := strings.TrimPrefix(string(p.service), "kube-") + "-server"
		d.addSelfMade(p, string(p.service), "", role{name: name, served: serving.served})
	}
}

// readClientConnection reads a component's configuration file; an unreadable file is recorded.
func (d *discovery) readClientConnection(p *program, conf string) (clientConnection, bool) {
	var c clientConnection
	ok := d.readConfiguration(p, conf, &c)
	c.ClientConnection.Kubeconfig = pathWithin(conf, c.ClientConnection.Kubeconfig)
	return c, ok
}

// proxyName is the name of kube-proxy's client certificate.
const proxyName = "kube-proxy.conf"

// addKubeProxy records kube-proxy's kubeconfig. Where it is a DaemonSet, as
// kubeadm's, its files lie in the volumes that the kubelet made for its pod.
func (d *discovery) addKubeProxy(p *program) {
	const health = "10256"
	p.component.Health = "http://" + joinHostPort(loopback, health) + "/healthz"
	if p.component.Runtime == inventory.DaemonSet {
		d.addKubeProxyPod(p)
		return
	}
	conf := p.args.lastValue("kubeconfig")
	port := health
	if v := p.args.lastValue("healthz-port"); v != "" {
		port = v
	}
	// An empty address and the port 0 both mean that it serves no health.
	switch bind, set := p.args.lookupFlag("healthz-bind-address"); {
	case set && bind == "" || port == "0":
		p.component.Health = ""
	case set:
		p.component.Health = healthURL(bind, port)
	}
	if file := p.args.lastValue("config"); file != "" {
		// Flags are ignored with a configuration file, and "" there means the default.
		c, ok := d.readClientConnection(p, file)
		if ok {
			conf = c.ClientConnection.Kubeconfig
			p.component.Health = healthURL(c.HealthzBindAddress, health)
		}
	}
	d.addSettings(p, values(p.args.allValues).withValue("kubeconfig", conf), nil)
}

// healthURL is the address of a plain health endpoint, given as "host:port" or
// "host".
func healthURL(bind, defaultPort string) string {
	if bind == "" {
		return "http://" + joinHostPort(loopback, defaultPort) + "/healthz"
	}
	if urls := localURLs([]string{"http://" + bind}); len(urls) == 1 {
		return urls[0] + "/healthz"
	}
	return "http://" + joinHostPort(localAddress(path.Base(bind)), defaultPort) + "/healthz"
}
