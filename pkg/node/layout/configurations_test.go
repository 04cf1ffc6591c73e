package layout

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

func apiServerUnit(n *layouttest.Node, flags ...string) {
	n.AddProcess(11, layouttest.UnitCgroup("kube-apiserver.service"), append([]string{"/usr/local/bin/kube-apiserver"}, flags...)...)
}

func TestDiscoverClientCertificatesOfConfigurationFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		flag  string
		files map[string]string
		want  []string
	}{
		"AuthorizationConfiguration": {"--authorization-config=/srv/authz.yaml", map[string]string{
			"/srv/authz.yaml": `kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- {type: Webhook, name: a, webhook: {connectionInfo: {type: KubeConfigFile, kubeConfigFile: /srv/a.kubeconfig}}}
- {type: Webhook, name: in, webhook: {connectionInfo: {type: InClusterConfig}}}
`, "/srv/a.kubeconfig": embeddedKubeconfig("authz"),
		}, []string{"kube-apiserver a.kubeconfig Kubeconfig /srv/a.kubeconfig #authz"}},
		"AuthorizationConfiguration in JSON": {"--authorization-config=/srv/authz.json", map[string]string{
			"/srv/authz.json":   `{"authorizers": [{"type": "Webhook", "webhook": {"connectionInfo": {"kubeConfigFile": "/srv/a.kubeconfig"}}}]}`,
			"/srv/a.kubeconfig": pointingKubeconfig("a.pem", "a.key"),
		}, []string{"kube-apiserver a.kubeconfig Pair /srv/a.pem /srv/a.key"}},
		"ImagePolicyWebhook, inline": {"--admission-control-config-file=/srv/adm.yaml", map[string]string{
			"/srv/adm.yaml":     "plugins:\n- name: ImagePolicyWebhook\n  configuration: {imagePolicy: {kubeConfigFile: /srv/i.kubeconfig, allowTTL: 50}}\n- {name: EventRateLimit, path: limits.yaml}\n",
			"/srv/limits.yaml":  "limits: []\n",
			"/srv/i.kubeconfig": embeddedKubeconfig("image"),
		}, []string{"kube-apiserver i.kubeconfig Kubeconfig /srv/i.kubeconfig #image"}},
		"ImagePolicyWebhook, by a relative path": {"--admission-control-config-file=/srv/adm.yaml", map[string]string{
			"/srv/adm.yaml":                 "plugins:\n- {name: ImagePolicyWebhook, path: plugins/image.json}\n",
			"/srv/plugins/image.json":       `{"imagePolicy": {"kubeConfigFile": "image.kubeconfig"}}`,
			"/srv/plugins/image.kubeconfig": embeddedKubeconfig("image"),
		}, []string{"kube-apiserver image.kubeconfig Kubeconfig /srv/plugins/image.kubeconfig #image"}},
		"ImagePolicyWebhook's own file": {"--admission-control-config-file=/srv/image.yaml", map[string]string{
			"/srv/image.yaml": "imagePolicy: {kubeConfigFile: /srv/i.kubeconfig}\n", "/srv/i.kubeconfig": embeddedKubeconfig("image"),
		}, []string{"kube-apiserver i.kubeconfig Kubeconfig /srv/i.kubeconfig #image"}},
		"admission webhooks: every user": {"--admission-control-config-file=/srv/adm.yaml", map[string]string{
			"/srv/adm.yaml": "plugins:\n- name: ValidatingAdmissionWebhook\n  configuration: {kind: WebhookAdmissionConfiguration, kubeConfigFile: /srv/w.kubeconfig}\n- name: MutatingAdmissionWebhook\n  configuration: {kind: WebhookAdmissionConfiguration, kubeConfigFile: /srv/w.kubeconfig}\n",
			"/srv/w.kubeconfig": `kind: Config
users:
- {name: a.example.com, user: {client-certificate: a.pem, client-key: a.key}}
- {name: '*.example.org', user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}
`,
		}, []string{"kube-apiserver w.kubeconfig Pair /srv/a.pem /srv/a.key", "kube-apiserver w.kubeconfig Kubeconfig /srv/w.kubeconfig #*.example.org"}},
		"EgressSelectorConfiguration": {"--egress-selector-config-file=/srv/egress.yaml", map[string]string{
			"/srv/egress.yaml": `egressSelections:
- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: "https://k:8131", tlsConfig: {caBundle: /srv/k-ca.pem, clientKey: /srv/k.key, clientCert: /srv/k.pem}}}}}
- {name: controlplane, connection: {proxyProtocol: Direct}}
- {name: etcd, connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: "https://k:8131", tlsConfig: {caBundle: /srv/k-ca.pem, clientKey: /srv/k.key, clientCert: /srv/k.pem}}}}}
`,
		}, []string{"kube-apiserver egress-client Pair /srv/k.pem /srv/k.key"}},
		"audit webhook": {"--audit-webhook-config-file=/srv/audit.conf", map[string]string{"/srv/audit.conf": embeddedKubeconfig("audit")},
			[]string{"kube-apiserver audit.conf Kubeconfig /srv/audit.conf #audit"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			apiServerUnit(n, tt.flag)
			for file, content := range tt.files {
				n.WriteFile(file, content)
			}
			l := DiscoverNode(n.Root, Options{})
			expectInspected(t, l)
			expectCertificates(t, l, tt.want...)
			for _, c := range l.Node.Certificates {
				if c.Client != nil {
					t.Errorf("%s: no server of the cluster verifies it, but %+v is named", c.Name, *c.Client)
				}
			}
		})
	}
}

