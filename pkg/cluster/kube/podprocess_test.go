package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
)

func TestCommandOfAPodProcess(t *testing.T) {
	var got []string
	p := &podProcess{pod: RotatePod(step("cp1"), "7f3c2a", options), run: func(_ context.Context, namespace, pod string, c session.Command) error {
		got = append([]string{namespace, pod}, c.Args...)
		return utilexec.CodeExitError{Err: errors.New("command terminated with exit code 5"), Code: 5}
	}}
	err := p.Run(t.Context(), session.Command{Args: []string{"order", "--rotation=7f3c2a"}})
	var exit *session.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 5, exit.Code)
	assert.Equal(t, []string{p.pod.Namespace, p.pod.Name, "/usr/local/bin/rotate-certs-node", "order", "--root=/host", "--rotation=7f3c2a"}, got)
}

func TestEndOfAPodProcess(t *testing.T) {
	for name, tc := range map[string]struct {
		become  func(t *testing.T, p *podProcess)
		want    string // of the error; empty: it still runs
		records string
	}{
		"runs": {become: func(*testing.T, *podProcess) {}},
		"the pod is deleted": {want: "it was deleted", become: func(t *testing.T, p *podProcess) {
			require.NoError(t, p.client.CoreV1().Pods(p.pod.Namespace).Delete(t.Context(), p.pod.Name, metav1.DeleteOptions{}))
		}},
		"another pod has its name": {want: "it was deleted", become: func(_ *testing.T, p *podProcess) { p.pod.UID = "another" }},
		"has ended": {want: "exit code 0", records: "{1}\n{2}\n", become: func(t *testing.T, p *podProcess) {
			ended := p.pod.DeepCopy()
			ended.Status = terminated(corev1.PodSucceeded, "Completed", 0)
			_, err := p.client.CoreV1().Pods(ended.Namespace).UpdateStatus(t.Context(), ended, metav1.UpdateOptions{})
			require.NoError(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				(&kubelets{log: "starting\n" + tc.records}).run(t, c)
				pod := RotatePod(step("cp1"), "7f3c2a", options)
				pod.Status = corev1.PodStatus{Phase: corev1.PodRunning}
				pod, err := c.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
				require.NoError(t, err)
				p := &podProcess{client: c, pod: pod}
				tc.become(t, p)
				ended := p.Ended(t.Context())
				if tc.want == "" {
					require.Nil(t, ended)
					return
				}
				require.ErrorContains(t, ended.Err, tc.want)
				var got strings.Builder
				if ended.Replay != nil {
					require.NoError(t, ended.Replay(t.Context(), func(line []byte) error { got.Write(append(line, '\n')); return nil }))
				}
				assert.Equal(t, tc.records, got.String())
			})
		})
	}
}
