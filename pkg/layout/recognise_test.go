package layout

import (
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		name string
		argv []string
		want certs.Service
		args []string
	}{
		{"by its own name", []string{"/usr/bin/kubelet", "--v=2"}, certs.Kubelet, []string{"--v=2"}},
		{"multi-call binary", []string{"/hyperkube", "kube-apiserver", "--a=b"}, certs.KubeAPIServer, []string{"--a=b"}},
		{"hyperkube's short names", []string{"/hyperkube", "controller-manager", "--a"}, certs.KubeControllerManager, []string{"--a"}},
		{"behind an init", []string{"/sbin/tini", "/usr/local/bin/etcd", "--name=x"}, certs.Etcd, []string{"--name=x"}},
		{"in a shell's script", []string{"/bin/sh", "-c", "exec /usr/bin/kube-scheduler --a='b c' >>/log 2>&1"}, certs.KubeScheduler, []string{"--a=b c"}},
		{"a pager is none", []string{"less", "kubelet"}, "", nil},
		{"an editor is none", []string{"vi", "etcd"}, "", nil},
		{"a search is none", []string{"grep", "-r", "kubelet"}, "", nil},
		{"a longer name is none", []string{"/usr/bin/kubelet-wrapper-monitor", "--a"}, "", nil},
		{"admin is no program", []string{"admin", "--a"}, "", nil},
		{"nothing", nil, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := recognise(tt.argv)
			if ok != (tt.want != "") || r.service != tt.want || !slices.Equal(r.args, tt.args) {
				t.Errorf("recognise(%q) = %q %q, want %q %q", tt.argv, r.service, r.args, tt.want, tt.args)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const uid = "0a1b2c3d-0001-4002-8003-00000000000f"
	const underscored = "0a1b2c3d_0001_4002_8003_00000000000f"
	const hash = "00112233445566778899aabbccddeeff"
	for _, tt := range []struct {
		name, init, cgroup string
		want               placement
	}{
		{"unit, v2", "0::/init.scope", "0::/system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit, v1", "1:name=systemd:/init.scope\n2:cpu:/", "2:cpu:/\n1:name=systemd:/system.slice/etcd.service", placement{unit: "etcd.service"}},
		{"unit below a delegated group", "0::/init.scope", "0::/system.slice/rke2-server.service/supervisor", placement{unit: "rke2-server.service"}},
		{"unit of a node in a container", "0::/docker/" + id + "/init.scope", "0::/docker/" + id + "/kubelet.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit of a node in a pod", "0::/kubepods/burstable/pod" + uid + "/" + id + "/init.scope", "0::/kubepods/burstable/pod" + uid + "/" + id + "/system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit of a node in a unit", "0::/system.slice/nspawn@cp1.service/init.scope", "0::/system.slice/nspawn@cp1.service/system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit, seen from a pod's own namespace", "0::/../../../init.scope", "0::/../../../system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"static pod, systemd driver", "0::/init.scope", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice/cri-containerd-" + id + ".scope", placement{container: true, podUID: hash}},
		{"static pod, cgroupfs driver", "1:cpu:/", "1:cpu:/kubepods/burstable/pod" + hash + "/" + id, placement{container: true, podUID: hash}},
		{"guaranteed pod, systemd driver", "0::/init.scope", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + id + ".scope", placement{container: true, podUID: uid}},
		{"pod under a root of its own", "0::/lab/cp1/init.scope", "0::/lab/cp1/kubepods/besteffort/pod" + uid + "/" + id, placement{container: true, podUID: uid}},
		{"pod, seen from a sibling's namespace", "0::/../../../../init.scope", "0::/../../pod" + uid + "/" + id, placement{container: true, podUID: uid}},
		{"pod, v1 with systemd names", "1:cpu:/", "1:cpu:/system.slice/containerd.service/kubepods-besteffort-pod" + underscored + ".slice:cri-containerd:" + id, placement{container: true, podUID: uid}},
		{"plain docker", "0::/init.scope", "0::/system.slice/docker-" + id + ".scope", placement{container: true}},
		{"a login session", "0::/init.scope", "0::/user.slice/user-0.slice/session-1.scope", placement{}},
		{"unreadable", "", "", placement{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := place(cgroupPaths([]byte(tt.cgroup)), cgroupPaths([]byte(tt.init))); got != tt.want {
				t.Errorf("place = %+v, want %+v", got, tt.want)
			}
		})
	}
	if (placement{podUID: uid}).static() || !(placement{podUID: hash}).static() {
		t.Error("only a pod whose UID is a hash is static")
	}
}