// TestConfigurationFileThatNoMountExplains is taken from the host.
func TestConfigurationFileThatNoMountExplains(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddKubeadm("/etc/kubernetes/pki")
	kubeadmFiles(n)
	argv := append(layouttest.ControlPlaneArgs(certs.KubeAPIServer, "/etc/kubernetes/pki"), "--authorization-config=/srv/authz.yaml")
	n.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", layouttest.ManifestFor("kube-apiserver", argv, []string{"/etc/kubernetes/pki"}))
	n.WriteFile("/srv/authz.yaml", "authorizers: [{webhook: {connectionInfo: {kubeConfigFile: /srv/a.kubeconfig}}}]\n")
	n.WriteFile("/srv/a.kubeconfig", embeddedKubeconfig("authz"))
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	if got := findCertificate(t, l, "a.kubeconfig"); got.Store.User != "authz" {
		t.Errorf("%+v", got)
	}
}

func TestUnreadableConfigurationFileIsListed(t *testing.T) {
	n := layouttest.NewNode(t)
	apiServerUnit(n, "--authorization-config=/srv/authz.yaml", "--egress-selector-config-file=/srv/missing.yaml")
	n.WriteFile("/srv/authz.yaml", "{")
	l := DiscoverNode(n.Root, Options{})
	for _, file := range []string{"/srv/authz.yaml", "/srv/missing.yaml"} {
		if got := reasonOf(l, file); !strings.Contains(got, "read configuration") {
			t.Errorf("%s: %q", file, got)
		}
	}
}

func TestDiscoverServingPairsOfControllers(t *testing.T) {
	n := layouttest.NewNode(t)
	n.AddProcess(12, layouttest.UnitCgroup("kube-scheduler.service"), "kube-scheduler", "--cert-dir=/srv/s", "--bind-address=127.0.0.1",
		"--tls-sni-cert-key=/srv/sni.pem,/srv/sni.key:sched.example.com")
	n.WriteFile("/srv/s/kube-scheduler.crt", "")
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l, "kube-scheduler scheduler-sni Pair /srv/sni.pem /srv/sni.key", "kube-scheduler scheduler-server Pair /srv/s/kube-scheduler.crt /srv/s/kube-scheduler.key")
	if got := findCertificate(t, l, "scheduler-server"); got.Issuer.Kind != inventory.Throwaway || len(got.Served) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestHealthOfKubeProxyUnit(t *testing.T) {
	for flags, want := range map[string]string{
		"":                                     "http://127.0.0.1:10256/healthz",
		"--healthz-bind-address=0.0.0.0:10999": "http://127.0.0.1:10999/healthz",
		"--healthz-bind-address=10.0.0.1":      "http://10.0.0.1:10256/healthz",
		"--healthz-bind-address=":              "",
		"--healthz-port=0":                     "",
		"--healthz-bind-address=1.2.3.4 --healthz-port=7": "http://1.2.3.4:7/healthz",
		"--healthz-bind-address= --config=/srv/p.yaml":    "http://127.0.0.1:10333/healthz",
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/srv/p.yaml", "healthzBindAddress: 0.0.0.0:10333\n")
		n.AddProcess(14, layouttest.UnitCgroup("kube-proxy.service"), append([]string{"kube-proxy"}, strings.Fields(flags)...)...)
		if got := componentOf(n, certs.KubeProxy).Health; got != want {
			t.Errorf("%q: health %q, want %q", flags, got, want)
		}
	}
}
