package layout

import (
	"path"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// clientConnection is what the configuration files of scheduler and kube-proxy have
// in common.
type clientConnection struct {
	ClientConnection struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"clientConnection"`
	HealthzBindAddress string `json:"healthzBindAddress"`
}

var controllerPorts = map[certs.Service]string{certs.KubeControllerManager: "10257", certs.KubeScheduler: "10259"}

// addController records what the controller manager and the scheduler use: up to
// three kubeconfigs, which often are one file, and a serving certificate where one
// is named.
func (d *discovery) addController(p *program) {
	port := p.args.value("secure-port")
	if port == "" {
		port = controllerPorts[p.service]
	}
	address := join(local(p.args.value("bind-address")), port)
	if !p.isolated && port != "0" {
		p.component.Health = "https://" + address + "/healthz"
	}
	main := p.args.value("kubeconfig")
	if conf := p.args.value("config"); conf != "" {
		if c, ok := d.readClientConnection(p, conf); ok && c.ClientConnection.Kubeconfig != "" {
			main = c.ClientConnection.Kubeconfig // the configuration wins over the flag
		}
	}
	names := controllerNames[p.service]
	if without := d.addKubeconfig(p, main, names.kubeconfig); without != "" {
		p.component.Note = join2(p.component.Note, "authenticates with "+without+", so it has no client certificate")
	}
	for _, flag := range []string{"authentication-kubeconfig", "authorization-kubeconfig"} {
		if conf := p.args.value(flag); conf != main {
			d.addKubeconfig(p, conf, path.Base(conf))
		}
	}
	serving := role{name: names.serving}
	if !p.isolated && port != "0" {
		serving.served = []inventory.Served{{Address: address}}
	}
	d.addNamedPair(p, p.args.value("tls-cert-file"), p.args.value("tls-private-key-file"), serving)

	// The controller manager signs with these.
	d.addAuthority(p, p.args.value("cluster-signing-cert-file"), p.args.value("cluster-signing-key-file"))
	for _, signer := range []string{"kubelet-serving", "kubelet-client", "kube-apiserver-client", "legacy-unknown"} {
		d.addAuthority(p, p.args.value("cluster-signing-"+signer+"-cert-file"), p.args.value("cluster-signing-"+signer+"-key-file"))
	}
	for _, signer := range []string{"", "kubelet-serving-", "kubelet-client-", "kube-apiserver-client-", "legacy-unknown-"} {
		flag := "cluster-signing-" + signer + "key-file"
		d.addKeyUse(p, inventory.SigningKey, "--"+flag, p.args.value(flag))
	}
	const tokens = "service-account-private-key-file"
	d.addKeyUse(p, inventory.ServiceAccountKey, "--"+tokens, p.args.value(tokens))
	for _, flag := range []string{"root-ca-file", "client-ca-file", "requestheader-client-ca-file"} {
		d.addAuthority(p, p.args.value(flag), "")
	}
}

// controllerNames are what their certificates are called, as kubeadm calls them.
var controllerNames = map[certs.Service]struct{ kubeconfig, serving string }{
	certs.KubeControllerManager: {"controller-manager.conf", "controller-manager-server"},
	certs.KubeScheduler:         {"scheduler.conf", "scheduler-server"},
}

// readClientConnection reads a component's configuration file; what cannot be read
// is recorded.
func (d *discovery) readClientConnection(p *program, conf string) (clientConnection, bool) {
	var c clientConnection
	host, ok := d.host(p, conf)
	if !ok {
		return c, false
	}
	data, err := d.root.ReadFile(host)
	if err == nil {
		err = yaml.Unmarshal(data, &c)
	}
	if err != nil {
		d.notInspected(p.service, host, err.Error())
		return clientConnection{}, false
	}
	c.ClientConnection.Kubeconfig = within(conf, c.ClientConnection.Kubeconfig)
	return c, true
}

// proxyName is what kube-proxy's client certificate is called.
const proxyName = "kube-proxy.conf"

// addKubeProxy records kube-proxy's kubeconfig. Where it is a DaemonSet, as
// kubeadm's, its files lie in the volumes that the kubelet made for its pod.
func (d *discovery) addKubeProxy(p *program) {
	const health = "10256"
	p.component.Health = "http://" + join(loopback, health) + "/healthz"
	if p.component.Runtime == inventory.DaemonSet {
		d.addKubeProxyPod(p)
		return
	}
	conf := p.args.value("kubeconfig")
	if file := p.args.value("config"); file != "" {
		c, ok := d.readClientConnection(p, file)
		if ok {
			conf = c.ClientConnection.Kubeconfig
			p.component.Health = healthURL(c.HealthzBindAddress, health)
		}
	}
	if without := d.addKubeconfig(p, conf, proxyName); without != "" {
		p.component.Note = join2(p.component.Note, "authenticates with "+without+", so it has no certificate")
	}
}

// healthURL is the address of a plain health endpoint, given as "host:port" or
// "host".
func healthURL(bind, defaultPort string) string {
	if bind == "" {
		return "http://" + join(loopback, defaultPort) + "/healthz"
	}
	if urls := localURLs([]string{"http://" + bind}); len(urls) == 1 {
		return urls[0] + "/healthz"
	}
	return "http://" + join(local(path.Base(bind)), defaultPort) + "/healthz"
}
