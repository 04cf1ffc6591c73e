package kube

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	restfake "k8s.io/client-go/rest/fake"
)

// A kubelet closes a followed log up to a second after the container has ended.
func TestScanReturnsBeforeTheLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		(&kubelets{status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}).run(t, c)
		out, log := io.Pipe()
		go func() {
			for _, part := range []string{"reading /etc\n", inventoryOf(t, "w1")[:20], inventoryOf(t, "w1")[20:]} {
				time.Sleep(time.Second) // of the bubble's clock
				_, _ = log.Write([]byte(part))
			}
		}()
		began := time.Now()
		found, excluded, err := (&Scanner{Client: withLog{c, out}, Pods: options}).Scan(t.Context(), []string{"w1"})
		require.NoError(t, err)
		assert.Empty(t, excluded)
		require.Len(t, found, 1)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Empty(t, podsLeft(t, c))
	})
}

// withLog is a cluster in which every pod has the same log, which may be followed.
type withLog struct {
	kubernetes.Interface
	log io.ReadCloser
}

func (w withLog) CoreV1() typedcorev1.CoreV1Interface {
	return withLogCore{w.Interface.CoreV1(), w.log}
}

type withLogCore struct {
	typedcorev1.CoreV1Interface
	log io.ReadCloser
}

func (w withLogCore) Pods(namespace string) typedcorev1.PodInterface {
	return withLogPods{w.CoreV1Interface.Pods(namespace), w.log}
}

type withLogPods struct {
	typedcorev1.PodInterface
	log io.ReadCloser
}

func (w withLogPods) GetLogs(string, *corev1.PodLogOptions) *rest.Request {
	return (&restfake.RESTClient{
		NegotiatedSerializer: scheme.Codecs.WithoutConversion(),
		Client: restfake.CreateHTTPClient(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: w.log}, nil
		}),
	}).Get()
}
