//go:build linux

package standin

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// microk8sMachine puts the programs and files of MicroK8s on the machine.
const microk8sMachine = `mkdir -p "$1/root/snap/microk8s/8511" "$1/root/snap/bin" "$1/root/var/snap/microk8s/8511"
cp -r "$1"/data/* "$1/root/var/snap/microk8s/8511/"
ln -s 8511 "$1/root/var/snap/microk8s/current"
cp "$1/out/kubelite" "$1/root/snap/microk8s/8511/kubelite"
cp "$1/out/kubelite" "$1/root/snap/bin/microk8s"
`

// microk8sScript runs on the machine. Each step prints its name, the exit code of the program,
// the process of kubelite, and the hashes of the certificates and of the key.
const microk8sScript = `node=/out/rotate-certs-node
unit=snap.microk8s.daemon-kubelite
certs=/var/snap/microk8s/current/certs
hash() { sha256sum <$certs/$1 | cut -c1-12; }
step() { # NAME CODE
	until [ "$(systemctl is-active $unit)" = active ] && curl -sko /dev/null https://127.0.0.1:16443/readyz; do sleep 0.1; done
	echo "$1 code=$2 $(systemctl show -p MainPID --value $unit) $(hash server.crt) $(hash front-proxy-client.crt) $(hash server.key)" >>/out/steps
}
systemctl start $unit
step before 0
$node rotate --service kube-apiserver
step rotated $?
touch /out/fail
$node rotate --service kube-apiserver
step failed $?
rm /out/fail
touch /out/hold
$node rotate --service kube-apiserver &
until [ "$(systemctl show -p MainPID --value rotate-certs-renew)" != 0 ]; do sleep 0.1; done
kill -9 $!
wait $!
touch /out/continue
$node recover
step recovered $?
`

// TestRotationOfMicroK8sWithSystemdAndAStandIn rotates the certificates that the command of
// MicroK8s signs again: as usual, where the command fails, and where the node program is killed
// while the command runs.
func TestRotationOfMicroK8sWithSystemdAndAStandIn(t *testing.T) {
	if os.Getenv("STANDIN") == "" {
		t.Skip("it boots a machine, as root: make standin")
	}
	dir := t.TempDir()
	write := func(name, content string) { writeFile(t, filepath.Join(dir, name), content) }
	buildPrograms(t, dir, map[string]string{"rotate-certs-node": "../../cmd/rotate-certs-node", "kubelite": "./kubelite"})
	cas := map[string]certstest.CA{}
	for _, name := range []string{"ca", "front-proxy-ca"} {
		cas[name] = certstest.NewCA(t, name, certstest.Valid(certstest.Now.AddDate(-1, 0, 0), certstest.Now.AddDate(9, 0, 0)))
		write("data/certs/"+name+".crt", string(cas[name].Pair().CertPEM()))
		write("data/certs/"+name+".key", string(cas[name].Pair().KeyPEM(t)))
	}
	for name, ca := range map[string]string{"server": "ca", "kubelet": "ca", "front-proxy-client": "front-proxy-ca"} {
		leaf := cas[ca].Leaf(t, certstest.Name(name), certstest.SANs("kubernetes", "127.0.0.1"), certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
		write("data/certs/"+name+".crt", string(leaf.CertPEM()))
		write("data/certs/"+name+".key", string(leaf.KeyPEM(t)))
	}
	write("data/args/kube-apiserver", `--secure-port=16443
--etcd-servers="unix://${SNAP_DATA}/var/kubernetes/backend/kine.sock:12379"
--client-ca-file=${SNAP_DATA}/certs/ca.crt
--tls-cert-file=${SNAP_DATA}/certs/server.crt
--tls-private-key-file=${SNAP_DATA}/certs/server.key
--requestheader-client-ca-file=${SNAP_DATA}/certs/front-proxy-ca.crt
--proxy-client-cert-file=${SNAP_DATA}/certs/front-proxy-client.crt
--proxy-client-key-file=${SNAP_DATA}/certs/front-proxy-client.key
`)
	flags := ""
	for service, setting := range map[string]string{"kube-controller-manager": "controller", "kube-scheduler": "scheduler", "kube-proxy": "proxy", "kubelet": "kubelet"} {
		write("data/args/"+service, "--kubeconfig=${SNAP_DATA}/credentials/"+setting+".config\n")
		write("data/credentials/"+setting+".config", "apiVersion: v1\nkind: Config\ncurrent-context: microk8s\ncontexts: [{name: microk8s, context: {user: u, cluster: c}}]\n"+
			"clusters: [{name: c, cluster: {server: 'https://127.0.0.1:16443'}}]\nusers: [{name: u, user: {token: t}}]\n")
		flags += " --" + strings.Replace(setting, "controller", "controller-manager", 1) + "-args-file=/var/snap/microk8s/8511/args/" + service
	}
	write("data/args/kubelet", "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--cert-dir=${SNAP_DATA}/certs\n")
	write("units/snap.microk8s.daemon-kubelite.service", "[Service]\nRestart=on-failure\nTimeoutStopSec=30\nExecStart=/snap/microk8s/8511/kubelite --apiserver-args-file=/var/snap/microk8s/8511/args/kube-apiserver"+flags+"\n")
	lines := strings.Split(strings.TrimSpace(runMachine(t, dir, microk8sMachine, microk8sScript)), "\n")
	want := []struct {
		name, code string
		renewed    bool // and kubelite is another process
	}{{"before", "0", true}, {"rotated", "0", true}, {"failed", "2", false}, {"recovered", "0", true}}
	if len(lines) != len(want) {
		t.Fatalf("%d steps, want %d", len(lines), len(want))
	}
	before := make([]string, 6)
	for i, w := range want {
		step := strings.Fields(lines[i])
		if len(step) != 6 {
			t.Fatalf("%q has %d words, want 6", lines[i], len(step))
		}
		if step[0] != w.name || step[1] != "code="+w.code {
			t.Errorf("%q, want %+v", step, w)
		}
		for n := 2; n < 5; n++ {
			if (step[n] != before[n]) != w.renewed {
				t.Errorf("%s: %q, after %q", w.name, step, before)
			}
		}
		if i > 0 && step[5] != before[5] {
			t.Errorf("%s: the key of the API server is another one", w.name)
		}
		before = step
	}
}
