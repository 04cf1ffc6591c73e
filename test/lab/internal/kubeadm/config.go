// Package kubeadm writes the kubeadm configuration of a lab: what such a
// cluster needs on this kind of host, with a test's own wishes merged over it.
package kubeadm

import (
	"fmt"
	"path"
)

// Cluster is what the configuration of all nodes has in common.
type Cluster struct {
	Version         string // of Kubernetes, "v1.37.2"
	Endpoint        string // host:port of the API, a name that every node knows
	PodSubnet       string
	Token           string // bootstrap token
	CertificateKey  string // encrypts what a joining control plane downloads
	CrashLoopMax    string // longest pause between restarts; "" leaves the default
	CgroupV1        bool
	InUserNamespace bool     // the host withholds rights that the kubelet expects
	EtcdEndpoints   []string // of an etcd outside; none: etcd runs on the control planes
	EtcdClient      EtcdClient
	Overrides       Overrides
}

// EtcdClient names the files by which API servers are clients of an etcd
// outside; empty: those of kubeadm's guide.
type EtcdClient struct{ CA, Cert, Key string }

// Member is what differs between the nodes.
type Member struct {
	Name         string
	IP           string
	ControlPlane bool
}

// Init returns the configuration for `kubeadm init` on the first node.
func (c Cluster) Init(m Member) (string, error) {
	cluster := c.cluster()
	if len(c.EtcdEndpoints) > 0 {
		files := c.EtcdClient
		if files == (EtcdClient{}) {
			pki := c.CertificatesDir()
			files = EtcdClient{CA: pki + "/etcd/ca.crt", Cert: pki + "/apiserver-etcd-client.crt", Key: pki + "/apiserver-etcd-client.key"}
		}
		cluster["etcd"] = document{"external": document{
			"endpoints": c.EtcdEndpoints, "caFile": files.CA, "certFile": files.Cert, "keyFile": files.Key,
		}}
	}
	return encode(
		c.init(m),
		c.apply("ClusterConfiguration", cluster),
		c.kubelet(document{}),
		c.proxy(document{}),
	)
}

// Kubelet returns a configuration file for a kubelet that kubeadm does not
// configure: with what such a kubelet has to have.
func (c Cluster) Kubelet(own map[string]any) (string, error) { return encode(c.kubelet(own)) }

// Proxy is the same for kube-proxy.
func (c Cluster) Proxy(own map[string]any) (string, error) { return encode(c.proxy(own)) }

