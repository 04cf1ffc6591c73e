package kubeadm

import (
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

func TestMerge(t *testing.T) {
	tests := map[string]struct{ base, over, want string }{
		"maps key by key":          {"{a: 1, b: {c: 2, d: 3}}", "{b: {c: 4}}", "{a: 1, b: {c: 4, d: 3}}"},
		"null removes":             {"{a: 1, b: 2}", "{a: null}", "{b: 2}"},
		"plain lists are replaced": {"{a: [1, 2]}", "{a: [3]}", "{a: [3]}"},
		"named lists by name": {
			"{args: [{name: v, value: '1'}, {name: w, value: '2'}]}",
			"{args: [{name: v, value: '9'}, {name: x, value: '3'}]}",
			"{args: [{name: w, value: '2'}, {name: v, value: '9'}, {name: x, value: '3'}]}",
		},
		"a map over nothing":   {"{}", "{a: {b: 1}}", "{a: {b: 1}}"},
		"a scalar over a map":  {"{a: {b: 1}}", "{a: 2}", "{a: 2}"},
		"a new map over a map": {"{a: 1}", "{a: {b: null, c: 1}}", "{a: {c: 1}}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			base := parse(t, test.base)
			got := merge(base, parse(t, test.over))
			if want := any(parse(t, test.want)); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if again := parse(t, test.base); !reflect.DeepEqual(base, again) {
				t.Errorf("merge changed its base: %v, was %v", base, again)
			}
		})
	}
}

func TestParseOverridesRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"unknown kind":  {"kind: Pod\napiVersion: v1", `kind "Pod"`},
		"no kind":       {"a: 1", `kind ""`},
		"wrong version": {"kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta3", "use kubeadm.k8s.io/v1beta4"},
		"a kind twice": {
			"kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n---\nkind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1",
			"already",
		},
		"no YAML":         {"a: [", "document 1"},
		"a key two times": {"a: 1\na: 2", "document 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOverrides([]byte(test.text))
			if err == nil || !strings.Contains(hint.TextOf(err), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestWithoutKubeadmItsDocumentsAreRefused(t *testing.T) {
	if err := (Overrides{"KubeletConfiguration": document{}}).WithoutKubeadm(); err != nil {
		t.Error(err)
	}
	err := Overrides{"ClusterConfiguration": document{}}.WithoutKubeadm()
	if err == nil || !strings.Contains(err.Error(), "ClusterConfiguration") {
		t.Errorf("got %v, want an error that names it", err)
	}
}

func TestOverridesReachEveryDocument(t *testing.T) {
	overrides, err := ParseOverrides([]byte(`
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
certificatesDir: /opt/k8s/pki
networking: {dnsDomain: lab.example}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
serverTLSBootstrap: true
staticPodPath: /opt/k8s/manifests/
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {bindPort: 7443}
nodeRegistration: {name: ignored, kubeletExtraArgs: [{name: v, value: "4"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{Version: "v1", Endpoint: "api:6443", PodSubnet: "10.0.0.0/8", Overrides: overrides, CrashLoopMax: "1s"}
	init, err := c.Init(Member{Name: "cp1", IP: "10.10.0.11", ControlPlane: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"certificatesDir: /opt/k8s/pki", "dnsDomain: lab.example", "podSubnet: 10.0.0.0/8", "serverTLSBootstrap: true",
		"maxContainerRestartPeriod: 1s", "bindPort: 7443", "name: node-ip", "name: v", "name: cp1",
	} {
		if !strings.Contains(init, want) {
			t.Errorf("no %q in\n%s", want, init)
		}
	}
	join, err := c.Join(Member{Name: "cp2", IP: "10.10.0.12", ControlPlane: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bindPort: 7443", "name: v", "name: cp2", "advertiseAddress: 10.10.0.12", "caCertPath: /opt/k8s/pki/ca.crt"} {
		if !strings.Contains(join, want) {
			t.Errorf("no %q in\n%s", want, join)
		}
	}
	if got := c.StaticPodPath(); got != "/opt/k8s/manifests" {
		t.Errorf("StaticPodPath = %q", got)
	}
	if !c.ServesOwnCertificates() || !c.HasDNS() || c.BindPort() != 7443 {
		t.Errorf("ServesOwnCertificates, HasDNS, BindPort = %v, %v, %d", c.ServesOwnCertificates(), c.HasDNS(), c.BindPort())
	}
}

func TestCrashLoopBackOffIsLeftOut(t *testing.T) {
	init, err := Cluster{}.Init(Member{Name: "cp1"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(init, "rashLoopBackOff") {
		t.Errorf("a crash loop setting in\n%s", init)
	}
}

func TestKubeletRunsOnAHostWithSwap(t *testing.T) {
	init, err := Cluster{}.Init(Member{Name: "cp1"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(init, "failSwapOn: false") {
		t.Errorf("the kubelet refuses to run beside swap:\n%s", init)
	}
}

func parse(t *testing.T, text string) document {
	t.Helper()
	doc := document{}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestAnEtcdOutside(t *testing.T) {
	c := Cluster{EtcdEndpoints: []string{"https://10.10.0.31:2379"}}
	init, err := c.Init(Member{Name: "cp1", ControlPlane: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"external:", "- https://10.10.0.31:2379", "caFile: /etc/kubernetes/pki/etcd/ca.crt", "certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt"} {
		if !strings.Contains(init, want) {
			t.Errorf("no %q in\n%s", want, init)
		}
	}
	host, err := c.EtcdHost(Member{Name: "etcd1", IP: "10.10.0.31"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"serverCertSANs:", "peerCertSANs:", "- etcd1", "- 10.10.0.31"} {
		if !strings.Contains(host, want) {
			t.Errorf("no %q in\n%s", want, host)
		}
	}
	if strings.Contains(host, "external") {
		t.Errorf("an etcd host that has its etcd elsewhere:\n%s", host)
	}
}

func TestValidateRefusesASecondEtcd(t *testing.T) {
	for kind, endpoints := range map[string][]string{"external": nil, "local": {"https://10.10.0.31:2379"}} {
		overrides := Overrides{"ClusterConfiguration": document{"etcd": document{kind: document{}}}}
		if err := (Cluster{Overrides: overrides, EtcdEndpoints: endpoints}).Validate(); err == nil || !strings.Contains(err.Error(), "--etcd-hosts") {
			t.Errorf("etcd.%s: got %v, want an error with --etcd-hosts", kind, err)
		}
	}
}
