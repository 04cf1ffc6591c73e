//go:build linux

package standin

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// dockerPackages are Debian's packages of Docker. They are unpacked on the machine only.
var dockerPackages = []string{"docker.io", "containerd", "runc"}

// dockerMachine unpacks Docker, and sets nspawn's options so that containers can run within.
const dockerMachine = `for package in "$1"/packages/*.deb; do
	dpkg-deb --fsys-tarfile "$package" | tar -C "$1/root" -x --keep-directory-symlink
done
mkdir -p "$1/root/etc/kubernetes/ssl"
cp "$1"/ssl/* "$1/root/etc/kubernetes/ssl/"
options="--capability=all --system-call-filter=add_key --system-call-filter=keyctl --system-call-filter=bpf"
`

// dockerScript runs on the machine. Each step prints its name, the exit code of the program, the
// ID and the start of the API server's container, the certificate that it serves, and the IDs,
// starts and processes of the other containers.
const dockerScript = `node=/out/rotate-certs-node
for directory in /sys/fs/cgroup /sys/fs/cgroup/*/; do
	mount -o remount,bind,rw "$directory"
done
systemctl start docker
mkdir -p /image/bin
for name in kube-apiserver nginx-proxy kubelet-of-none; do
	cp /out/container /image/bin/$name
done
tar -C /image -c . | docker import - standin:1
run() { # NAME OPTION…
	name=$1
	shift
	docker run -d --name $name --net=host --restart=always --volume=/etc/kubernetes:/etc/kubernetes:z --label=io.rancher.rke.container.name=$name "$@"
}
run kube-apiserver standin:1 /bin/kube-apiserver --tls-cert-file=/etc/kubernetes/ssl/kube-apiserver.pem \
	--tls-private-key-file=/etc/kubernetes/ssl/kube-apiserver-key.pem --client-ca-file=/etc/kubernetes/ssl/kube-ca.pem
run nginx-proxy standin:1 /bin/nginx-proxy
run pod --pid=host --label=io.kubernetes.pod.name=pod standin:1 /bin/kubelet-of-none
docker create --name service-sidekick --volume=/etc/kubernetes standin:1 /bin/nginx-proxy
step() { # NAME CODE
	until certificate=$(curl -skf https://127.0.0.1:6443/certificate); do sleep 0.1; done
	of='{{.Id}}@{{.State.StartedAt}}@{{.State.Pid}}'
	echo "$1 code=$2 $(docker inspect -f '{{.Id}} {{.State.StartedAt}}' kube-apiserver) $certificate" \
		"$(docker inspect -f "$of" nginx-proxy pod service-sidekick | tr '\n' ',')" >>/out/steps
}
step before 0
$node rotate --service kube-apiserver
step rotated $?
curl -sk https://127.0.0.1:6443/certificate >/etc/kubernetes/only
$node rotate --service kube-apiserver
step failed $?
rm /etc/kubernetes/only
touch /etc/kubernetes/hold
began=$(docker inspect -f '{{.State.StartedAt}}' kube-apiserver)
$node rotate --service kube-apiserver &
until [ "$(docker inspect -f '{{.State.StartedAt}}' kube-apiserver)" != "$began" ]; do sleep 0.1; done
kill -9 $!
wait $!
docker stop --time=1 kube-apiserver
rm /etc/kubernetes/hold
grep Before= /etc/systemd/system/rotate-certs-recover.service
$node recover
step recovered $?
docker stop --time=1 kube-apiserver
$node rotate --service kube-apiserver
step stopped $?
docker version --format '{{.Server.Version}}' >/out/version
`

// TestRotationOfDockerContainers rotates an API server in a Docker container as RKE1 has it, by
// the real dockerd: as usual, where the container cannot start with the new certificate, and
// where the node program is killed during the restart and the container is left stopped.
func TestRotationOfDockerContainers(t *testing.T) {
	if os.Getenv("STANDIN") == "" {
		t.Skip("it boots a machine, as root: make standin")
	}
	dir := t.TempDir()
	buildPrograms(t, dir, map[string]string{"rotate-certs-node": "../../cmd/rotate-certs-node", "container": "./container"})
	packages := filepath.Join(dir, "packages")
	if err := os.Mkdir(packages, 0o755); err != nil {
		t.Fatal(err)
	}
	download := exec.CommandContext(t.Context(), "apt-get", append([]string{"-o", "APT::Sandbox::User=root", "download"}, dockerPackages...)...)
	download.Dir = packages
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("download Docker: %v\n%s", err, out)
	}
	ca := certstest.NewCA(t, "kube-ca", certstest.Valid(certstest.Now.AddDate(-1, 0, 0), certstest.Now.AddDate(9, 0, 0)))
	server := ca.Leaf(t, certstest.Name("system:kube-apiserver"), certstest.SANs("kubernetes", "127.0.0.1"), certstest.Usages(x509.ExtKeyUsageServerAuth))
	ssl := filepath.Join(dir, "ssl")
	writeFile(t, filepath.Join(ssl, "kube-ca.pem"), string(ca.Pair().CertPEM()))
	writeFile(t, filepath.Join(ssl, "kube-ca-key.pem"), string(ca.Pair().KeyPEM(t)))
	writeFile(t, filepath.Join(ssl, "kube-apiserver.pem"), string(server.CertPEM()))
	writeFile(t, filepath.Join(ssl, "kube-apiserver-key.pem"), string(server.KeyPEM(t)))
	writeFile(t, filepath.Join(dir, "units/docker.service"), "[Service]\nType=notify\nDelegate=yes\nKillMode=process\n"+
		"ExecStart=/usr/sbin/dockerd --host=unix:///run/docker.sock --storage-driver=vfs --iptables=false --ip6tables=false --bridge=none\n")
	lines := strings.Split(strings.TrimSpace(runMachine(t, dir, dockerMachine, dockerScript)), "\n")
	want := []struct {
		name, code   string
		certificate  bool // another one than in the step before
		startedAgain bool
	}{{"before", "0", true, true}, {"rotated", "0", true, true}, {"failed", "2", false, true}, {"recovered", "0", false, true}, {"stopped", "0", true, true}}
	if len(lines) != len(want) {
		t.Fatalf("%d steps, want %d", len(lines), len(want))
	}
	before := make([]string, 6)
	for i, w := range want {
		step := strings.Fields(lines[i])
		if len(step) != 6 {
			t.Fatalf("%q has %d words, want 6", lines[i], len(step))
		}
		if step[0] != w.name || step[1] != "code="+w.code || (step[3] != before[3]) != w.startedAgain || (step[4] != before[4]) != w.certificate {
			t.Errorf("%q, want %+v, after %q", step, w, before)
		}
		if i > 0 && (step[2] != before[2] || step[5] != before[5]) {
			t.Errorf("%s: another container, or another one was restarted: %q, after %q", w.name, step, before)
		}
		before = step
	}
	version, _ := os.ReadFile(filepath.Join(dir, "out/version"))
	t.Logf("Docker %s", version)
}
