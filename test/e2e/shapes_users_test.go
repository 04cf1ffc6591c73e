//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// virtualIP is a static pod of kube-vip's form: it mounts one file, which no argument of it names.
const virtualIP = `apiVersion: v1
kind: Pod
metadata:
  name: kube-vip
  namespace: kube-system
spec:
  hostNetwork: true
  containers:
  - name: kube-vip
    image: ` + testbox + `
    args: [sleep]
    volumeMounts:
    - {name: kubeconfig, mountPath: /etc/kubernetes/admin.conf}
  volumes:
  - name: kubeconfig
    hostPath: {path: /etc/kubernetes/admin.conf, type: File}
`

// TestShapeStaticPodThatMountsAdminConf: the mount of a single file keeps the old one, so the
// pod is restarted, and then has the new one.
func TestShapeStaticPodThatMountsAdminConf(t *testing.T) {
	const manifest, path = "/etc/kubernetes/manifests/kube-vip.yaml", "/etc/kubernetes/admin.conf"
	node := the.controlPlanes()[0].Name
	the.put(t, node, manifest, []byte(virtualIP))
	t.Cleanup(func() {
		_, err := the.try(context.WithoutCancel(t.Context()), node, "rm -f "+manifest+"; for i in $(seq 600); do [ -z \"$("+virtualIPProcess+")\" ] && exit 0; sleep 0.1; done; exit 1")
		assert.NoError(t, err)
	})
	process := func() string { return strings.TrimSpace(string(the.on(t, node, virtualIPProcess))) }
	within(t, time.Minute, "the static pod", func() bool { return process() != "" })
	old := process()
	plan := the.kubectl(t, "rotate-certs", "plan", "--service", "admin")
	assert.Contains(t, plan.stdout+plan.stderr, "kube-vip", "the plan says who else reads it")

	report := the.rotate(t, "--service", "admin")
	assert.Equal(t, "Succeeded", report.results()[node+"/admin"])
	within(t, 30*time.Second, "the restarted pod", func() bool { return process() != "" && process() != old })
	inside := the.on(t, node, "cat /proc/"+process()+"/root"+path)
	assert.Equal(t, sha256.Sum256(the.snapshot(t, node)[path].data), sha256.Sum256(inside), "it has the new file")
	the.waitUntilReady(t)
	require.Empty(t, report.LeftOut)
}

// virtualIPProcess prints the process of that pod.
const virtualIPProcess = `for p in /proc/[0-9]*; do
	[ "$(tr '\0' ' ' < $p/cmdline 2>/dev/null)" = "/usr/local/bin/testbox sleep " ] && grep -q ' /etc/kubernetes/admin.conf ' $p/mountinfo && echo ${p#/proc/}
done 2>/dev/null; true`
