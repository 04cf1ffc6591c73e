package layout

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

func FuzzManifest(f *testing.F) {
	f.Add([]byte(oddManifest))
	f.Add([]byte(layouttest.ManifestFor("etcd", layouttest.ControlPlaneArgs(certs.Etcd, "/p"), layouttest.MountsOf(certs.Etcd, "/p"))))
	f.Add([]byte("kind: Pod\nspec: {containers: [{env: [{name: A, value: $(A)$$(B)}], args: [--a=$(A)]}]}"))
	f.Add([]byte("a: &a [*a, *a]\nkind: Pod\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseManifest(data)
		if err != nil {
			return
		}
		for i := range p.Spec.Containers {
			c := &p.Spec.Containers[i]
			found, env, ok := fromContainer(c)
			if !ok {
				continue
			}
			files := p.pathResolver(c, env)
			for _, a := range found.args {
				host, err := files.hostPath(a)
				if err == nil && !strings.HasPrefix(host, "/") {
					t.Errorf("host(%q) = %q, which is no absolute path", a, host)
				}
			}
		}
	})
}

func FuzzKubeletConfig(f *testing.F) {
	f.Add([]byte("staticPodPath: /m\nrotateCertificates: true\nhealthzPort: 0\n"), "--config=/c", "--port=1")
	f.Add([]byte(`{"tlsCertFile":"a","port":-1,"address":"::"}`), "--config-dir=/d", "--healthz-port=x")
	f.Add([]byte("port: 99999999999999999999"), "--cert-dir", "..")
	f.Fuzz(func(t *testing.T, data []byte, flag1, flag2 string) {
		n := layouttest.NewNode(t)
		n.WriteFile("/c", string(data))
		d := &discovery{root: n.Root, seen: map[string]int{}, configs: map[string]string{}}
		k := d.readKubelet(&program{service: certs.Kubelet, args: arguments{"--config=/c", flag1, flag2}})
		for _, p := range []string{k.certDir, k.manifests, k.criSocket} {
			if p != "" && !strings.HasPrefix(p, "/") {
				t.Errorf("%q is no absolute path", p)
			}
		}
	})
}

func FuzzUnitFile(f *testing.F) {
	f.Add("[Service]\nExecStart=-/usr/bin/etcd --name=%i \\\n  $A ${B}\nEnvironment=A='1 2' B=3\n", "A=\"x y\"\nB=z\\\nz\n")
	f.Add("[Service\nExecStart\n=\n\\", "=\nA='")
	f.Fuzz(func(t *testing.T, file, env string) {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/systemd/system/etcd@a.service", file+"\nEnvironmentFile=/e\n")
		n.WriteFile("/e", env)
		u, ok := loadUnit(n.Root, "etcd@a.service")
		if !ok {
			t.Fatal("a unit file that is there was not found")
		}
		for _, argv := range u.expandedCommands() {
			recognizeArgs(argv)
		}
	})
}

func FuzzCmdline(f *testing.F) {
	f.Add([]byte("kube-apiserver\x00--token=a\x00--x\x00y\x00"))
	f.Add([]byte("runuser\x00-c\x00pg_ctl start\x00postgres\x00"))
	f.Add([]byte("/bin/sh\x00-c\x00exec etcd --a='b"))
	f.Add([]byte("\x00\x00-\x00--\x00--=\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		argv := parseCmdline(data)
		r, ok := recognizeArgs(argv)
		if !ok {
			return
		}
		if !slices.Contains(certs.Services(), r.service) {
			t.Errorf("recognised %q, which is no service", r.service)
		}
		if shown := redactArgs(r.args); len(shown) != len(r.args) {
			t.Errorf("%d arguments became %d", len(r.args), len(shown))
		}
		_ = r.args.lastValue("token")
		_, _ = r.args.booleanFlag("x")
	})
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(embeddedKubeconfig("u")))
	f.Add([]byte(pointingKubeconfig("a", "b")))
	f.Add([]byte(`{"kind":"Config","clusters":[{"cluster":{"server":"::://"}}],"users":[{}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		k, err := ParseKubeconfig(data)
		if err != nil {
			return
		}
		if u := k.CurrentUser(); u != nil {
			_ = u.Cluster.HostPort()
		}
	})
}

func FuzzMountinfo(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("1 2 0:1 /a\\040b /c\\0401 - - -\n36 35\n")
	f.Add("a b c \\ \\9 \\777 - x")
	f.Add("0::/kubepods.slice/../../x\n1:name=systemd:/system.slice/etcd.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMountinfo(text) {
			if !path.IsAbs(m.root) || path.Clean(m.root) != m.root || !path.IsAbs(m.target) || path.Clean(m.target) != m.target {
				t.Errorf("%+v: a path that is not absolute, or leads upwards", m)
			}
		}
		paths := cgroupPaths([]byte(text))
		placeProcess(paths, paths)
	})
}
