package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestCertificateValidity(t *testing.T) {
	config := func(yaml string) []runtime.Object {
		return []runtime.Object{&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"},
			Data:       map[string]string{"ClusterConfiguration": yaml},
		}}
	}
	for name, tc := range map[string]struct {
		objects []runtime.Object
		want    time.Duration
		fails   string
	}{
		"set":                        {config("apiVersion: kubeadm.k8s.io/v1beta4\ncertificateValidityPeriod: 720h0m0s\n"), 720 * time.Hour, ""},
		"not set":                    {config("apiVersion: kubeadm.k8s.io/v1beta3\n"), 0, ""},
		"empty":                      {config(""), 0, ""},
		"no kubeadm":                 {nil, 0, ""},
		"a negative one":             {config("certificateValidityPeriod: -5h\n"), 0, ""},
		"an invalid one is an error": {config("certificateValidityPeriod: [1]\n"), 0, "--validity"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := CertificateValidity(t.Context(), newCluster(t, tc.objects...))
			if tc.fails != "" {
				require.Contains(t, hint.TextOf(err), tc.fails)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
	c := newCluster(t, config("certificateValidityPeriod: 720h\n")...)
	c.PrependReactor("get", "configmaps", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "kubeadm-config", errors.New("no"))
	})
	got, err := CertificateValidity(t.Context(), c)
	require.NoError(t, err)
	assert.Zero(t, got)
}

func TestOwnCertificate(t *testing.T) {
	pem := certstest.NewCA(t, "kubernetes").Leaf(t, certstest.Name("kubernetes-admin", "kubeadm:cluster-admins")).CertPEM()
	file := filepath.Join(t.TempDir(), "admin.crt")
	require.NoError(t, os.WriteFile(file, pem, 0o600))
	for name, config := range map[string]*rest.Config{
		"embedded":  {TLSClientConfig: rest.TLSClientConfig{CertData: pem}},
		"in a file": {TLSClientConfig: rest.TLSClientConfig{CertFile: file}},
	} {
		facts, err := OwnCertificate(config)
		require.NoError(t, err, name)
		require.NotNil(t, facts, name)
		assert.Equal(t, "CN=kubernetes-admin,O=kubeadm:cluster-admins", facts.Subject, name)
	}
	facts, err := OwnCertificate(&rest.Config{BearerToken: "x"})
	require.NoError(t, err)
	assert.Nil(t, facts, "a token is no certificate")
	_, err = OwnCertificate(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: file + ".missing"}})
	require.ErrorContains(t, err, "read the client certificate")
	_, err = OwnCertificate(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: []byte("x")}})
	require.Error(t, err)
}

func TestReady(t *testing.T) {
	restarted := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	lease := func(at time.Time) *coordinationv1.Lease {
		renewed := metav1.NewMicroTime(at)
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "w1"},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &renewed},
		}
	}
	notReady := func(n *corev1.Node) {
		n.Status.Conditions[0].Status, n.Status.Conditions[0].Reason = corev1.ConditionFalse, "KubeletNotReady"
	}
	for name, tc := range map[string]struct {
		objects []runtime.Object
		want    string
	}{
		"ready and reporting":           {[]runtime.Object{node("w1"), lease(restarted.Add(time.Second))}, ""},
		"still Ready, but silent since": {[]runtime.Object{node("w1"), lease(restarted.Add(-time.Second))}, "has not reported since 2026-11-24 12:00:00 UTC"},
		"reporting that it is not":      {[]runtime.Object{node("w1", notReady), lease(restarted.Add(time.Second))}, "NotReady: KubeletNotReady"},
		"never reported":                {[]runtime.Object{node("w1")}, "read the kubelet's lease"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := (&Observer{Client: newCluster(t, tc.objects...)}).Ready(ctx, "w1", restarted)
				if tc.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, tc.want)
			})
		})
	}
	t.Run("it comes back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, node("w1"), lease(restarted.Add(-time.Second)))
			time.AfterFunc(15*time.Second, func() {
				_ = c.Tracker().Update(coordinationv1.SchemeGroupVersion.WithResource("leases"), lease(restarted.Add(time.Second)), "kube-node-lease")
			})
			require.NoError(t, (&Observer{Client: c}).Ready(t.Context(), "w1", restarted))
		})
	})
}

func TestRestarts(t *testing.T) {
	static := func(name, node, container, component string, count int32) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, Labels: map[string]string{"component": component}},
			Spec:       corev1.PodSpec{NodeName: node},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				Name: container, ContainerID: "containerd://" + name, RestartCount: count,
				State:                corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 137}},
			}}},
		}
	}
	waiting := static("scheduler-cp1", "cp1", "kube-scheduler", "kube-scheduler", 3)
	waiting.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended := static("controllers-cp1", "cp1", "kube-controller-manager", "kube-controller-manager", 3)
	ended.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1}}
	c := newCluster(t,
		waiting, ended,
		static("etcd-cp1", "cp1", "etcd", "etcd", 2),
		static("etcd-cp2", "cp2", "etcd", "etcd", 9),
		static("odd-cp1", "cp1", "server", "kube-apiserver", 1),
		static("kube-proxy-x", "cp1", "kube-proxy", "", 0),
		static("coredns-x", "cp1", "coredns", "", 5),
	)
	got, err := (&Observer{Client: c}).Restarts(t.Context(), "cp1")
	require.NoError(t, err)
	assert.Len(t, got, 5)
	assert.Equal(t, fleet.Restart{ContainerID: "containerd://scheduler-cp1", Count: 3, Reason: "Error, exit code 137"}, got["kube-scheduler"])
	assert.Equal(t, fleet.Restart{ContainerID: "containerd://controllers-cp1", Count: 3, Reason: "Error, exit code 1"}, got["kube-controller-manager"], "of the end that is the last")
	assert.Equal(t, int32(2), got["etcd"].Count)
	assert.Equal(t, "containerd://etcd-cp1", got["etcd"].ContainerID)
	assert.Equal(t, noon, got["etcd"].StartedAt.UTC())
	assert.Equal(t, "Error, exit code 137", got["etcd"].Reason)
	assert.Equal(t, int32(1), got["kube-apiserver"].Count, "recognized by its label")
	assert.Contains(t, got, "kube-proxy")
}
