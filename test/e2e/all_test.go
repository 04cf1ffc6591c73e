//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
)

// rate is how often each client asks, per second.
const rate = 20

// TestRotateAllWhileClientsAsk is the promise that matters most: everything is
// renewed, and clients through a load balancer notice nothing.
//
// They ask for /version: /readyz truthfully says 500 on a server that is about to end,
// which is no failed request but an answer.
func TestRotateAllWhileClientsAsk(t *testing.T) {
	inside := the.startProbePods(t)
	config, err := clientcmd.BuildConfigFromFlags("", the.kubeconfig(t))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	fresh, kept := &asker{keep: false}, &asker{keep: true}
	var running sync.WaitGroup
	for _, a := range []*asker{fresh, kept} {
		running.Go(func() { a.ask(ctx, config.Host+"/version") })
	}

	the.rotateAndCompare(t, services, "--all")

	stop()
	running.Wait()
	t.Logf("load balancer, new connections:  %s", fresh)
	t.Logf("load balancer, kept connections: %s", kept)
	for _, p := range inside {
		t.Logf("kubernetes.default.svc, %s connections: %s", p.kind, p.stop(t))
	}
	require.Greater(t, fresh.asked, 5*rate, "the clients must have asked")
	if len(the.controlPlanes()) == 1 {
		return // the only API server is unavailable while it restarts
	}
	// A connection that a server accepted in the instant before SIGTERM is
	// answered with 503 or interrupted. No load balancer can take that back, so a few such
	// failures are explained, two a restart at this rate; everything else is not.
	for _, f := range fresh.failures {
		assert.Regexp(t, `503 Service Unavailable|EOF|connection reset by peer`, f, "every failed request on a new connection is explained")
	}
	assert.LessOrEqual(t, len(fresh.failures), 2*len(the.controlPlanes()))
}

// asker asks a URL at a fixed rate, without retries.
type asker struct {
	keep     bool
	mu       sync.Mutex
	asked    int
	failures []string
	slowest  time.Duration
}

func (a *asker) ask(ctx context.Context, url string) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		// HTTP/2 on kept connections, as every client of Kubernetes' own library.
		DisableKeepAlives: !a.keep, ForceAttemptHTTP2: a.keep, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // only whether it answers
	}}
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			open.Go(func() { a.once(client, url) })
		}
	}
}

func (a *asker) once(client *http.Client, url string) {
	began := time.Now()
	response, err := client.Get(url) //nolint:noctx // a request that began is brought to its end
	what := ""
	switch {
	case err != nil:
		what = err.Error()
	case response.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		what = response.Status + ": " + strings.TrimSpace(string(body))
	}
	if err == nil {
		_ = response.Body.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	a.slowest = max(a.slowest, time.Since(began))
	if what != "" {
		a.failures = append(a.failures, began.UTC().Format("15:04:05.000 ")+what)
	}
}

func (a *asker) String() string {
	text := fmt.Sprintf("%d requests, %d failed, slowest %s", a.asked, len(a.failures), a.slowest.Round(time.Millisecond))
	for i, f := range a.failures {
		if i == 10 {
			break
		}
		text += "\n    " + f
	}
	return text
}

// probePod asks from inside the cluster, through the Service.
type probePod struct{ kind, name string }

func (l *lab) startProbePods(t *testing.T) []probePod {
	t.Helper()
	node := l.nodes[len(l.nodes)-1].Name
	out := []probePod{{"new", "probe-new"}, {"kept", "probe-kept"}}
	for _, p := range out {
		args := []string{"probe", "-rate", fmt.Sprint(rate)}
		if p.kind == "kept" {
			args = append(args, "-keep-alive")
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.name}, Spec: corev1.PodSpec{
			NodeName: node, RestartPolicy: corev1.RestartPolicyNever, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "probe", Image: "rotate-certs.test/testbox:1",
				Args: append(args, "https://kubernetes.default.svc/version")}},
		}}
		pods := l.client.CoreV1().Pods("default")
		_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
		t.Cleanup(func() {
			err := pods.Delete(context.WithoutCancel(t.Context()), p.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
			if !apierrors.IsNotFound(err) {
				assert.NoError(t, err)
			}
		})
		require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			got, err := pods.Get(ctx, p.name, metav1.GetOptions{})
			return err == nil && got.Status.Phase == corev1.PodRunning, err
		}))
	}
	return out
}

// stop ends the probe and returns its summary.
func (p probePod) stop(t *testing.T) string {
	t.Helper()
	node := the.nodes[len(the.nodes)-1].Name
	keep := "grep -qv"
	if p.kind == "kept" {
		keep = "grep -q"
	}
	// SIGTERM to the process itself: a deleted pod's log could no longer be read.
	the.on(t, node, `for p in /proc/[0-9]*; do
		[ "$(cat $p/comm 2>/dev/null)" = testbox ] || continue
		tr '\0' ' ' < $p/cmdline | grep ' probe ' | `+keep+` keep-alive && kill ${p#/proc/}
	done; true`)
	pods := the.client.CoreV1().Pods("default")
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		got, err := pods.Get(ctx, p.name, metav1.GetOptions{})
		return err == nil && (got.Status.Phase == corev1.PodSucceeded || got.Status.Phase == corev1.PodFailed), err
	}))
	raw, err := pods.GetLogs(p.name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	require.NoError(t, err)
	var result struct {
		Requests, Failed    int
		SlowestMilliseconds int
		LongestGap          string
		Failures            []struct{ Time, Error string }
	}
	require.NoError(t, json.Unmarshal(raw, &result), "%s", raw)
	require.NotZero(t, result.Requests)
	text := fmt.Sprintf("%d requests, %d failed, slowest %d ms, longest gap %s", result.Requests, result.Failed, result.SlowestMilliseconds, result.LongestGap)
	for i, f := range result.Failures {
		if i < 10 {
			text += "\n    " + f.Time + " " + f.Error
		}
	}
	return text
}

func (l *lab) kubeconfig(t *testing.T) string {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	require.NotEmpty(t, path)
	return path
}
