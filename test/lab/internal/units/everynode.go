package units

import (
	"encoding/base64"
	"fmt"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/pki"
)

// addKubelet adds a kubelet that is configured by a file, with a certificate as
// a server and one as a client, which it does not rotate.
func (n *nodeFiles) addKubelet() {
	const config, conf = "/etc/kubernetes/kubelet.yaml", "/etc/kubernetes/kubelet.kubeconfig"
	m := n.member
	cert, key := n.pair(sslDir+"/kubelet", pki.Request{
		Name: "system:node:" + m.Name, Organization: "system:nodes", Server: true, Algorithm: pki.RSA,
		Names: []string{m.Name}, IPs: []string{m.IP},
	})
	clientCert, clientKey := n.pair(sslDir+"/kubelet-client", pki.Request{
		Name: "system:node:" + m.Name, Organization: "system:nodes", Client: true, Algorithm: pki.ECDSA,
	})
	n.file(conf, n.referring("https://"+n.cluster.Config.Endpoint, clientCert, clientKey))
	text, err := n.cluster.Config.Kubelet(map[string]any{
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": sslDir + "/ca.pem"},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"clusterDNS":               []any{dnsIP},
		"clusterDomain":            "cluster.local",
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
		"tlsCertFile":              cert,
		"tlsPrivateKeyFile":        key,
		"rotateCertificates":       false,
	})
	n.fail(err)
	n.file(config, text)
	n.unit("kubelet", "containerd.service lab-cgroups.service", command("/usr/bin/kubelet",
		"--config="+config, "--kubeconfig="+conf, "--hostname-override="+m.Name, "--node-ip="+m.IP))
}

// addProxy adds a kube-proxy that is configured by a file, whose kubeconfig
// holds its certificate.
func (n *nodeFiles) addProxy() {
	const config, conf = proxyDir + "/config.yaml", proxyDir + "/kubeconfig"
	n.secret(conf, n.embedded("https://"+n.cluster.Config.Endpoint,
		n.issue(pki.Request{Name: "system:kube-proxy", Organization: "system:node-proxier", Client: true, Algorithm: pki.ECDSA})))
	text, err := n.cluster.Config.Proxy(map[string]any{
		"clientConnection": map[string]any{"kubeconfig": conf},
		"clusterCIDR":      n.cluster.Config.PodSubnet,
		"hostnameOverride": n.member.Name,
	})
	n.fail(err)
	n.file(config, text)
	n.unit("kube-proxy", "", command("/usr/bin/kube-proxy", "--config="+config))
}

// localServer is the API server of a control plane's own node.
func (n *nodeFiles) localServer() string { return fmt.Sprintf("https://%s:%d", n.member.IP, apiPort) }

// embedded is a kubeconfig that holds certificate and key.
func (n *nodeFiles) embedded(server string, pair pki.Pair) string {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	return kubeconfig(server, "certificate-authority-data: "+encode(n.cluster.trust),
		"client-certificate-data: "+encode(n.chain(pair)), "client-key-data: "+encode(n.keyPEM(pair)))
}

// referring is a kubeconfig that names the files of certificate and key.
func (n *nodeFiles) referring(server, cert, key string) string {
	return kubeconfig(server, "certificate-authority: "+sslDir+"/ca.pem", "client-certificate: "+cert, "client-key: "+key)
}

func kubeconfig(server, authority, cert, key string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: %s
    %s
users:
- name: user
  user:
    %s
    %s
contexts:
- name: lab
  context:
    cluster: lab
    user: user
current-context: lab
`, server, authority, cert, key)
}
