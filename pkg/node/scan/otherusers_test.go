package scan

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// usersOf returns a certificate's other users: "StaticPod kube-vip/vip", "Systemd x.service",
// with "!" if a rotation cannot restart them.
func usersOf(c inventory.Certificate) string {
	var out []string
	for _, u := range c.OtherUsers {
		text := string(u.Kind) + " " + u.Name
		if u.ContainerName != "" {
			text += "/" + u.ContainerName
		}
		if !u.Restartable {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// addPod is the manifest of a static pod that is no component.
func addPod(n *node, name, containers, volumes string) {
	n.Node.WriteFile("/etc/kubernetes/manifests/"+name+".yaml",
		"kind: Pod\nmetadata: {name: "+name+", namespace: kube-system}\nspec: {hostNetwork: true, "+containers+", volumes: ["+volumes+"]}\n")
}

func TestOtherUsersOfAFile(t *testing.T) {
	const (
		admin = "/etc/kubernetes/admin.conf"
		all   = "{name: k, hostPath: {path: /etc/kubernetes}}"
		mount = "volumeMounts: [{name: k, mountPath: /etc/kubernetes}]"
	)
	for name, tt := range map[string]struct {
		build func(n *node)
		name  string // of the certificate
		want  string
	}{
		"a pod that mounts the file": {func(n *node) {
			addPod(n, "kube-vip", "containers: [{name: vip, image: x, args: [manager], volumeMounts: [{name: k, mountPath: /kubeconfig}]}]", "{name: k, hostPath: {path: "+admin+", type: File}}")
		}, "admin.conf", "StaticPod kube-vip/vip"},
		"a pod that mounts the directory and names the file": {func(n *node) {
			addPod(n, "vip", "containers: [{name: vip, image: x, args: ['--config='], env: [{name: KUBECONFIG, value: /host/admin.conf}], volumeMounts: [{name: k, mountPath: /host}]}]", all)
		}, "admin.conf", "StaticPod vip/vip"},
		"a pod that mounts the directory only": {func(n *node) {
			addPod(n, "logs", "containers: [{name: logs, image: x, args: [run], "+mount+"}]", all)
		}, "admin.conf", ""},
		"a pod whose flag names the key": {func(n *node) {
			addPod(n, "konnectivity", "containers: [{name: server, image: x, command: [/proxy-server, '--cluster-cert="+certstest.PKIDir+"/apiserver.crt', '--cluster-key="+certstest.PKIDir+"/apiserver.key'], "+mount+"}]", all)
		}, "apiserver", "StaticPod konnectivity/server"},
		"a pod whose configuration names the file": {func(n *node) {
			n.Node.WriteFile("/etc/haproxy/haproxy.cfg", "listen x\n  bind *:8443 ssl crt "+certstest.PKIDir+"/apiserver.crt key "+certstest.PKIDir+"/apiserver.key\n")
			addPod(n, "haproxy", "containers: [{name: haproxy, image: x, args: [-f, /etc/haproxy/haproxy.cfg], volumeMounts: [{name: k, mountPath: /etc/kubernetes}, {name: h, mountPath: /etc/haproxy}]}]", all+", {name: h, hostPath: {path: /etc/haproxy}}")
		}, "apiserver", "StaticPod haproxy/haproxy"},
		"a container that runs before the others": {func(n *node) {
			addPod(n, "vip", "initContainers: [{name: wait, image: x, args: ['--kubeconfig="+admin+"'], "+mount+"}], containers: [{name: vip, image: x}]", all)
		}, "admin.conf", "StaticPod vip/wait!"},
		"a container beside them": {func(n *node) {
			addPod(n, "vip", "initContainers: [{name: side, restartPolicy: Always, image: x, args: ['--kubeconfig="+admin+"'], "+mount+"}], containers: [{name: vip, image: x}]", all)
		}, "admin.conf", "StaticPod vip/side"},
		"a unit that runs": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nEnvironmentFile=/etc/default/exporter\nExecStart=/usr/bin/exporter $ARGS\n")
			n.Node.WriteFile("/etc/default/exporter", "ARGS=--kubeconfig="+admin+"\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a unit that is enabled and does not run": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nExecStart=/usr/bin/exporter --kubeconfig "+admin+"\n")
			n.LinkFile("/etc/systemd/system/multi-user.target.wants/exporter.service", "/etc/systemd/system/exporter.service")
		}, "admin.conf", "Systemd exporter.service!"},
		"a unit that a timer starts": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/backup.service", "[Service]\nExecStart=/usr/bin/backup --kubeconfig "+admin+"\n")
		}, "admin.conf", ""},
		"a unit of a package, by its configuration": {func(n *node) {
			n.Node.WriteFile("/usr/lib/systemd/system/haproxy.service", "[Service]\nExecStart=/usr/sbin/haproxy -f /etc/haproxy/haproxy.cfg\n")
			n.Node.WriteFile("/etc/haproxy/haproxy.cfg", "listen x\n  bind *:8443 ssl crt "+certstest.PKIDir+"/apiserver.crt\n")
			n.AddProcess(700, layouttest.UnitCgroup("haproxy.service"), "/usr/sbin/haproxy")
		}, "apiserver", "Systemd haproxy.service"},
		"a container runtime": {func(n *node) {
			n.Node.WriteFile("/usr/lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/bin/dockerd --tlsverify --tlscert="+certstest.PKIDir+"/apiserver.crt --tlskey="+certstest.PKIDir+"/apiserver.key\n")
			n.AddProcess(700, layouttest.UnitCgroup("docker.service"), "/usr/bin/dockerd")
		}, "apiserver", "Systemd docker.service!"},
		"a unit of a package that does not run": {func(n *node) {
			n.Node.WriteFile("/usr/lib/systemd/system/telegraf.service", "[Service]\nExecStart=/usr/bin/telegraf --kubeconfig="+admin+"\n")
		}, "admin.conf", ""},
		"a unit that copies it before its start": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nExecStartPre=+/usr/bin/install -o exporter "+admin+" /run/exporter\nExecStart=/usr/bin/exporter\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a unit that names it from its working directory": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nWorkingDirectory=/etc/kubernetes\nExecStart=/usr/bin/exporter --kubeconfig=admin.conf\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a unit that is given it as a credential": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nLoadCredential=kubeconfig:"+admin+"\nExecStart=/usr/bin/exporter\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a unit into which it is mounted": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nBindReadOnlyPaths=-"+admin+":/run/exporter/config:rbind /usr\nExecStart=/usr/bin/exporter\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a unit that names it below a mounted directory": {func(n *node) {
			n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nBindPaths=/etc/kubernetes:/run/exporter\nExecStart=/usr/bin/exporter /run/exporter/admin.conf\n")
			n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
		}, "admin.conf", "Systemd exporter.service"},
		"a pod that names it from its working directory": {func(n *node) {
			addPod(n, "vip", "containers: [{name: vip, image: x, workingDir: /host, args: ['--config', admin.conf], volumeMounts: [{name: k, mountPath: /host}]}]", all)
		}, "admin.conf", "StaticPod vip/vip"},
		"a pod whose configuration names it from its own directory": {func(n *node) {
			n.Node.WriteFile("/etc/kubernetes/vip.yaml", "kubeconfig: ./admin.conf\n")
			addPod(n, "vip", "containers: [{name: vip, image: x, args: ['--config=/host/vip.yaml'], volumeMounts: [{name: k, mountPath: /host}]}]", all)
		}, "admin.conf", "StaticPod vip/vip"},
		"a pod whose image may have such a file": {func(n *node) {
			addPod(n, "vip", "containers: [{name: vip, image: x, args: ['--config=admin.conf'], volumeMounts: [{name: k, mountPath: /}]}]", all)
		}, "admin.conf", ""},
		"a hard link": {func(n *node) {
			if err := os.Link(n.Tree.Local(certstest.PKIDir+"/apiserver.key"), n.Tree.Local(certstest.PKIDir+"/lb.key")); err != nil {
				t.Fatal(err)
			}
		}, "apiserver", "HardLink " + certstest.PKIDir + "/lb.key!"},
		"a hard link from elsewhere": {func(n *node) {
			if err := os.Link(n.Tree.Local(admin), n.Tree.Local("/root-admin.conf")); err != nil {
				t.Fatal(err)
			}
		}, "admin.conf", "HardLink another name of " + admin + "!"},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			tt.build(n)
			got := n.scanAt(t, certstest.Now)
			if have := usersOf(certificateNamed(t, got, tt.name)); have != tt.want {
				t.Errorf("other users %q, want %q", have, tt.want)
			}
			for _, c := range got.Certificates {
				if c.Name != tt.name && len(c.OtherUsers) > 0 {
					t.Errorf("%s: other users %q", c.Name, usersOf(c))
				}
			}
		})
	}
}

