package settings

import "github.com/rotate-certs/rotate-certs/pkg/certs"

var kubelet = []Setting{
	{Service: certs.Kubelet, Flag: "config", Names: Configuration, Note: "the fields of this table"},
	{Service: certs.Kubelet, Flag: "config-dir", Names: Configuration, Note: "drop-ins of the same"},
	{Service: certs.Kubelet, Flag: "kubeconfig", Names: Kubeconfig, Role: "kubelet-client", Verification: APIServer, Holders: "agents of the node"},
	{Service: certs.Kubelet, Flag: "bootstrap-kubeconfig", Names: Nothing,
		Note: "used once, for the first client certificate; listed as not in use afterwards"},
	{Service: certs.Kubelet, Flag: "cert-dir", Names: SelfMade, Role: "kubelet-server", Verification: Served,
		Note: "kubelet-client-current.pem, kubelet-server-current.pem, and kubelet.crt with kubelet.key, which it makes itself"},
	{Service: certs.Kubelet, Flag: "tls-cert-file", Field: "tlsCertFile", Names: Certificate, Key: "tls-private-key-file",
		Role: "kubelet-server", Verification: Served},
	{Service: certs.Kubelet, Flag: "tls-private-key-file", Field: "tlsPrivateKeyFile", Names: PrivateKey},
	{Service: certs.Kubelet, Flag: "client-ca-file", Field: "authentication.x509.clientCAFile", Names: CABundle},
	{Service: certs.Kubelet, Flag: "image-credential-provider-config", Names: Nothing, Note: "programs that fetch passwords of registries"},
	{Service: certs.Kubelet, Flag: "image-credential-provider-bin-dir", Names: Nothing, Note: "those programs"},
	{Service: certs.Kubelet, Flag: "root-dir", Names: Nothing, Note: "the volumes of pods"},
	{Service: certs.Kubelet, Flag: "volume-plugin-dir", Names: Nothing, Note: "programs of volumes"},
	{Service: certs.Kubelet, Flag: "lock-file", Names: Nothing, Note: "a lock"},
	{Service: certs.Kubelet, Flag: "tls-min-version", Names: Nothing, Note: "a version"},
	{Service: certs.Kubelet, Flag: "cloud-config", Names: Nothing, Note: "the cloud provider's own file, up to 1.33"},
}
