package layout

import (
	"net"
	"strconv"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// k3s is a unit that runs K3s. Its components are goroutines of one process: their flags, which
// no command line shows, are those that K3s gives to them (pkg/daemons/control/server.go,
// pkg/daemons/agent and pkg/daemons/control/deps of k3s).
type k3s struct {
	d       *discovery
	process inventory.Component // the part that its components have in common
	dir     string
	role    string    // server or agent
	own     arguments // the settings of K3s itself
}

// k3sOf describes the unit of a process of K3s; nil if its unit does not start K3s, or starts it
// without root, in name spaces of its own.
func (d *discovery) k3sOf(b bundle) *k3s {
	if b.name != "k3s" {
		return nil
	}
	process, loaded := d.componentOfBundle(b)
	if loaded == nil {
		return nil
	}
	found, ok := d.rancherProgram(loaded, distributionNamed("K3s"))
	if rootless, _ := found.settings.booleanFlag("rootless"); !ok || rootless {
		return nil
	}
	process.Note = "runs in the process of K3s, which " + process.Unit + " starts; its flags are those that K3s gives to it"
	return &k3s{d: d, process: process, dir: found.dir, role: found.role, own: found.settings}
}

// programs are the components of this node. A server without an agent, and an agent without a
// server, lack the kubeconfigs of the other.
func (k *k3s) programs() []*program {
	var out []*program
	add := func(s certs.Service, without, needs string, args []string, more ...string) {
		off, _ := k.own.booleanFlag(without)
		if off || k.role == "agent" && strings.HasPrefix(needs, "server/") || !k.d.fileExists(k.dir+"/"+needs) {
			return // an agent that was a server before still has its files
		}
		p := &program{service: s, args: append(args, more...), component: k.process, distribution: distributionNamed("K3s")}
		p.component.Service = s
		p.component.Args = redactArgs(p.args)
		out = append(out, p)
	}
	if k.own.lastValue("datastore-endpoint") == "" {
		add(certs.Etcd, "disable-etcd", "server/db/etcd/config", []string{"--config-file=" + k.dir + "/server/db/etcd/config"})
	}
	add(certs.KubeAPIServer, "disable-apiserver", "server/cred/api-server.kubeconfig", k.apiServerArgs())
	// No health is asked of these: they start and end with the process, and the ports of their
	// health differ from version to version.
	add(certs.KubeControllerManager, "disable-controller-manager", "server/cred/controller.kubeconfig", k.controllerArgs(), "--secure-port=0")
	add(certs.KubeScheduler, "disable-scheduler", "server/cred/scheduler.kubeconfig",
		k.withExtra("kube-scheduler-arg", "--kubeconfig="+k.dir+"/server/cred/scheduler.kubeconfig"), "--secure-port=0")
	add(certs.Kubelet, "disable-agent", "agent/kubelet.kubeconfig", k.kubeletArgs())
	add(certs.KubeProxy, "disable-kube-proxy", "agent/kubeproxy.kubeconfig",
		k.withExtra("kube-proxy-arg", "--kubeconfig="+k.dir+"/agent/kubeproxy.kubeconfig"), "--healthz-bind-address=")
	return out
}

// withExtra adds the flags that a setting of K3s gives to a component, which take precedence.
func (k *k3s) withExtra(setting string, args ...string) []string {
	for _, v := range k.own.allValues(setting) {
		args = append(args, "--"+v)
	}
	return args
}

func (k *k3s) apiServerArgs() []string {
	tls := k.dir + "/" + serverTLS
	args := []string{
		"--tls-cert-file=" + tls + "serving-kube-apiserver.crt", "--tls-private-key-file=" + tls + "serving-kube-apiserver.key",
		"--client-ca-file=" + tls + "client-ca.crt", "--requestheader-client-ca-file=" + tls + "request-header-ca.crt",
		"--kubelet-client-certificate=" + tls + "client-kube-apiserver.crt", "--kubelet-client-key=" + tls + "client-kube-apiserver.key",
		"--kubelet-certificate-authority=" + tls + "server-ca.crt",
		"--proxy-client-cert-file=" + tls + "client-auth-proxy.crt", "--proxy-client-key-file=" + tls + "client-auth-proxy.key",
		"--service-account-key-file=" + tls + "service.key", "--service-account-signing-key-file=" + k.tokenKey(),
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(k.port()+1),
	}
	switch other := k.own.lastValue("datastore-endpoint"); {
	case strings.HasPrefix(other, "https://"): // an etcd of its own; others are no etcd
		args = append(args, "--etcd-servers="+other)
		for _, file := range []string{"cafile", "certfile", "keyfile"} {
			if path := k.own.lastValue("datastore-" + file); path != "" {
				args = append(args, "--etcd-"+file+"="+path)
			}
		}
	case other == "" && k.d.fileExists(k.dir+"/server/db/etcd/config"):
		args = append(args, "--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile="+tls+"etcd/server-ca.crt",
			"--etcd-certfile="+tls+"etcd/client.crt", "--etcd-keyfile="+tls+"etcd/client.key")
	}
	return k.withExtra("kube-apiserver-arg", args...)
}

// tokenKey is the file with the key that signs tokens. Newer versions have it apart from those
// that only verify them.
func (k *k3s) tokenKey() string {
	if current := k.dir + "/" + serverTLS + "service.current.key"; k.d.fileExists(current) {
		return current
	}
	return k.dir + "/" + serverTLS + "service.key"
}

func (k *k3s) controllerArgs() []string {
	tls := k.dir + "/" + serverTLS
	return k.withExtra("kube-controller-manager-arg", "--kubeconfig="+k.dir+"/server/cred/controller.kubeconfig",
		"--root-ca-file="+tls+"server-ca.crt", "--service-account-private-key-file="+k.tokenKey())
}

func (k *k3s) kubeletArgs() []string {
	agent := k.dir + "/agent"
	args := []string{
		"--kubeconfig=" + agent + "/kubelet.kubeconfig", "--client-ca-file=" + agent + "/client-ca.crt",
		"--tls-cert-file=" + agent + "/serving-kubelet.crt", "--tls-private-key-file=" + agent + "/serving-kubelet.key",
		"--pod-manifest-path=" + agent + "/pod-manifests",
	}
	if dir := agent + "/etc/kubelet.conf.d"; k.d.fileExists(dir) {
		args = append(args, "--config-dir="+dir)
	}
	if name := k.own.lastValue("node-name"); name != "" {
		args = append(args, "--hostname-override="+name)
	}
	return k.withExtra("kubelet-arg", args...)
}

// port is that of the supervisor, which passes requests to the API server on to the next port.
func (k *k3s) port() int {
	if port, err := strconv.Atoi(k.own.lastValue("https-listen-port")); err == nil {
		return port
	}
	return 6443
}

// advertiseSupervisor corrects the address at which the API server of K3s is reached from
// other nodes: it listens on the loopback interface only, behind the supervisor.
func (p *program) advertiseSupervisor() {
	if p.distribution == nil || p.distribution.name != "K3s" {
		return
	}
	host, port, err := net.SplitHostPort(p.component.APIServer)
	if n, notNumber := strconv.Atoi(port); err == nil && notNumber == nil {
		p.component.APIServer = joinHostPort(host, strconv.Itoa(n-1))
	}
}
