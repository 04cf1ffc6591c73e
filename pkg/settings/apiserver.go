package settings

import "github.com/rotate-certs/rotate-certs/pkg/certs"

const (
	// Serving pairs are dynamic content, Kubernetes 1.17
	// (k8s.io/apiserver/pkg/server/dynamiccertificates).
	apiServerWatches = "the API server watches this pair"
	// To etcd through etcd's transport package; to kubelets through client-go's reloading of
	// files; to aggregated API servers through dynamic proxy content, 1.20.
	apiServerNextConnection = "the API server reads this pair on its next connection"
)

var apiServer = []Setting{
	{Service: certs.KubeAPIServer, Flag: "client-ca-file", Names: CABundle},
	{Service: certs.KubeAPIServer, Flag: "requestheader-client-ca-file", Names: CABundle},
	{Service: certs.KubeAPIServer, Flag: "etcd-cafile", Names: CABundle},
	{Service: certs.KubeAPIServer, Flag: "kubelet-certificate-authority", Names: CABundle},
	{Service: certs.KubeAPIServer, Flag: "oidc-ca-file", Names: Nothing, Note: "CAs of the issuer of users' tokens, which are not the cluster's"},
	{Service: certs.KubeAPIServer, Flag: "peer-ca-file", Names: CABundle},
	{Service: certs.KubeAPIServer, Flag: "tls-cert-file", Names: Certificate, Key: "tls-private-key-file", Role: "apiserver",
		Verification: Served, Reloads: apiServerWatches, Holders: "konnectivity-server; etcd, where one pair serves both"},
	{Service: certs.KubeAPIServer, Flag: "tls-private-key-file", Names: PrivateKey,
		Note: "up to 1.30 also the key of ServiceAccount tokens, if no other is set"},
	{Service: certs.KubeAPIServer, Flag: "cert-dir", Names: SelfMade, Role: "apiserver", Verification: Served, Reloads: apiServerWatches,
		Note: "apiserver.crt and .key, made at the first start without --tls-cert-file"},
	{Service: certs.KubeAPIServer, Flag: "tls-sni-cert-key", Names: SNIPairs, Role: "apiserver-sni", Verification: Served, Reloads: apiServerWatches},
	{Service: certs.KubeAPIServer, Flag: "service-account-key-file", Names: TokenKey,
		Note: "repeated; a file holds public keys, private keys or certificates, of which only the key is used"},
	{Service: certs.KubeAPIServer, Flag: "service-account-signing-key-file", Names: TokenKey},
	{Service: certs.KubeAPIServer, Flag: "service-account-signing-endpoint", Names: Nothing, Note: "a socket: the keys are elsewhere"},
	{Service: certs.KubeAPIServer, Flag: "service-account-jwks-uri", Names: Nothing, Note: "a URL"},
	{Service: certs.KubeAPIServer, Flag: "etcd-certfile", Names: Certificate, Key: "etcd-keyfile", Role: "apiserver-etcd-client",
		Verification: EtcdMember, Reloads: apiServerNextConnection, Holders: "monitoring and CNI, as a copy"},
	{Service: certs.KubeAPIServer, Flag: "etcd-keyfile", Names: PrivateKey},
	{Service: certs.KubeAPIServer, Flag: "kubelet-client-certificate", Names: Certificate, Key: "kubelet-client-key", Role: "apiserver-kubelet-client",
		Verification: NodeKubelet, Reloads: apiServerNextConnection},
	{Service: certs.KubeAPIServer, Flag: "kubelet-client-key", Names: PrivateKey},
	{Service: certs.KubeAPIServer, Flag: "proxy-client-cert-file", Names: Certificate, Key: "proxy-client-key-file", Role: "front-proxy-client",
		Verification: FrontProxy, Reloads: apiServerNextConnection},
	{Service: certs.KubeAPIServer, Flag: "proxy-client-key-file", Names: PrivateKey},
	{Service: certs.KubeAPIServer, Flag: "authentication-token-webhook-config-file", Names: Kubeconfig, Verification: Health},
	{Service: certs.KubeAPIServer, Flag: "authorization-webhook-config-file", Names: Kubeconfig, Verification: Health},
	{Service: certs.KubeAPIServer, Flag: "audit-webhook-config-file", Names: Kubeconfig, Verification: Health},
	{Service: certs.KubeAPIServer, Flag: "authorization-config", Names: Configuration,
		Note: "authorizers[].webhook.connectionInfo.kubeConfigFile: kubeconfigs"},
	{Service: certs.KubeAPIServer, Flag: "admission-control-config-file", Names: Configuration,
		Note: "plugins[].configuration, or the file plugins[].path: kubeConfigFile of ImagePolicyWebhook and of the admission webhooks"},
	{Service: certs.KubeAPIServer, Flag: "egress-selector-config-file", Names: Configuration,
		Note: "egressSelections[].connection.transport.tcp.tlsConfig: clientCert, clientKey, caBundle"},
	{Service: certs.KubeAPIServer, Field: "authorizers[].webhook.connectionInfo.kubeConfigFile", Names: Kubeconfig, Verification: Health,
		Note: "in the file of --authorization-config"},
	{Service: certs.KubeAPIServer, Field: "imagePolicy.kubeConfigFile", Names: Kubeconfig, Verification: Health, Note: "in that of --admission-control-config-file"},
	{Service: certs.KubeAPIServer, Field: "WebhookAdmissionConfiguration.kubeConfigFile", Names: Kubeconfig, Verification: Health, Note: "likewise; every user in it"},
	{Service: certs.KubeAPIServer, Field: "egressSelections[].connection.transport.tcp.tlsConfig.clientCert", Names: Certificate, Key: "clientKey",
		Role: "egress-client", Verification: Health, Note: "in that of --egress-selector-config-file"},
	{Service: certs.KubeAPIServer, Flag: "authentication-config", Names: Nothing, Note: "CAs of issuers are in the file itself"},
	{Service: certs.KubeAPIServer, Flag: "tracing-config-file", Names: Nothing, Note: "an endpoint, without TLS files"},
	{Service: certs.KubeAPIServer, Flag: "encryption-provider-config", Names: Nothing, Note: "keys of data at rest, and sockets"},
	{Service: certs.KubeAPIServer, Flag: "audit-policy-file", Names: Nothing, Note: "rules"},
	{Service: certs.KubeAPIServer, Flag: "authorization-policy-file", Names: Nothing, Note: "rules"},
	{Service: certs.KubeAPIServer, Flag: "token-auth-file", Names: Nothing, Note: "static tokens"},
	{Service: certs.KubeAPIServer, Flag: "cloud-config", Names: Nothing, Note: "the cloud provider's own file"},
	{Service: certs.KubeAPIServer, Flag: "tls-min-version", Names: Nothing, Note: "a version"},
}
