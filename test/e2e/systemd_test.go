//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tests of this file run on a cluster without kubeadm, whose components are all units,
// see "make e2e-systemd".

const (
	systemd  = "systemd" // its topology
	unitSSL  = "/etc/kubernetes/ssl"
	unitEtcd = "/etc/etcd/ssl"
)

// unitCertificates lists what a service holds on a node of that cluster.
func unitCertificates(service string, n machine) []stored {
	pair := func(stem string, ports ...string) stored {
		return stored{cert: stem + ".pem", key: stem + "-key.pem", ports: ports}
	}
	embedded := func(path string) stored { return stored{cert: path, key: path} }
	everywhere := map[string][]stored{
		"kubelet":    {pair(unitSSL+"/kubelet", n.IP+":10250"), pair(unitSSL + "/kubelet-client")},
		"kube-proxy": {embedded("/var/lib/kube-proxy/kubeconfig")},
	}
	controlPlane := map[string][]stored{
		"etcd": {pair(unitEtcd+"/server", n.IP+":2379"), pair(unitEtcd+"/peer", n.IP+":2380")},
		"kube-apiserver": {pair(unitSSL+"/apiserver", n.IP+":6443"), pair(unitSSL + "/apiserver-etcd-client"),
			pair(unitSSL + "/apiserver-kubelet-client"), pair(unitSSL + "/front-proxy-client")},
		"kube-controller-manager": {embedded("/var/lib/kubernetes/kube-controller-manager.kubeconfig")},
		"kube-scheduler":          {pair(unitSSL + "/kube-scheduler")},
		"admin":                   {embedded("/var/lib/kubernetes/admin.kubeconfig")},
	}
	held := everywhere[service]
	if n.Role == "control-plane" {
		held = append(held, controlPlane[service]...)
	}
	return held
}

// TestSystemdRotatesEachService compares all files before and after, and shakes hands with
// every port that shows a certificate.
func TestSystemdRotatesEachService(t *testing.T) {
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			the.rotateAndCompare(t, []string{service}, "--service", service)
		})
	}
}

// assertPodsHaveLogs starts a pod on each node and asks for its log, for which an API server
// and a kubelet accept each other's certificates.
func (l *lab) assertPodsHaveLogs(t *testing.T) {
	t.Helper()
	pods := l.client.CoreV1().Pods("default")
	for _, n := range l.nodes {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "logs-"}, Spec: corev1.PodSpec{
			NodeName: n.Name, RestartPolicy: corev1.RestartPolicyNever, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "sleep", Image: testbox, Args: []string{"sleep"}}},
		}}
		created, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
		within(t, time.Minute, "a pod on "+n.Name, func() bool {
			got, err := pods.Get(t.Context(), created.Name, metav1.GetOptions{})
			return err == nil && got.Status.Phase == corev1.PodRunning
		})
		logs := l.kubectl(t, "logs", created.Name)
		assert.Zero(t, logs.exit, "logs on %s: %s", n.Name, logs)
		assert.NoError(t, pods.Delete(context.WithoutCancel(t.Context()), created.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	}
}