// TestKubeconfigOfAStaticPodIsRenewed: the kubeconfig of a static pod is a certificate, with a
// name that no component's kubeconfig has.
func TestKubeconfigOfAStaticPodIsRenewed(t *testing.T) {
	n := kubeadmNode(t)
	const conf = "/etc/kubernetes/konnectivity-server.conf"
	n.putFile(t, conf, certstest.Kubeconfig(t, n.CA, "system:konnectivity-server", n.CA.Leaf(t, certstest.Name("system:konnectivity-server"))))
	n.WritePair(t, certstest.PKIDir+"/tunnel", n.CA.Leaf(t))
	addPod(n, "konnectivity", "containers: [{name: server, image: x, args: ['--kubeconfig="+conf+"', '--server-cert="+certstest.PKIDir+"/tunnel.crt'], volumeMounts: [{name: k, mountPath: /etc/kubernetes}]}]",
		"{name: k, hostPath: {path: /etc/kubernetes}}")
	got := n.scanAt(t, certstest.Now)
	for _, name := range []string{"konnectivity-server.conf", "tunnel.crt"} {
		c := certificateNamed(t, got, name)
		if c.Service != certs.Admin || c.Issuer.Kind != inventory.LocalCA || usersOf(c) != "StaticPod konnectivity/server" {
			t.Errorf("%s: %s, %s, other users %q", name, c.Service, c.Issuer.Kind, usersOf(c))
		}
	}
	if have := listUnused(got); slices.ContainsFunc(have, func(u string) bool { return strings.Contains(u, "konnectivity") || strings.Contains(u, "tunnel") }) {
		t.Errorf("unused: %q", have)
	}
}

