package settings

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

var controllerManager = slices.Concat(
	controllerRows(certs.KubeControllerManager, "controller-manager"),
	[]Setting{
		{Service: certs.KubeControllerManager, Flag: "service-account-private-key-file", Names: TokenKey},
		{Service: certs.KubeControllerManager, Flag: "root-ca-file", Names: CABundle},
		signerCertificate(""), signerKey(""),
		signerCertificate("kubelet-serving-"), signerKey("kubelet-serving-"),
		signerCertificate("kubelet-client-"), signerKey("kubelet-client-"),
		signerCertificate("kube-apiserver-client-"), signerKey("kube-apiserver-client-"),
		signerCertificate("legacy-unknown-"), signerKey("legacy-unknown-"),
		{Service: certs.KubeControllerManager, Flag: "cloud-config", Names: Nothing, Note: "the cloud provider's own file"},
		{Service: certs.KubeControllerManager, Flag: "flex-volume-plugin-dir", Names: Nothing, Note: "programs of volumes"},
		{Service: certs.KubeControllerManager, Flag: "leader-migration-config", Names: Nothing, Note: "names of controllers"},
	},
)

var scheduler = slices.Concat(
	[]Setting{{Service: certs.KubeScheduler, Flag: "config", Names: Configuration, Note: "clientConnection.kubeconfig takes precedence over --kubeconfig"}},
	controllerRows(certs.KubeScheduler, "scheduler"),
	[]Setting{{Service: certs.KubeScheduler, Flag: "write-config-to", Names: Nothing, Note: "it writes its configuration there and exits"}},
)

var proxy = []Setting{
	{Service: certs.KubeProxy, Flag: "config", Names: Configuration, Note: "clientConnection.kubeconfig"},
	{Service: certs.KubeProxy, Flag: "kubeconfig", Field: "clientConnection.kubeconfig", Names: Kubeconfig, Role: "kube-proxy.conf", Verification: APIServer},
	{Service: certs.KubeProxy, Flag: "master", Names: Nothing, Note: "an address"},
	{Service: certs.KubeProxy, Flag: "write-config-to", Names: Nothing, Note: "it writes its defaults there and exits"},
}

// controllerRows are the rows that the controller manager and the scheduler have in common.
// Both read their kubeconfigs once, at their start.
func controllerRows(s certs.Service, name string) []Setting {
	const watches = "it watches this pair" // dynamic content, Kubernetes 1.17
	return []Setting{
		{Service: s, Flag: "kubeconfig", Field: "clientConnection.kubeconfig", Names: Kubeconfig, Role: name + ".conf", Verification: APIServer},
		{Service: s, Flag: "authentication-kubeconfig", Names: Kubeconfig, Verification: APIServer},
		{Service: s, Flag: "authorization-kubeconfig", Names: Kubeconfig, Verification: APIServer},
		{Service: s, Flag: "tls-cert-file", Names: Certificate, Key: "tls-private-key-file", Role: name + "-server", Verification: Served, Reloads: watches},
		{Service: s, Flag: "tls-private-key-file", Names: PrivateKey},
		{Service: s, Flag: "tls-sni-cert-key", Names: SNIPairs, Role: name + "-sni", Verification: Served, Reloads: watches},
		{Service: s, Flag: "cert-dir", Names: SelfMade, Role: name + "-server", Verification: Served, Reloads: watches,
			Note: "kube-" + name + ".crt and .key, made at the first start; without this flag they are made in memory at each start"},
		{Service: s, Flag: "client-ca-file", Names: CABundle},
		{Service: s, Flag: "requestheader-client-ca-file", Names: CABundle},
		{Service: s, Flag: "tls-min-version", Names: Nothing, Note: "a version"},
		{Service: s, Flag: "master", Names: Nothing, Note: "an address"},
	}
}

func signerCertificate(name string) Setting {
	flag := "cluster-signing-" + name
	return Setting{Service: certs.KubeControllerManager, Flag: flag + "cert-file", Names: SigningCertificate, Key: flag + "key-file"}
}

func signerKey(name string) Setting {
	return Setting{Service: certs.KubeControllerManager, Flag: "cluster-signing-" + name + "key-file", Names: SigningKey}
}
