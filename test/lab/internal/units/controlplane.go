package units

import (
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/pki"
)

// addCAs adds the keys of the issuing and the front-proxy CA, and those of
// ServiceAccount tokens. The root's key is on no node.
func (n *nodeFiles) addCAs() {
	c := n.cluster
	n.file(sslDir+"/issuing-ca.pem", pki.CertificatePEM(c.issuing.Certificate))
	n.secret(sslDir+"/issuing-ca-key.pem", n.keyPEM(c.issuing))
	n.file(sslDir+"/front-proxy-ca.pem", pki.CertificatePEM(c.frontProxy.Certificate))
	n.secret(sslDir+"/front-proxy-ca-key.pem", n.keyPEM(c.frontProxy))
	public, err := pki.PublicKeyPEM(c.accountKey.Key)
	n.fail(err)
	n.file(sslDir+"/sa.pub", public)
	n.secret(sslDir+"/sa-key.pem", n.keyPEM(c.accountKey))
}

// addEtcd adds a member whose settings are variables. It asks every client for
// a certificate, and has no other URL for metrics and health.
func (n *nodeFiles) addEtcd() {
	m := n.member
	names := pki.Request{Names: []string{m.Name, "localhost"}, IPs: []string{m.IP, "127.0.0.1"}, Server: true}
	server, peer := names, names
	server.Name, server.Algorithm = m.Name, pki.ECDSA
	peer.Name, peer.Algorithm, peer.Client = m.Name, pki.RSA, true
	n.pair(etcdDir+"/ssl/server", server)
	n.pair(etcdDir+"/ssl/peer", peer)
	n.file(etcdDir+"/ssl/ca.pem", n.cluster.trust)
	n.file(etcdDir+"/etcd.env", n.etcdVariables())
	n.unit("etcd", "", "Type=notify", "EnvironmentFile="+etcdDir+"/etcd.env", "ExecStart=/usr/bin/etcd")
}

func (n *nodeFiles) etcdVariables() string {
	var cluster []string
	for _, m := range n.cluster.controlPlanes() {
		cluster = append(cluster, fmt.Sprintf("%s=https://%s:2380", m.Name, m.IP))
	}
	return fmt.Sprintf(`ETCD_DATA_DIR=/var/lib/etcd
ETCD_NAME=%[1]s
ETCD_LISTEN_CLIENT_URLS=https://%[2]s:2379,https://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=https://%[2]s:2379
ETCD_LISTEN_PEER_URLS=https://%[2]s:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://%[2]s:2380
ETCD_INITIAL_CLUSTER=%[3]s
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_CERT_FILE=%[4]s/server.pem
ETCD_KEY_FILE=%[4]s/server-key.pem
ETCD_TRUSTED_CA_FILE=%[4]s/ca.pem
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=%[4]s/peer.pem
ETCD_PEER_KEY_FILE=%[4]s/peer-key.pem
ETCD_PEER_TRUSTED_CA_FILE=%[4]s/ca.pem
ETCD_PEER_CLIENT_CERT_AUTH=true
`, n.member.Name, n.member.IP, strings.Join(cluster, ","), etcdDir+"/ssl")
}

func (c *Cluster) controlPlanes() []kubeadm.Member {
	var members []kubeadm.Member
	for _, m := range c.Members {
		if m.ControlPlane {
			members = append(members, m)
		}
	}
	return members
}

