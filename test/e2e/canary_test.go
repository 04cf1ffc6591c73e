//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNoPrivateKeyInAnyOutput searches for every key, old and new, in all that a rotation
// leaves: what it prints, its pods' specs and logs, requests
// and events, the nodes' journals, and files left behind on the nodes.
func TestNoPrivateKeyInAnyOutput(t *testing.T) {
	before := the.snapshots(t)
	for _, n := range the.nodes {
		the.on(t, n.Name, "touch /run/canary")
	}
	pods := the.listenToPods(t)
	said := map[string]string{}
	for _, args := range [][]string{
		{"check", "-o", "yaml"},
		{"check", "-o", "wide"},
		{"--all", "--restart=if-needed", "-o", "json"},
		{"status", "-o", "json"},
		{"history", "-o", "yaml"},
	} {
		o := the.kubectl(t, append([]string{"rotate-certs"}, args...)...)
		require.Zero(t, o.exit, "%s: %s", args, o)
		said[strings.Join(args, " ")] = o.stdout + o.stderr
	}
	newest := strings.Fields(the.kubectl(t, "rotate-certs", "history", "-o", "name").stdout)[0]
	said["history of one"] = the.kubectl(t, "rotate-certs", "history", newest, "-o", "json").stdout
	said["pods and their logs"] = pods()
	assert.Contains(t, said["pods and their logs"], `"kind":"Committed"`, "there must be logs to search")
	said["requests and events"] = the.kubectl(t, "get", "csr,events", "-A", "-o", "json").stdout
	assert.Contains(t, said["requests and events"], "CertificateSigningRequest")

	after := the.snapshots(t)
	for _, n := range the.nodes {
		said["journals of "+n.Name] = string(the.on(t, n.Name, "cat /var/lib/rotate-certs/rotations/*/journal.jsonl /var/lib/rotate-certs/rotations/*/orders/* 2>/dev/null || true"))
		// Every file written since, but those that hold keys by right: the watched
		// directories, whose names are compared below, and backups.
		// A pod's log may be removed between being listed and being read.
		said["files left on "+n.Name] = string(the.on(t, n.Name, `find / -ignore_readdir_race -xdev -newer /run/canary -type f -size -8192k \
			! -path '/proc/*' ! -path '/sys/*' ! -path '*/member/*' ! -path '/var/lib/rotate-certs/rotations/*/backup/*' \
			`+notWatched()+` -exec sh -c 'for f; do cat "$f" || [ ! -e "$f" ] || exit 1; done' sh {} +`))
		for path := range after[n.Name] {
			if _, known := before[n.Name][path]; !known && !kubeletsOwn.MatchString(path) {
				assert.Failf(t, "a file was left behind", "%s on %s", path, n.Name)
			}
		}
	}
	for what, text := range said {
		require.NotEmpty(t, text, what)
		for _, secrets := range []map[string]tree{before, after} {
			assertHoldsNoKey(t, text, secrets)
		}
	}
}

// kubeletsOwn are the files of which the kubelet keeps one for each of its certificates.
var kubeletsOwn = regexp.MustCompile(`/kubelet-(client|server)-[0-9-]+\.pem$`)

// notWatched leaves the watched directories out of a find.
func notWatched() string {
	var out strings.Builder
	for _, dir := range strings.Fields(watched) {
		out.WriteString(" ! -path '/" + dir + "/*'")
	}
	return out.String()
}

// listenToPods keeps the spec and the whole log of every node pod that there is until
// the returned function is called.
func (l *lab) listenToPods(t *testing.T) func() string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pods := l.client.CoreV1().Pods("kube-system")
	watching, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=rotate-certs"})
	require.NoError(t, err)
	captured := &lockedBuffer{}
	var all sync.WaitGroup
	all.Go(func() {
		listening := map[string]bool{}
		for event := range watching.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			spec, _ := json.Marshal(pod)
			_, _ = captured.Write(append(spec, '\n'))
			if pod.Status.Phase != corev1.PodRunning || listening[pod.Name] {
				continue
			}
			listening[pod.Name] = true
			all.Go(func() {
				// It breaks when the API server restarts; what was read until then counts.
				if log, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx); err == nil {
					_, _ = io.Copy(captured, log)
					_ = log.Close()
				}
			})
		}
	})
	return func() string {
		watching.Stop()
		cancel()
		all.Wait()
		return captured.String()
	}
}
