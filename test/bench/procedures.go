package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	documented = "documented"
	always     = "always"
	ifNeeded   = "if-needed"
)

// procedure is a way to renew everything.
type procedure struct {
	name  string
	about string
	run   func(context.Context, *lab, *measurement) error
}

// procedures are measured in this order.
var procedures = []procedure{
	{documented, "kubeadm certs renew all, manifests moved out for 20 s and back, wait for health; node after node, no kubelets", renewAsDocumented},
	{always, "kubectl rotate-certs --all", func(ctx context.Context, l *lab, m *measurement) error { return rotate(ctx, l, m, "--all") }},
	{ifNeeded, "kubectl rotate-certs --all --restart=if-needed", func(ctx context.Context, l *lab, m *measurement) error {
		return rotate(ctx, l, m, "--all", "--restart="+ifNeeded)
	}},
}

// asDocumented is what the documentation of kubeadm asks for on every control-plane
// node (tasks/administer-cluster/kubeadm/kubeadm-certs), with a wait for health at its
// end that an operator in a hurry would write.
const asDocumented = `
kubeadm certs renew all >/dev/null
mkdir -p /root/moved
mv /etc/kubernetes/manifests/*.yaml /root/moved/
sleep 20
mv /root/moved/*.yaml /etc/kubernetes/manifests/
well() { curl -skf -m 2 -o /dev/null "$1"; }
for _ in 1 2 3; do # in a row: a server that ends may answer once more
	until well https://127.0.0.1:6443/readyz && well http://127.0.0.1:2381/health &&
		well https://127.0.0.1:10257/healthz && well https://127.0.0.1:10259/healthz; do sleep 0.2; done
done
`

func renewAsDocumented(ctx context.Context, l *lab, _ *measurement) error {
	for _, n := range l.controlPlanes() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		if _, err := l.on(ctx, n.Name, asDocumented, nil); err != nil {
			return err
		}
	}
	return nil
}

// rotate runs the plugin through the real kubectl, which becomes it.
func rotate(ctx context.Context, l *lab, m *measurement, args ...string) error {
	cmd := l.command(ctx, "kubectl", append([]string{"rotate-certs", "-o", "json"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if log := os.Getenv("BENCH_LOG"); log != "" {
		_ = os.WriteFile(log+"."+strings.TrimLeft(strings.Join(args, ""), "-"), append(stderr.Bytes(), stdout.Bytes()...), 0o600)
	}
	if err != nil {
		return fmt.Errorf("run %q: %w\n%s", cmd.String(), err, stderr.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if ok {
		m.plugin = resources{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), memory: usage.Maxrss * 1024}
	}
	var report struct {
		Items []struct {
			Node, Service      string
			UnavailableSeconds float64
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	for _, i := range report.Items {
		if i.Service == "kube-apiserver" {
			m.reported = append(m.reported, fmt.Sprintf("%s %.1f s", i.Node, i.UnavailableSeconds))
		}
	}
	return nil
}
