package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// recoveryLimit bounds each way back from a cluster of which everything has expired.
const recoveryLimit = 10 * time.Minute

// recoveryAim is the most that "recover" may take, in seconds.
const recoveryAim = 90

// measureRecovery has all certificates expire, twice, and measures two ways back: as documented, and
// by "kubectl rotate-certs recover". The administrator's kubeconfig outside stays expired, so nothing
// else can be measured afterwards.
func (l *lab) measureRecovery(ctx context.Context, w io.Writer) ([]aim, error) {
	config, remove, err := l.sshConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	ways := []struct {
		name string
		run  func(context.Context) error
	}{
		{documented, l.recoverAsDocumented},
		{"kubectl rotate-certs recover", func(ctx context.Context) error { return l.recoverOverSSH(ctx, config) }},
	}
	t := table{{"from \"everything has expired\" to all nodes Ready", "wall time", "machine: load when it began / busy meanwhile"}}
	var took time.Duration
	for _, way := range ways {
		ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
		defer cancel()
		if out, err := l.command(ctx, filepath.Join(l.bin, "lab"), "expire", "--name", l.name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("let everything expire: %w: %s", err, out)
		}
		load, before := loadAverage(), cpuTimes()
		began := time.Now()
		if err := way.run(ctx); err != nil {
			return nil, fmt.Errorf("recover by %q: %w", way.name, err)
		}
		if err := l.awaitNodes(ctx, began); err != nil {
			return nil, fmt.Errorf("recover by %q: %w", way.name, err)
		}
		took = time.Since(began)
		t = append(t, []string{way.name, seconds(took), fmt.Sprintf("%s / %.0f %%", load, 100*cpuTimes().busySince(before))})
	}
	fmt.Fprintln(w)
	t.print(w)
	fmt.Fprint(w, `
Documented: "kubeadm certs renew all", a kubeconfig for the kubelet by "kubeadm kubeconfig user",
kubelet restarted; node after node, the workers' once the API answers. It is a script here, without the
time in which a person types, reads or decides. It verifies nothing, and renews no serving certificate of a kubelet.
`)
	return []aim{atMost("recovery of a dead cluster: wall time", took.Seconds(), recoveryAim, " s")}, nil
}

// sshConfig writes the lab's configuration for ssh to a file.
func (l *lab) sshConfig(ctx context.Context) (path string, remove func(), err error) {
	out, err := l.command(ctx, filepath.Join(l.bin, "lab"), "ssh-config", "--name", l.name).Output()
	if err != nil {
		return "", nil, fmt.Errorf("ask for the lab's ssh configuration: %w", err)
	}
	file, err := os.CreateTemp("", "ssh-config-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.Remove(file.Name()) }
	if _, err := file.Write(out); err != nil {
		remove()
		return "", nil, err
	}
	return file.Name(), remove, file.Close()
}

func (l *lab) recoverOverSSH(ctx context.Context, config string) error {
	var hosts []string
	for _, n := range l.nodes {
		hosts = append(hosts, n.Name)
	}
	cmd := l.command(ctx, "kubectl", "rotate-certs", "recover", "--yes", "--ssh-config", config, "--host", strings.Join(hosts, ","))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s", err, out.String())
	}
	return nil
}

// The steps of kubeadm's documentation for a kubelet's expired client certificate
// (setup/production-environment/tools/kubeadm/troubleshooting-kubeadm) and for renewal by hand
// (tasks/administer-cluster/kubeadm/kubeadm-certs), on a cluster whose API does not answer:
// kubeadm is given the few settings that it would read there.
const (
	kubeadmSettings = `
endpoint=$(sed -n 's|.*server: https://||p' /etc/kubernetes/admin.conf)
cat >/root/recovery.yaml <<EOF
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: $endpoint
EOF
`
	renewControlPlane = kubeadmSettings + `
kubeadm certs renew all --config /root/recovery.yaml >/dev/null
kubeadm kubeconfig user --config /root/recovery.yaml --org system:nodes --client-name system:node:$(hostname) >/root/kubelet.conf
` + useKubeletConf
	kubeletConf    = kubeadmSettings + `kubeadm kubeconfig user --config /root/recovery.yaml --org system:nodes --client-name system:node:%s`
	useKubeletConf = `
mv /root/kubelet.conf /etc/kubernetes/kubelet.conf
rm -f /var/lib/kubelet/pki/kubelet-client-current.pem
systemctl restart kubelet
`
	awaitAPI = `until kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done`
)

func (l *lab) recoverAsDocumented(ctx context.Context) error {
	control := l.controlPlanes()
	for _, n := range control {
		if _, err := l.on(ctx, n.Name, renewControlPlane, nil); err != nil {
			return err
		}
	}
	if _, err := l.on(ctx, control[0].Name, awaitAPI, nil); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if n.Role == "control-plane" {
			continue
		}
		conf, err := l.on(ctx, control[0].Name, fmt.Sprintf(kubeletConf, n.Name), nil)
		if err != nil {
			return err
		}
		if _, err := l.on(ctx, n.Name, "cat >/root/kubelet.conf\n"+useKubeletConf, strings.NewReader(conf)); err != nil {
			return err
		}
	}
	return nil
}

// awaitNodes waits until every node is Ready, and its kubelet has reported since a time: the API
// server's word of before the outage does not count.
func (l *lab) awaitNodes(ctx context.Context, since time.Time) error {
	for !l.allReady(ctx, since) {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("wait until all nodes are Ready: %w", err)
		}
	}
	return nil
}

func (l *lab) allReady(ctx context.Context, since time.Time) bool {
	const ask = "kubectl --kubeconfig /etc/kubernetes/admin.conf -o json "
	first := l.controlPlanes()[0].Name
	var nodes struct {
		Items []struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	var leases struct {
		Items []struct{ Spec struct{ RenewTime time.Time } }
	}
	for script, into := range map[string]any{ask + "get nodes": &nodes, ask + "-n kube-node-lease get leases": &leases} {
		out, err := l.on(ctx, first, script, nil)
		if err != nil || json.Unmarshal([]byte(out), into) != nil {
			return false
		}
	}
	ready := 0
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				ready++
			}
		}
	}
	reported := 0
	for _, l := range leases.Items {
		if l.Spec.RenewTime.After(since) {
			reported++
		}
	}
	return ready == len(l.nodes) && reported == len(l.nodes)
}
