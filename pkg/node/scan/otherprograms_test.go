package scan

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestCertificatesOfOtherPrograms: pairs and kubeconfigs in directories of their own, that
// static pods and units name which are no components, are listed with their dates, and are no
// certificates to renew.
func TestCertificatesOfOtherPrograms(t *testing.T) {
	n := kubeadmNode(t)
	for _, path := range []string{"/etc/ccm/client", "/etc/konnectivity/server", "/etc/proxy/tls", "/etc/idle/idle"} {
		n.WritePair(t, path, n.CA.Leaf(t))
	}
	n.putFile(t, "/etc/ccm/kubeconfig", certstest.Kubeconfig(t, n.CA, "ccm", n.CA.Leaf(t, certstest.Name("ccm"))))
	addPod(n, "ccm", "containers: [{name: ccm, image: x, command: [/ccm, '--cert=/etc/ccm/client.crt', '--key=/etc/ccm/client.key', '--kubeconfig=/etc/ccm/kubeconfig', '--ca="+
		certstest.PKIDir+"/ca.crt', '--trust=/etc/konnectivity/server.crt'], volumeMounts: [{name: k, mountPath: /etc}]}]", "{name: k, hostPath: {path: /etc}}")
	addPod(n, "konnectivity", "containers: [{name: server, image: x, command: [/proxy-server, '--cluster-cert=/tls/server.crt', '--cluster-key=/tls/server.key'], volumeMounts: [{name: k, mountPath: /tls}]}]",
		"{name: k, hostPath: {path: /etc/konnectivity}}")
	n.Node.WriteFile("/etc/systemd/system/proxy.service", "[Service]\nExecStart=/usr/bin/proxy --tls-cert-file=/etc/proxy/tls.crt --tls-key-file=/etc/proxy/tls.key\n")
	n.AddProcess(700, layouttest.UnitCgroup("proxy.service"), "/usr/bin/proxy")
	n.Node.WriteFile("/etc/systemd/system/idle.service", "[Service]\nExecStart=/usr/bin/idle /etc/idle/idle.crt /etc/idle/idle.key\n")
	before := len(kubeadmNode(t).scanAt(t, certstest.Now).Certificates)

	got := n.scanAt(t, certstest.Now)
	want := []string{"Other /etc/ccm/client.crt", "Other /etc/ccm/kubeconfig", "Other /etc/konnectivity/server.crt", "Other /etc/proxy/tls.crt"}
	if have := listUnused(got); !slices.Equal(have, want) {
		t.Errorf("unused %q, want %q", have, want)
	}
	for _, u := range got.Unused {
		if u.Path == "/etc/konnectivity/server.crt" && !strings.Contains(u.Reason, "static pod konnectivity") {
			t.Errorf("%s: %s", u.Path, u.Reason)
		}
	}
	if len(got.Certificates) != before {
		t.Errorf("%d certificates to renew, want %d", len(got.Certificates), before)
	}
}