// TestGraceOfAUnit: a unit that may take five minutes to exit is waited for as long.
func TestGraceOfAUnit(t *testing.T) {
	n := kubeadmNode(t)
	n.Node.WriteFile("/etc/systemd/system/exporter.service", "[Service]\nExecStart=/usr/bin/exporter /etc/kubernetes/admin.conf\nTimeoutStopSec=5min\n")
	n.AddProcess(700, layouttest.UnitCgroup("exporter.service"), "/usr/bin/exporter")
	if u := certificateNamed(t, n.scanAt(t, certstest.Now), "admin.conf").OtherUsers; len(u) != 1 || u[0].GraceSeconds != 300 {
		t.Errorf("%+v", u)
	}
}

// TestDirectoryMountWithoutAFile: a pod that mounts a directory and names none of its files
// may use all of them. One that names a file there does not use the others.
func TestDirectoryMountWithoutAFile(t *testing.T) {
	n := kubeadmNode(t)
	const all, mount = "{name: k, hostPath: {path: /etc/kubernetes}}", "volumeMounts: [{name: k, mountPath: /etc/kubernetes}]"
	addPod(n, "logs", "containers: [{name: logs, image: x, args: [run], "+mount+"}]", all)
	addPod(n, "vip", "containers: [{name: vip, image: x, args: ['--config=/etc/kubernetes/super-admin.conf'], "+mount+"}]", all)
	got := n.scanAt(t, certstest.Now)
	for name, want := range map[string][]string{"admin.conf": {"logs"}, "apiserver": {"logs"}, "super-admin.conf": {"logs"}, "kubelet-client": nil} {
		if c := certificateNamed(t, got, name); !slices.Equal(c.MayUse, want) || name == "apiserver" && len(c.OtherUsers) > 0 {
			t.Errorf("%s: may use %q, want %q; other users %q", name, c.MayUse, want, usersOf(c))
		}
	}
}
