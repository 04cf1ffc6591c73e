package layouttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// ProxyUID is the UID of kube-proxy's pod on a node that [Kubeadm] built.
const ProxyUID = "0a1b2c3d-0001-4002-8003-00000000000f"

// AddKubeadm adds the components of a kubeadm control-plane node, with certificates in pkiDir
// (kubeadm's certificatesDir): kubelet, four static pods and kube-proxy. The certificates
// themselves are not written; the keys of ServiceAccount tokens are.
func (n *Node) AddKubeadm(pkiDir string) {
	n.T.Helper()
	n.KubeadmWorker()
	n.serviceAccountKeys(pkiDir)
	for i, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		argv := ControlPlaneArgs(certs.Service(name), pkiDir)
		n.WriteFile("/etc/kubernetes/manifests/"+name+".yaml", ManifestFor(name, argv, MountsOf(certs.Service(name), pkiDir)))
		n.AddProcess(400+i, StaticPodCgroup(string(rune('a'+i))), argv...)
	}
}

// serviceAccountKeys writes sa.key and sa.pub.
func (n *Node) serviceAccountKeys(pkiDir string) {
	n.T.Helper()
	key, err := certs.NewKeyLike(&ecdsa.PublicKey{Curve: elliptic.P256()}, "")
	n.check(err)
	private, err := key.PEM()
	n.check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Signer.Public())
	n.check(err)
	n.WriteFile(pkiDir+"/sa.key", string(private))
	n.WriteFile(pkiDir+"/sa.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
}

// KubeadmWorker adds a kubelet and kube-proxy as kubeadm sets them up.
func (n *Node) KubeadmWorker() {
	n.T.Helper()
	n.WriteFile("/var/lib/kubelet/config.yaml", `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
healthzBindAddress: 127.0.0.1
healthzPort: 10248
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
`)
	n.WriteFile("/usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n")
	n.LinkFile("/etc/systemd/system/multi-user.target.wants/kubelet.service", "/usr/lib/systemd/system/kubelet.service")
	n.WriteFile("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`)
	n.AddProcess(300, UnitCgroup("kubelet.service"), "/usr/bin/kubelet",
		"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf", "--kubeconfig=/etc/kubernetes/kubelet.conf",
		"--config=/var/lib/kubelet/config.yaml")
	n.AddProcess(500, PodCgroup(ProxyUID), "/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=node-1")
	n.WriteFile("/var/log/pods/kube-system_kube-proxy-abcde_"+ProxyUID+"/kube-proxy/0.log", "")
	n.WriteFile("/var/lib/kubelet/pods/"+ProxyUID+"/containers/kube-proxy/a1b2c3d4", "")
	volume := "/var/lib/kubelet/pods/" + ProxyUID + "/volumes/kubernetes.io~configmap/kube-proxy/"
	n.WriteFile(volume+"config.conf", "kind: KubeProxyConfiguration\nclientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}\n")
	n.WriteFile(volume+"kubeconfig.conf", `kind: Config
clusters: [{name: default, cluster: {server: "https://10.0.0.10:6443", certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
users: [{name: default, user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}}]
`)
}

// ControlPlaneArgs is the command line that kubeadm gives a component.
func ControlPlaneArgs(s certs.Service, pki string) []string {
	return map[certs.Service][]string{
		certs.Etcd: {
			"etcd", "--cert-file=" + pki + "/etcd/server.crt", "--key-file=" + pki + "/etcd/server.key",
			"--trusted-ca-file=" + pki + "/etcd/ca.crt", "--client-cert-auth=true",
			"--peer-cert-file=" + pki + "/etcd/peer.crt", "--peer-key-file=" + pki + "/etcd/peer.key",
			"--peer-trusted-ca-file=" + pki + "/etcd/ca.crt", "--peer-client-cert-auth=true",
			"--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379",
			"--listen-peer-urls=https://10.0.0.11:2380", "--listen-metrics-urls=http://127.0.0.1:2381",
		},
		certs.KubeAPIServer: {
			"kube-apiserver", "--advertise-address=10.0.0.11", "--secure-port=6443",
			"--client-ca-file=" + pki + "/ca.crt", "--etcd-servers=https://127.0.0.1:2379",
			"--etcd-cafile=" + pki + "/etcd/ca.crt", "--etcd-certfile=" + pki + "/apiserver-etcd-client.crt",
			"--etcd-keyfile=" + pki + "/apiserver-etcd-client.key",
			"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt",
			"--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
			"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt",
			"--proxy-client-key-file=" + pki + "/front-proxy-client.key",
			"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + pki + "/sa.pub", "--service-account-signing-key-file=" + pki + "/sa.key",
			"--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		},
		certs.KubeControllerManager: {
			"kube-controller-manager", "--bind-address=127.0.0.1", "--kubeconfig=/etc/kubernetes/controller-manager.conf",
			"--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
			"--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
			"--cluster-signing-cert-file=" + pki + "/ca.crt", "--cluster-signing-key-file=" + pki + "/ca.key",
			"--root-ca-file=" + pki + "/ca.crt", "--client-ca-file=" + pki + "/ca.crt",
			"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
			"--service-account-private-key-file=" + pki + "/sa.key",
		},
		certs.KubeScheduler: {
			"kube-scheduler", "--bind-address=127.0.0.1", "--kubeconfig=/etc/kubernetes/scheduler.conf",
			"--authentication-kubeconfig=/etc/kubernetes/scheduler.conf", "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
		},
	}[s]
}

// MountsOf are the host paths that kubeadm mounts into a component, under their own
// names.
func MountsOf(s certs.Service, pki string) []string {
	switch s {
	case certs.Etcd:
		return []string{pki + "/etcd", "/var/lib/etcd"}
	case certs.KubeControllerManager:
		return []string{pki, "/etc/kubernetes/controller-manager.conf"}
	case certs.KubeScheduler:
		return []string{"/etc/kubernetes/scheduler.conf"}
	default:
		return []string{pki}
	}
}

// ManifestFor is a static pod with one container, on the host's network.
func ManifestFor(name string, command, mounts []string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: kube-system\nspec:\n  hostNetwork: true\n  containers:\n  - name: " + name + "\n    image: registry.k8s.io/" + name + ":v1\n    command:\n")
	for _, c := range command {
		b.WriteString("    - '" + c + "'\n")
	}
	b.WriteString("    volumeMounts:\n")
	for _, m := range mounts {
		b.WriteString("    - {name: '" + m + "', mountPath: '" + m + "', readOnly: true}\n")
	}
	b.WriteString("  volumes:\n")
	for _, m := range mounts {
		b.WriteString("  - {name: '" + m + "', hostPath: {path: '" + m + "'}}\n")
	}
	return b.String()
}
