package layout

import (
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestRecognizeArgs(t *testing.T) {
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
		{"behind Kubernetes' own wrapper", []string{"/go-runner", "--log-file=/var/log/kube-apiserver.log", "--also-stdout", "/usr/local/bin/kube-apiserver", "--a"}, certs.KubeAPIServer, []string{"--a"}},
		{"behind it, a log file as the next word", []string{"/go-runner", "-log-file", "/var/log/etcd", "/usr/local/bin/kube-scheduler", "--a"}, certs.KubeScheduler, []string{"--a"}},
		{"behind its newer name", []string{"/kube-log-runner", "-flush-interval", "5s", "kube-proxy", "--a"}, certs.KubeProxy, []string{"--a"}},
		{"behind an init with options", []string{"/usr/bin/dumb-init", "--rewrite", "15:3", "--", "/usr/bin/etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"behind wrappers in wrappers", []string{"nice", "-n", "-10", "ionice", "-c", "2", "numactl", "--cpunodebind=0", "-m", "0", "taskset", "-c", "0-3", "chrt", "-f", "10", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"behind env", []string{"env", "-i", "-u", "kubelet", "A=kube-proxy", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"as another user", []string{"/sbin/su-exec", "etcd", "/usr/local/bin/etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"with a limit of time", []string{"timeout", "-s", "KILL", "30", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"in a scope of its own", []string{"systemd-run", "--scope", "-p", "CPUQuota=50%", "--unit", "etcd", "--", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"in a shell with other options", []string{"/bin/sh", "-ec", "exec kube-apiserver --a"}, certs.KubeAPIServer, []string{"--a"}},
		{"in a shell behind an init", []string{"tini", "-s", "--", "/bin/sh", "-c", "exec nice etcd --a"}, certs.Etcd, []string{"--a"}},
		{"behind an init and without flags", []string{"tini", "--", "etcd"}, certs.Etcd, []string{}},
		{"behind a wrapper that is not known", []string{"/opt/acme/launch", "--log", "x", "/usr/local/bin/kubelet", "--config=/k"}, certs.Kubelet, []string{"--config=/k"}},
		{"a version", []string{"/opt/bin/kubelet-v1.29.3", "--a"}, certs.Kubelet, []string{"--a"}},
		{"a short version", []string{"kube-apiserver-1.30", "--a"}, certs.KubeAPIServer, []string{"--a"}},
		{"a version after an underscore", []string{"etcd_3.5.1", "--a"}, certs.Etcd, []string{"--a"}},
		{"a version with a suffix and a platform", []string{"kube-proxy-v1.31.0-rc.1-linux-arm64", "--a"}, certs.KubeProxy, []string{"--a"}},
		{"a platform", []string{"kube-scheduler-amd64", "--a"}, certs.KubeScheduler, []string{"--a"}},
		{"a versioned multi-call binary", []string{"/hyperkube-v1.18.2", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"s6 as another user", []string{"s6-setuidgid", "etcd", "/usr/bin/etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"runit as another user", []string{"chpst", "-u", "etcd:etcd", "-o", "65536", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"chpst's value in the same word", []string{"chpst", "-uetcd", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"behind busybox", []string{"/bin/busybox", "nice", "-n", "-5", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"in busybox's shell", []string{"busybox", "sh", "-c", "exec kube-apiserver --a"}, certs.KubeAPIServer, []string{"--a"}},
		{"with a lock", []string{"flock", "-n", "-E", "0", "/run/etcd.lock", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"with a lock, in a script", []string{"flock", "/run/l", "-c", "exec etcd --a"}, certs.Etcd, []string{"--a"}},
		{"as another user, in a script", []string{"/usr/sbin/runuser", "-c", "exec etcd --a", "etcd"}, certs.Etcd, []string{"--a"}},
		{"another program as another user", []string{"runuser", "-c", "pg_ctl start", "postgres"}, "", nil},
		{"a script without its text", []string{"runuser", "-c"}, "", nil},
		{"at another time", []string{"faketime", "-f", "+2d", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"at another time, in words", []string{"faketime", "2026-01-01 00:00:00", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"in the past", []string{"faketime", "-f", "-15d", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"traced", []string{"strace", "-f", "-e", "trace=file", "-o", "/tmp/out", "kube-scheduler", "--a"}, certs.KubeScheduler, []string{"--a"}},
		{"without privileges", []string{"setpriv", "--reuid", "etcd", "--regid=etcd", "--init-groups", "etcd", "--a"}, certs.Etcd, []string{"--a"}},
		{"as a transient unit", []string{"systemd-run", "--unit=kubelet", "--property=Restart=always", "--collect", "kubelet", "--a"}, certs.Kubelet, []string{"--a"}},
		{"behind catatonit", []string{"catatonit", "--", "kube-proxy", "--a"}, certs.KubeProxy, []string{"--a"}},
		{"the original, kept by a wrapper", []string{"/usr/local/bin/kube-apiserver.orig", "--a"}, certs.KubeAPIServer, []string{"--a"}},
		{"a platform before the version", []string{"kube-apiserver-linux-amd64-v1.31.2", "--a"}, certs.KubeAPIServer, []string{"--a"}},
		{"a FIPS build", []string{"kubelet-fips", "--a"}, certs.Kubelet, []string{"--a"}},
		{"hyperkube's short name without flags before", []string{"hyperkube", "apiserver", "--a"}, certs.KubeAPIServer, []string{"--a"}},
		{"a proxy of the API server is none", []string{"kube-apiserver-proxy", "--kubeconfig=/x", "--bind-address=127.0.0.1"}, "", nil},
		{"a manager of etcd is none", []string{"etcd-manager", "--data-dir=/x", "--name=x"}, "", nil},
		{"a lock around an approver is none", []string{"flock", "/run/l", "kubelet-csr-approver", "--kubeconfig=/x"}, "", nil},
		{"a trace of a running process is none", []string{"strace", "-p", "100"}, "", nil},
		{"a metrics exporter is none", []string{"etcd-metrics", "--name=x"}, "", nil},
		{"an original of something else is none", []string{"etcd-backup.orig", "--data-dir=/x"}, "", nil},
		{"etcd's client is none", []string{"etcdctl", "--cert=/x", "get", "etcd"}, "", nil},
		{"a backup of etcd is none", []string{"/usr/bin/etcd-backup", "--data-dir=/x"}, "", nil},
		{"a dated backup of etcd is none", []string{"/usr/bin/etcd-backup-3.5.1", "--data-dir=/x"}, "", nil},
		{"an approver is none", []string{"kubelet-csr-approver", "--config=/x"}, "", nil},
		{"a stamp is none", []string{"kubelet-rubber-stamp", "--v=2"}, "", nil},
		{"an exporter is none", []string{"kube-proxy-exporter", "--kubeconfig=/x"}, "", nil},
		{"a wrapped approver is none", []string{"tini", "--", "kubelet-csr-approver", "kubelet", "--config=/x"}, "", nil},
		{"a container's client is none", []string{"docker", "run", "--name", "etcd", "image", "/usr/local/bin/etcd", "--data-dir=/x"}, "", nil},
		{"a search with options is none", []string{"grep", "kubelet", "--color"}, "", nil},
		{"a download is none", []string{"curl", "-o", "/usr/local/bin/kubelet", "--retry", "3", "https://x"}, "", nil},
		{"a test in a script is none", []string{"sh", "-c", "test -x /usr/bin/kubelet --version; exec etcd --a"}, certs.Etcd, []string{"--a"}},
		{"a wrapper alone is none", []string{"tini", "-s"}, "", nil},
		{"a pager is none", []string{"less", "kubelet"}, "", nil},
		{"an editor is none", []string{"vi", "etcd"}, "", nil},
		{"a search is none", []string{"grep", "-r", "kubelet"}, "", nil},
		{"a longer name is none", []string{"/usr/bin/kubelet-wrapper-monitor", "--a"}, "", nil},
		{"admin is no program", []string{"admin", "--a"}, "", nil},
		{"nothing", nil, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := recognizeArgs(tt.argv)
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
		{"pod of a node in a container without systemd", "0::/docker/" + id + "/init", "0::/docker/" + id + "/kubepods/burstable/pod" + uid + "/" + id, placement{container: true, podUID: uid}},
		{"unit of a node in a pod", "0::/kubepods/burstable/pod" + uid + "/" + id + "/init.scope", "0::/kubepods/burstable/pod" + uid + "/" + id + "/system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit of a node in a unit", "0::/system.slice/nspawn@cp1.service/init.scope", "0::/system.slice/nspawn@cp1.service/system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"unit, seen from a pod's own namespace", "0::/../../../init.scope", "0::/../../../system.slice/kubelet.service", placement{unit: "kubelet.service"}},
		{"static pod, systemd driver", "0::/init.scope", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice/cri-containerd-" + id + ".scope", placement{container: true, podUID: hash}},
		{"static pod, cgroupfs driver", "1:cpu:/", "1:cpu:/kubepods/burstable/pod" + hash + "/" + id, placement{container: true, podUID: hash}},
		{"guaranteed pod, systemd driver", "0::/init.scope", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + id + ".scope", placement{container: true, podUID: uid}},
		{"pod under a root of its own", "0::/lab/cp1/init.scope", "0::/lab/cp1/kubepods/besteffort/pod" + uid + "/" + id, placement{container: true, podUID: uid}},
		{"pod, seen from a sibling's namespace", "0::/../../../../init.scope", "0::/../../pod" + uid + "/" + id, placement{container: true, podUID: uid}},
		{"pod, v1 with systemd names", "1:cpu:/", "1:cpu:/system.slice/containerd.service/kubepods-besteffort-pod" + underscored + ".slice:cri-containerd:" + id, placement{container: true, podUID: uid}},
		{"unit in a container", "0::/init.scope", "0::/docker/" + id + "/system.slice/kubelet.service", placement{container: true, nested: true}},
		{"unit with a container of podman", "0::/init.scope", "0::/system.slice/etcd.service/libpod-payload-" + id, placement{container: true, unit: "etcd.service"}},
		{"plain docker", "0::/init.scope", "0::/system.slice/docker-" + id + ".scope", placement{container: true}},
		{"a login session", "0::/init.scope", "0::/user.slice/user-0.slice/session-1.scope", placement{}},
		{"unreadable", "", "", placement{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := placeProcess(cgroupPaths([]byte(tt.cgroup)), cgroupPaths([]byte(tt.init))); got != tt.want {
				t.Errorf("place = %+v, want %+v", got, tt.want)
			}
		})
	}
	if (placement{podUID: uid}).isStatic() || !(placement{podUID: hash}).isStatic() {
		t.Error("only a pod whose UID is a hash is static")
	}
}
