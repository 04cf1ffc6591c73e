//go:build linux

package standin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// boot makes an overlay of this machine's files, and boots it without a network. The file
// "prepare" adds what a test needs to the machine.
const boot = `set -e
mount --make-rslave /
mount -t tmpfs tmpfs "$1/work"
mkdir "$1/work/upper" "$1/work/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/work/upper,workdir=$1/work/work" "$1/root"
rm -rf "$1/root/etc/systemd/system"
mkdir "$1/root/etc/systemd/system"
cp "$1"/units/* "$1/root/etc/systemd/system/"
. "$1/prepare"
SYSTEMD_NSPAWN_LOCK=0 exec systemd-nspawn --quiet --boot --directory="$1/root" --machine=standin --settings=no --register=no --keep-unit \
	--console=pipe --private-network --resolv-conf=off --timezone=off --link-journal=no --bind="$1/out:/out" $options systemd.unit=script.target
`

// agents puts the programs and files of the agents on the machine.
const agents = `mkdir -p "$1/root/var/lib/rancher/rke2/bin" "$1/root/var/lib/servers" "$1/root/usr/local/bin"
cp -r "$1/rke2" "$1/k3s" "$1/root/var/lib/rancher/"
cp "$1"/servers/* "$1/root/var/lib/servers/"
cp "$1/out/agent" "$1/root/usr/local/bin/rke2"
cp "$1/out/agent" "$1/root/usr/local/bin/k3s"
cp "$1/out/agent" "$1/root/var/lib/rancher/rke2/bin/kubelet"
`

// script runs on the machine. Each step prints the product, its name, the exit code of the
// program, the hashes of the certificates, and the number of backups.
const script = `node=/out/rotate-certs-node
step() { # NAME CODE
	until [ "$(systemctl is-active $product-agent)" = active ] && curl -so /dev/null http://127.0.0.1:10248/healthz; do sleep 0.1; done
	agent=/var/lib/rancher/$product/agent
	echo "$product-$1 code=$2 serving=$(sha256sum <$agent/serving-kubelet.crt | cut -c1-12) client=$(sha256sum <$agent/client-kubelet.crt | cut -c1-12) backups=$(ls -d $agent/tls-* 2>/dev/null | wc -l)" >>/out/steps
}
for product in rke2 k3s; do
	systemctl start $product-agent
	step before 0
	$node rotate --service kubelet
	step rotated $?
	touch /out/fail
	$node rotate --service kubelet
	step failed $?
	rm /out/fail
	touch /out/hold
	$node rotate --service kubelet &
	until [ "$(systemctl show -p MainPID --value rotate-certs-renew)" != 0 ]; do sleep 0.1; done
	kill -9 $!
	wait $!
	touch /out/continue
	$node recover
	step recovered $?
	rm /out/hold /out/continue
	systemctl stop $product-agent
done
`

// TestRotationWithSystemdAndAStandIn rotates an agent of RKE2 and one of K3s, once as usual, once
// where the command fails, and once where the node program is killed while the unit is stopped.
func TestRotationWithSystemdAndAStandIn(t *testing.T) {
	if os.Getenv("STANDIN") == "" {
		t.Skip("it boots a machine, as root: make standin")
	}
	dir := t.TempDir()
	write := func(name, content string) { writeFile(t, filepath.Join(dir, name), content) }
	buildPrograms(t, dir, map[string]string{"rotate-certs-node": "../../cmd/rotate-certs-node", "agent": "./agent"})
	for _, name := range []string{"client-ca", "server-ca"} {
		ca := certstest.NewCA(t, "rke2-"+name, certstest.Valid(certstest.Now.AddDate(-1, 0, 0), certstest.Now.AddDate(9, 0, 0)))
		write("servers/"+name+".crt", string(ca.Pair().CertPEM()))
		write("servers/"+name+".key", string(ca.Pair().KeyPEM(t)))
		write("rke2/agent/"+name+".crt", string(ca.Pair().CertPEM()))
		write("k3s/agent/"+name+".crt", string(ca.Pair().CertPEM()))
	}
	for _, product := range []string{"rke2", "k3s"} {
		agent := "/var/lib/rancher/" + product + "/agent/"
		write(product+"/agent/kubelet.kubeconfig", "apiVersion: v1\nkind: Config\ncurrent-context: Default\ncontexts: [{name: Default, context: {user: user, cluster: local}}]\n"+
			"clusters: [{name: local, cluster: {server: 'https://127.0.0.1:6443', certificate-authority: "+agent+"server-ca.crt}}]\n"+
			"users: [{name: user, user: {client-certificate: "+agent+"client-kubelet.crt, client-key: "+agent+"client-kubelet.key}}]\n")
		write("units/"+product+"-agent.service", "[Service]\nKillMode=process\nDelegate=yes\nRestart=always\nRestartSec=5s\nExecStart=/usr/local/bin/"+product+" agent\n")
	}
	steps := runMachine(t, dir, agents, script)
	words := strings.Fields(steps)
	if len(words) != 2*4*5 {
		t.Fatalf("%d words, want those of four steps each", len(words))
	}
	compareSteps(t, "rke2", words[:20])
	compareSteps(t, "k3s", words[20:])
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// buildPrograms builds programs for the machine, in its directory /out.
func buildPrograms(t *testing.T, dir string, sources map[string]string) {
	t.Helper()
	for program, source := range sources {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "out", program), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// runMachine boots the machine, which runs the script and powers off, and returns the file of
// steps that the script writes.
func runMachine(t *testing.T, dir, prepare, script string) string {
	t.Helper()
	for _, name := range []string{"root", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "units/script.service"), "[Service]\nType=oneshot\nExecStart=/bin/sh /out/script\nExecStopPost=/bin/systemctl --no-block poweroff\nStandardOutput=file:/out/output\nStandardError=file:/out/output\n")
	writeFile(t, filepath.Join(dir, "units/script.target"), "[Unit]\nRequires=basic.target script.service\nAfter=basic.target\n")
	writeFile(t, filepath.Join(dir, "out/script"), script)
	writeFile(t, filepath.Join(dir, "prepare"), prepare)
	writeFile(t, filepath.Join(dir, "boot"), boot)
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", filepath.Join(dir, "boot"), dir).CombinedOutput(); err != nil {
		t.Logf("%v\n%s", err, out) // nspawn reports how the machine ended
	}
	output, _ := os.ReadFile(filepath.Join(dir, "out/output"))
	steps, err := os.ReadFile(filepath.Join(dir, "out/steps"))
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("steps:\n%s\noutput:\n%s", steps, output)
		}
	})
	return string(steps)
}

// compareSteps compares the steps of the script with those that are expected. same is whether
// the certificates are those of the step before.
func compareSteps(t *testing.T, product string, words []string) {
	t.Helper()
	want := []struct {
		name, code, backups string
		same                bool
	}{{"before", "0", "0", false}, {"rotated", "0", "1", false}, {"failed", "2", "1", true}, {"recovered", "0", "2", false}}
	before := []string{"", ""}
	for i, w := range want {
		step := words[5*i : 5*i+5]
		certificates := step[2:4]
		if step[0] != product+"-"+w.name || step[1] != "code="+w.code || step[4] != "backups="+w.backups {
			t.Errorf("%q, want %+v", step, w)
		}
		for n, c := range certificates {
			if (c == before[n]) != w.same {
				t.Errorf("%s of %s: %s, after %s before", w.name, product, c, before[n])
			}
		}
		before = certificates
	}
}
