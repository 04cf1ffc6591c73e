package layout

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// rke2UnitFile is the unit file that RKE2 installs, as far as it matters.
func rke2UnitFile(role string, args ...string) string {
	return "[Service]\nType=notify\nKillMode=process\nExecStart=/usr/local/bin/rke2 " + strings.Join(append([]string{role}, args...), " ") + "\n"
}

// rke2Agent is a worker of RKE2, whose data are below dir.
func rke2Agent(n *layouttest.Node, unitFile, dir string) {
	const unit = "rke2-agent.service"
	if unitFile != "" {
		n.WriteFile("/usr/local/lib/systemd/system/"+unit, unitFile)
	}
	n.AddProcess(90, layouttest.UnitCgroup(unit), "/usr/local/bin/rke2 agent")
	n.AddProcess(100, layouttest.UnitCgroup(unit), "kubelet", "--kubeconfig="+dir+"/agent/kubelet.kubeconfig", "--pod-manifest-path="+dir+"/agent/pod-manifests",
		"--tls-cert-file="+dir+"/agent/serving-kubelet.crt", "--tls-private-key-file="+dir+"/agent/serving-kubelet.key")
	makeChild(n, 100, 90)
	n.WriteFile(dir+"/agent/kubelet.kubeconfig", pointingKubeconfig(dir+"/agent/client-kubelet.crt", dir+"/agent/client-kubelet.key"))
	n.WriteFile(dir+"/agent/pod-manifests/kube-proxy.yaml", layouttest.ManifestFor("kube-proxy", []string{"kube-proxy", "--kubeconfig=" + dir + "/agent/kubeproxy.kubeconfig"}, []string{dir + "/agent"}))
	n.WriteFile(dir+"/agent/kubeproxy.kubeconfig", pointingKubeconfig(dir+"/agent/client-kube-proxy.crt", dir+"/agent/client-kube-proxy.key"))
}

// TestCertificatesThatACommandOfRKE2Renews distinguishes those that the command can renew from
// the others, on a worker.
func TestCertificatesThatACommandOfRKE2Renews(t *testing.T) {
	const usual = "/var/lib/rancher/rke2"
	for name, tt := range map[string]struct {
		unitFile, dir string
		command       string // empty: it renews nothing
		reason        string
	}{
		"as it is installed":             {rke2UnitFile("agent"), usual, "/usr/local/bin/rke2 certificate rotate --data-dir=" + usual, ""},
		"with its data somewhere else":   {rke2UnitFile("agent", "--data-dir=/data/rke2/"), "/data/rke2", "/usr/local/bin/rke2 certificate rotate --data-dir=/data/rke2", ""},
		"with its data in another place": {rke2UnitFile("agent"), "/data/rke2", "", `"rke2 certificate rotate" does not renew this certificate`},
		"whose stop ends the pods":       {strings.Replace(rke2UnitFile("agent"), "KillMode=process", "", 1), usual, "", "set KillMode=process in the unit, as RKE2 installs it"},
		"whose unit file is not there":   {"", usual, "", "unit file was not found"},
		"behind a script":                {strings.Replace(rke2UnitFile("agent"), "/usr/local/bin/rke2 ", "/opt/start-it ", 1), usual, "", "the path of its command is unknown"},
		"with a blank in a path":         {rke2UnitFile("agent", `"--data-dir=/my data"`), "/my data", "", "has blanks"},
		"with a variable in a path":      {rke2UnitFile("agent", `"--data-dir=/my$$data"`), "/my$data", "", "has blanks or"},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			rke2Agent(n, tt.unitFile, tt.dir)
			l := DiscoverNode(n.Root, Options{})
			for name, part := range map[string]string{"kubelet-client": "kubelet", "kubelet-server": "kubelet", "kube-proxy.conf": "kube-proxy"} {
				c := findCertificate(t, l, name)
				want := inventory.Issuer{Kind: inventory.UnitCommand, Unit: "rke2-agent.service", Command: tt.command, Part: part, Backups: tt.dir + "/agent"}
				if tt.command == "" {
					want = inventory.Issuer{Kind: inventory.NoIssuer, Unit: c.Issuer.Unit}
				}
				if c.Issuer != want || (c.Reason == "") != (tt.reason == "") || !strings.Contains(c.Reason, tt.reason) {
					t.Errorf("%s: %+v %q; want %+v, %q", name, c.Issuer, c.Reason, want, tt.reason)
				}
			}
		})
	}
}

// TestServerOfK3sWithoutAKubeletIsRenewed: its unit is that of its other components, and its stop
// ends no pods.
func TestServerOfK3sWithoutAKubeletIsRenewed(t *testing.T) {
	const dir = "/var/lib/rancher/k3s"
	n := layouttest.NewNode(t)
	k3sServer(n, strings.Replace(k3sUnitFile, "KillMode=process\n", "", 1), dir)
	n.WriteFile("/etc/rancher/k3s/config.yaml", "disable-agent: true\ndisable-kube-proxy: true\n")
	for _, c := range DiscoverNode(n.Root, Options{}).Node.Certificates {
		want := inventory.Issuer{Kind: inventory.UnitCommand, Unit: "k3s.service", Part: c.Issuer.Part, Command: "/usr/local/bin/k3s certificate rotate --data-dir=" + dir, Backups: dir + "/server"}
		if c.Issuer != want || c.Issuer.Part == "" || c.Reason != "" {
			t.Errorf("%s: %+v %q, want %+v", c.Name, c.Issuer, c.Reason, want)
		}
	}
}

// TestCommandIsNamedWithoutItsUnit only for certificates that it renews.
func TestCommandIsNamedWithoutItsUnit(t *testing.T) {
	dist := distributionNamed("RKE2")
	for file, want := range map[string]string{
		"server/tls/client-admin.crt": `"rke2 certificate rotate" renews this certificate while the unit of RKE2 is stopped, but no running one was found: start rke2-server.service`,
		"server/tls/other.crt":        `"rke2 certificate rotate" does not renew this certificate: replace it by hand, then restart rke2-server.service`,
	} {
		c := &inventory.Certificate{Store: inventory.Store{Kind: inventory.Pair, Cert: dist.dir + "/" + file}}
		if got := leftTo(c, nil); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
