package settings

import "github.com/rotate-certs/rotate-certs/pkg/certs"

const (
	// etcd loads a pair in tls.Config.GetCertificate and GetClientCertificate, so on every
	// handshake, since 3.2 (client/pkg/transport/listener.go). The trusted CA file is not
	// read again (etcd-io/etcd#11555).
	etcdHandshake = "etcd reads this pair on every handshake"
	// Only commands that name it load it: those of users and of probes.
	etcdProbe = "read again by every health check"
)

var etcd = []Setting{
	{Service: certs.Etcd, Flag: "config-file", Names: Configuration, Note: "with it, etcd ignores flags and variables"},
	{Service: certs.Etcd, Flag: "cert-file", Field: "client-transport-security.cert-file", Names: Certificate, Key: "key-file",
		Role: "etcd-server", Verification: Served, Reloads: etcdHandshake, Holders: "the API server, where one pair serves both"},
	{Service: certs.Etcd, Flag: "key-file", Field: "client-transport-security.key-file", Names: PrivateKey},
	{Service: certs.Etcd, Flag: "peer-cert-file", Field: "peer-transport-security.cert-file", Names: Certificate, Key: "peer-key-file",
		Role: "etcd-peer", Verification: ServedPeers, Reloads: etcdHandshake},
	{Service: certs.Etcd, Flag: "peer-key-file", Field: "peer-transport-security.key-file", Names: PrivateKey},
	{Service: certs.Etcd, Flag: "client-cert-file", Field: "client-transport-security.client-cert-file", Names: Certificate, Key: "client-key-file",
		Role: "etcd-client", Verification: EtcdMember},
	{Service: certs.Etcd, Flag: "client-key-file", Field: "client-transport-security.client-key-file", Names: PrivateKey},
	{Service: certs.Etcd, Flag: "peer-client-cert-file", Field: "peer-transport-security.client-cert-file", Names: Certificate, Key: "peer-client-key-file",
		Role: "etcd-peer-client", Verification: EtcdPeer},
	{Service: certs.Etcd, Flag: "peer-client-key-file", Field: "peer-transport-security.client-key-file", Names: PrivateKey},
	{Service: certs.Etcd, Role: "etcd-healthcheck-client", Field: "kubeadm's healthcheck-client.crt", Names: Certificate,
		Verification: EtcdMember, Reloads: etcdProbe, Holders: "users and probes that call etcdctl", Note: "no flag names it"},
	{Service: certs.Etcd, Flag: "trusted-ca-file", Field: "client-transport-security.trusted-ca-file", Names: CABundle},
	{Service: certs.Etcd, Flag: "peer-trusted-ca-file", Field: "peer-transport-security.trusted-ca-file", Names: CABundle},
	{Service: certs.Etcd, Flag: "auto-tls", Field: "client-transport-security.auto-tls", Names: SelfMade, Role: "etcd-server", Verification: Served,
		Reloads: etcdHandshake, Note: "DATA-DIR/fixtures/client, made if it is missing; not renewed, since etcd keeps it even after its expiry"},
	{Service: certs.Etcd, Flag: "peer-auto-tls", Field: "peer-transport-security.auto-tls", Names: SelfMade, Role: "etcd-peer", Verification: ServedPeers,
		Reloads: etcdHandshake, Note: "DATA-DIR/fixtures/peer, likewise"},
	{Service: certs.Etcd, Flag: "client-crl-file", Names: Nothing, Note: "a list of revoked certificates, signed by the CA"},
	{Service: certs.Etcd, Flag: "peer-crl-file", Names: Nothing, Note: "likewise"},
	{Service: certs.Etcd, Flag: "client-cert-allowed-hostname", Names: Nothing, Note: "names that clients' certificates must have"},
	{Service: certs.Etcd, Flag: "peer-cert-allowed-cn", Names: Nothing, Note: "likewise, of peers"},
	{Service: certs.Etcd, Flag: "peer-cert-allowed-hostname", Names: Nothing, Note: "likewise, of peers"},
	{Service: certs.Etcd, Flag: "discovery-cert", Names: Nothing, Note: "read once, when a new cluster is bootstrapped by a discovery service"},
	{Service: certs.Etcd, Flag: "discovery-key", Names: Nothing, Note: "likewise"},
	{Service: certs.Etcd, Flag: "discovery-cacert", Names: Nothing, Note: "likewise"},
	{Service: certs.Etcd, Flag: "auth-token", Field: "auth-token", Names: EtcdAuthKey,
		Note: "\"jwt,pub-key=…,priv-key=…\": the keys of the tokens of etcd's own users"},
	{Service: certs.Etcd, Flag: "tls-min-version", Names: Nothing, Note: "a version"},
	{Service: certs.Etcd, Flag: "tls-max-version", Names: Nothing, Note: "a version"},
}