func (c Cluster) proxy(own document) document {
	return c.apply("KubeProxyConfiguration", merge(document{
		"mode": "iptables",
		// Zero: do not change the sysctls, which are read-only on a node.
		"conntrack": document{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}, own).(document))
}

// EtcdHost returns the configuration for the phases of "kubeadm init" that make
// the certificates of a host of an etcd outside the cluster.
func (c Cluster) EtcdHost(m Member) (string, error) {
	cluster, names := c.cluster(), []any{m.Name, m.IP}
	cluster["etcd"] = document{"local": document{"serverCertSANs": names, "peerCertSANs": names}}
	return encode(c.init(m), c.apply("ClusterConfiguration", cluster))
}

func (c Cluster) cluster() document {
	return document{
		"kubernetesVersion":    c.Version,
		"controlPlaneEndpoint": c.Endpoint,
		"networking":           document{"podSubnet": c.PodSubnet},
	}
}

// Join returns the configuration for `kubeadm join` on any other node.
func (c Cluster) Join(m Member) (string, error) {
	doc := document{
		"nodeRegistration": c.registration(m),
		// The kubelets are configured to find it in the directory of all
		// certificates, but joining ignores that.
		"caCertPath": path.Join(c.CertificatesDir(), "ca.crt"),
		"discovery": document{"bootstrapToken": document{
			"token":             c.Token,
			"apiServerEndpoint": c.Endpoint,
			// The nodes' network is inside the lab's network namespace.
			"unsafeSkipCAVerification": true,
		}},
	}
	if m.ControlPlane {
		doc["controlPlane"] = document{
			"localAPIEndpoint": c.localEndpoint(m),
			"certificateKey":   c.CertificateKey,
		}
	}
	return encode(c.apply("JoinConfiguration", doc))
}

// StaticPodPath is the kubelets' staticPodPath. kubeadm writes
// them to its own fixed directory whatever is configured here.
func (c Cluster) StaticPodPath() string {
	if dir, ok := c.kubelet(document{})["staticPodPath"].(string); ok {
		return path.Clean(dir)
	}
	return ManifestDir
}

// ManifestDir is where kubeadm writes the manifests of static pods.
const ManifestDir = "/etc/kubernetes/manifests"

// ServesOwnCertificates reports whether the kubelets request their serving
// certificates from the cluster, which then have to be approved.
func (c Cluster) ServesOwnCertificates() bool {
	bootstrap, _ := c.kubelet(document{})["serverTLSBootstrap"].(bool)
	return bootstrap
}

// BindPort is the port of the API servers.
func (c Cluster) BindPort() int {
	endpoint, _ := c.init(Member{})["localAPIEndpoint"].(document)
	switch port := endpoint["bindPort"].(type) {
	case int:
		return port
	case int64:
		return int(port)
	case float64:
		return int(port)
	}
	return 6443
}

// HasDNS reports whether kubeadm installs CoreDNS.
func (c Cluster) HasDNS() bool {
	dns, _ := c.Overrides["ClusterConfiguration"]["dns"].(document)
	disabled, _ := dns["disabled"].(bool)
	return !disabled
}

// CertificatesDir is where kubeadm keeps certificates and keys.
func (c Cluster) CertificatesDir() string {
	if dir, ok := c.Overrides["ClusterConfiguration"]["certificatesDir"].(string); ok {
		return dir
	}
	return "/etc/kubernetes/pki"
}

func (c Cluster) init(m Member) document {
	doc := c.apply("InitConfiguration", document{
		"bootstrapTokens":  []any{document{"token": c.Token, "ttl": "1h0m0s"}},
		"certificateKey":   c.CertificateKey,
		"localAPIEndpoint": document{"advertiseAddress": m.IP, "bindPort": 6443},
	})
	doc["nodeRegistration"] = c.registration(m)
	return doc
}

// localEndpoint gives a joining control plane the first one's port.
func (c Cluster) localEndpoint(m Member) document {
	return document{"advertiseAddress": m.IP, "bindPort": c.BindPort()}
}

// registration merges what an InitConfiguration says about its node into that
// of every node: a test means all of them.
func (c Cluster) registration(m Member) document {
	base := document{
		"name":      m.Name,
		"criSocket": "unix:///run/containerd/containerd.sock",
		// The checks require what a test machine does not need, disabled swap
		// and kernel modules among them.
		"ignorePreflightErrors": []any{"all"},
		"kubeletExtraArgs":      []any{document{"name": "node-ip", "value": m.IP}},
	}
	over, ok := c.Overrides["InitConfiguration"]["nodeRegistration"]
	if !ok {
		return base
	}
	merged := merge(base, over).(document)
	merged["name"] = m.Name
	return merged
}

func (c Cluster) kubelet(own document) document {
	gates := document{}
	doc := document{
		"cgroupDriver": "cgroupfs",
		"failSwapOn":   false,
		// The nodes share the host's disk: how full that is says nothing
		// about them.
		"imageGCHighThresholdPercent": 100,
		"evictionHard": document{
			"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%",
		},
		"featureGates": gates,
	}
	if c.CgroupV1 {
		doc["failCgroupV1"] = false
	}
	if c.InUserNamespace {
		gates["KubeletInUserNamespace"] = true
	}
	if c.CrashLoopMax != "" {
		gates["KubeletCrashLoopBackOffMax"] = true
		doc["crashLoopBackOff"] = document{"maxContainerRestartPeriod": c.CrashLoopMax}
	}
	return c.apply("KubeletConfiguration", merge(doc, own).(document))
}

// apply completes a document of the lab and merges the override of its kind.
func (c Cluster) apply(kind string, doc document) document {
	doc["apiVersion"], doc["kind"] = kinds[kind], kind
	if over, ok := c.Overrides[kind]; ok {
		return merge(doc, over).(document)
	}
	return doc
}

// Validate refuses what a lab cannot have.
func (c Cluster) Validate() error {
	etcd, _ := c.Overrides["ClusterConfiguration"]["etcd"].(document)
	if _, external := etcd["external"]; external {
		return fmt.Errorf("kubeadm configuration: a lab brings its external etcd itself, with --etcd-hosts")
	}
	if _, local := etcd["local"]; local && len(c.EtcdEndpoints) > 0 {
		return fmt.Errorf("kubeadm configuration: with --etcd-hosts no etcd runs on the control planes")
	}
	for _, key := range []string{"kubernetesVersion", "imageRepository", "controlPlaneEndpoint"} {
		if _, set := c.Overrides["ClusterConfiguration"][key]; set {
			return fmt.Errorf("kubeadm configuration: a lab decides about %s itself", key)
		}
	}
	return nil
}
