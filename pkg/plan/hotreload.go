package plan

import (
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// hotReload lists the pairs that their component re-reads from disk, so that
// --restart=if-needed can leave it running. Open connections keep the old certificate
// until they are closed.
var hotReload = []struct {
	service certs.Service
	names   []string
	why     string
}{
	// etcd loads the pair in tls.Config.GetCertificate and GetClientCertificate, so
	// on every handshake, since 3.2 (client/pkg/transport/listener.go). The trusted CA
	// file is not re-read (etcd-io/etcd#11555).
	{certs.Etcd, []string{"etcd-server", "etcd-peer"}, "etcd reads this pair on every handshake"},
	// Nothing but the person or probe that names it on a command line loads it.
	{certs.Etcd, []string{"etcd-healthcheck-client"}, "read anew by every health check"},
	// Serving pair: dynamic serving content, Kubernetes 1.17. Client pairs:
	// to etcd through etcd's transport package; to kubelets and aggregated API servers
	// through client-go's certificate reloading and dynamic proxy content, 1.20.
	{certs.KubeAPIServer, []string{"apiserver"}, "the API server watches this pair"},
	{certs.KubeAPIServer, []string{"apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client"},
		"the API server reads this pair on its next connection"},
}

// HotReload says why a component need not be restarted to let go of a certificate;
// empty: it must be.
func HotReload(c inventory.Certificate) string {
	if len(c.UsedBy) > 1 {
		return "" // shared: not every user is known to re-read it
	}
	if c.FileMount {
		return "" // there is nothing new to be read in its container
	}
	for _, h := range hotReload {
		if h.service == c.Service && slices.Contains(h.names, c.Name) {
			return h.why
		}
	}
	if c.Service == certs.Admin {
		return "nothing runs on it"
	}
	return ""
}

// loaded says whether a component loads the certificate. Health checks of etcd read theirs
// from disk each time.
func loaded(c inventory.Certificate) bool {
	return c.Name != "etcd-healthcheck-client" || len(c.UsedBy) > 1
}
