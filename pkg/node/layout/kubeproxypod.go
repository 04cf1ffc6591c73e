package layout

import (
	"path"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// podVolumes is where the kubelet makes the volumes of pods.
const podVolumes = "/var/lib/kubelet/pods"

// addKubeProxyPod records a kube-proxy that runs as an ordinary pod. Its manifest is the API
// server's, not the node's, but the kubelet has put its ConfigMaps and Secrets into a directory
// per pod, where they are found by their names.
func (d *discovery) addKubeProxyPod(p *program) {
	p.component.ContainerName = string(certs.KubeProxy)
	conf := p.args.lastValue("kubeconfig")
	if file := p.args.lastValue("config"); file != "" {
		var c clientConnection
		data, _, ok := d.podFile(p.place.podUID, file)
		if ok && yaml.Unmarshal(data, &c) == nil {
			conf = pathWithin(file, c.ClientConnection.Kubeconfig)
			p.component.Health = healthURL(c.HealthzBindAddress, "10256")
		}
	}
	data, host, ok := d.podFile(p.place.podUID, conf)
	if conf == "" || !ok {
		if d.opts.PodsHidden {
			p.component.Note = "runs as a pod, whose kubeconfig is not shown here"
			return
		}
		d.notInspectedByDesign(certs.KubeProxy, conf, "kube-proxy runs as a pod whose kubeconfig is not to be found on this node")
		return
	}
	k, err := ParseKubeconfig(data)
	if err != nil {
		d.notInspected(certs.KubeProxy, host, err.Error())
		return
	}
	user := k.CurrentUser()
	switch {
	case user == nil:
		d.notInspected(certs.KubeProxy, host, "the kubeconfig's current context names no user of it")
	case !user.EmbeddedCert && user.CertFile == "":
		what := user.certificateKind()
		if user.Other == "token" {
			what = "a ServiceAccount token"
		}
		p.component.Note = "authenticates with " + what + ", so it has no certificate"
	case isUnder(host, podVolumes):
		d.notInspectedByDesign(certs.KubeProxy, host, "the client certificate comes from a ConfigMap or Secret, not from this node's files")
	default:
		d.configs[d.storeKey(inventory.Store{Cert: host})] = host
		p.files = resolver{} // found under its own name on the host
		d.addUser(p, host, user, role{name: proxyName, client: d.apiClient(p, host, host, user)})
	}
}

// restingKubeProxy finds a kube-proxy pod of this node that does not run at the moment, e.g.
// between two starts, by the directory that the kubelet made for its container. Its command
// line is unknown then; kubeadm's is assumed.
func (d *discovery) restingKubeProxy() *program {
	pods, err := d.root.ReadDir(podVolumes)
	if err != nil {
		return nil
	}
	for _, pod := range pods {
		if _, err := d.root.Stat(path.Join(podVolumes, pod.Name(), "containers", string(certs.KubeProxy))); err != nil {
			continue
		}
		p := &program{
			service: certs.KubeProxy, args: arguments{"--config=/var/lib/kube-proxy/config.conf"},
			files: resolver{inContainer: true}, place: placement{container: true, podUID: pod.Name()},
			component: inventory.Component{Service: certs.KubeProxy, Runtime: inventory.DaemonSet},
		}
		if p.place.isStatic() {
			continue
		}
		p.component.PodNamespace, p.component.PodName = d.podOf(pod.Name())
		return p
	}
	return nil
}

// podFile reads a file of a pod: from the volumes that the kubelet made for it, or from the
// same path on the host, since host directories are usually mounted at their own path.
func (d *discovery) podFile(uid, name string) (data []byte, host string, ok bool) {
	if name == "" {
		return nil, "", false
	}
	volumes := path.Join(podVolumes, uid, "volumes")
	for _, kind := range []string{"kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected"} {
		entries, err := d.root.ReadDir(path.Join(volumes, kind))
		if err != nil {
			continue
		}
		for _, e := range entries {
			host = path.Join(volumes, kind, e.Name(), path.Base(name))
			if data, err = d.root.ReadFile(host); err == nil {
				return data, host, true
			}
		}
	}
	data, err := d.root.ReadFile(name)
	return data, path.Clean(name), err == nil
}