// addAPIServer adds an API server that gets all its flags from a file.
func (n *nodeFiles) addAPIServer() {
	m := n.member
	endpoint, _, _ := strings.Cut(n.cluster.Config.Endpoint, ":")
	cert, key := n.pair(sslDir+"/apiserver", pki.Request{
		Name: "kube-apiserver", Server: true, Algorithm: pki.RSA,
		Names: []string{m.Name, endpoint, "localhost",
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPs: []string{m.IP, n.cluster.BalancerIP, apiIP, "127.0.0.1"},
	})
	etcdCert, etcdKey := n.pair(sslDir+"/apiserver-etcd-client", pki.Request{Name: "kube-apiserver-etcd-client", Client: true, Algorithm: pki.ECDSA})
	kubeletCert, kubeletKey := n.pair(sslDir+"/apiserver-kubelet-client", pki.Request{Name: kubeletClient, Client: true, Algorithm: pki.RSA})
	proxyClient := n.issueBy(n.cluster.frontProxy, pki.Request{Name: "front-proxy-client", Client: true, Algorithm: pki.ECDSA})
	if n.err == nil {
		n.file(sslDir+"/front-proxy-client.pem", pki.CertificatePEM(proxyClient.Certificate))
	}
	n.secret(sslDir+"/front-proxy-client-key.pem", n.keyPEM(proxyClient))
	var members []string
	for _, m := range n.cluster.controlPlanes() {
		members = append(members, "https://"+m.IP+":2379")
	}
	flags := []string{
		"--advertise-address=" + m.IP, fmt.Sprintf("--secure-port=%d", apiPort), "--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + services, "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + sslDir + "/sa.pub", "--service-account-signing-key-file=" + sslDir + "/sa-key.pem",
		"--client-ca-file=" + sslDir + "/ca.pem", "--tls-cert-file=" + cert, "--tls-private-key-file=" + key,
		"--etcd-servers=" + strings.Join(members, ","), "--etcd-cafile=" + etcdDir + "/ssl/ca.pem",
		"--etcd-certfile=" + etcdCert, "--etcd-keyfile=" + etcdKey,
		"--kubelet-certificate-authority=" + sslDir + "/ca.pem", "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--kubelet-client-certificate=" + kubeletCert, "--kubelet-client-key=" + kubeletKey,
		"--requestheader-client-ca-file=" + sslDir + "/front-proxy-ca.pem", "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + sslDir + "/front-proxy-client.pem", "--proxy-client-key-file=" + sslDir + "/front-proxy-client-key.pem",
	}
	n.file("/etc/kubernetes/apiserver", "KUBE_APISERVER_ARGS=\""+strings.Join(flags, " ")+"\"\n")
	n.unit("kube-apiserver", "etcd.service", "Type=notify",
		"EnvironmentFile=/etc/kubernetes/apiserver", "ExecStart=/usr/bin/kube-apiserver $KUBE_APISERVER_ARGS")
}

// kubeletClient is the name that API servers have before kubelets.
const kubeletClient = "kube-apiserver-kubelet-client"

// addControllerManager adds one whose kubeconfig holds its certificate.
func (n *nodeFiles) addControllerManager() {
	const conf = stateDir + "/kube-controller-manager.kubeconfig"
	n.secret(conf, n.embedded(n.localServer(), n.issue(pki.Request{Name: "system:kube-controller-manager", Client: true, Algorithm: pki.RSA})))
	n.unit("kube-controller-manager", "kube-apiserver.service", command("/usr/bin/kube-controller-manager",
		"--kubeconfig="+conf, "--authentication-kubeconfig="+conf, "--authorization-kubeconfig="+conf,
		"--cluster-signing-cert-file="+sslDir+"/issuing-ca.pem", "--cluster-signing-key-file="+sslDir+"/issuing-ca-key.pem",
		"--root-ca-file="+sslDir+"/ca.pem", "--service-account-private-key-file="+sslDir+"/sa-key.pem",
		"--use-service-account-credentials=true", "--allocate-node-cidrs=true",
		"--cluster-cidr="+n.cluster.Config.PodSubnet, "--service-cluster-ip-range="+services,
		"--feature-gates=ControllerManagerReleaseLeaderElectionLockOnExit=true"))
}

// addScheduler adds one that is configured by a file, whose kubeconfig names
// the files with its certificate.
func (n *nodeFiles) addScheduler() {
	const conf, config = stateDir + "/kube-scheduler.kubeconfig", stateDir + "/kube-scheduler.yaml"
	cert, key := n.pair(sslDir+"/kube-scheduler", pki.Request{Name: "system:kube-scheduler", Client: true, Algorithm: pki.ECDSA})
	n.file(conf, n.referring(n.localServer(), cert, key))
	n.file(config, fmt.Sprintf("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nclientConnection:\n  kubeconfig: %s\n", conf))
	n.unit("kube-scheduler", "kube-apiserver.service", command("/usr/bin/kube-scheduler", "--config="+config))
}

func (n *nodeFiles) addAdmin() {
	n.secret(AdminKubeconfig, n.embedded("https://"+n.cluster.Config.Endpoint,
		n.issue(pki.Request{Name: "admin", Organization: "system:masters", Client: true, Algorithm: pki.RSA})))
}
