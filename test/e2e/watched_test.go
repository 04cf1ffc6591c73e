//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// rotations are the objects, oldest first; none while the API server is unavailable.
func (l *lab) rotations(t *testing.T) []v1alpha1.CertificateRotation {
	t.Helper()
	var list v1alpha1.CertificateRotationList
	_ = l.list(t, "certificaterotations", &list)
	slices.SortStableFunc(list.Items, func(a, b v1alpha1.CertificateRotation) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return list.Items
}

// list reads all objects of a kind. It is asked often, so it starts no kubectl.
func (l *lab) list(t *testing.T, kind string, into any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	text, err := l.client.Discovery().RESTClient().Get().AbsPath("/apis/rotate-certs.io/v1alpha1/" + kind).DoRaw(ctx)
	if err == nil {
		require.NoError(t, json.Unmarshal(text, into), "%s", text)
	}
	return err
}

// publishedEvent is one event, as consumers receive it.
type publishedEvent struct {
	kind, node string
	rotation   string // the name of the object, where it is about one
}

// events are all published events, oldest first; none while the watcher is unavailable.
func (l *lab) events(t *testing.T) []publishedEvent {
	t.Helper()
	var out []publishedEvent
	for line := range strings.Lines(l.kubectl(t, "rotate-certs", "events", "-o", "json").stdout) {
		var e struct {
			Type string
			Data struct{ Node, Name string }
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		one := publishedEvent{kind: strings.TrimSuffix(strings.TrimPrefix(e.Type, "io.rotate-certs."), ".v1"), node: e.Data.Node}
		if strings.HasPrefix(one.kind, "rotation.") {
			one.rotation = e.Data.Name
		}
		out = append(out, one)
	}
	return out
}

// eventKinds are the types of the events about a node or the whole cluster, oldest first.
func (l *lab) eventKinds(t *testing.T, node string) []string {
	t.Helper()
	var out []string
	for _, e := range l.events(t) {
		if e.node == "" || e.node == node {
			out = append(out, e.kind)
		}
	}
	return out
}

// metrics are those of the watcher that leads, as a node reads them with the token of
// deploy/monitoring/reader.yaml.
func (l *lab) metrics(t *testing.T) string {
	t.Helper()
	reader, err := filepath.Abs("../../deploy/monitoring/reader.yaml")
	require.NoError(t, err)
	require.Zero(t, l.kubectl(t, "apply", "-f", reader).exit)
	defer l.kubectl(t, "delete", "-f", reader, "--wait=false")
	token := l.kubectl(t, "create", "token", "rotate-certs-metrics", "-n", "rotate-certs")
	require.Zero(t, token.exit, "%s", token)
	pod := l.kubectl(t, "get", "pod", l.leader(t), "-n", "rotate-certs", "-o", "jsonpath={.status.podIP}")
	require.Zero(t, pod.exit, "%s", pod)
	url := "https://" + net.JoinHostPort(pod.stdout, "8443") + "/metrics"
	from := l.controlPlanes()[0].Name
	refused := l.on(t, from, "curl -sk --max-time 30 -o /dev/null -w '%{http_code}' "+url)
	require.Equal(t, "401", string(refused), "without a token")
	var text []byte
	// API servers know of a new right a moment later.
	within(t, time.Minute, "metrics", func() bool {
		text, err = l.try(t.Context(), from, "curl -sfk --max-time 30 -H 'Authorization: Bearer "+strings.TrimSpace(token.stdout)+"' "+url)
		return err == nil
	})
	return string(text)
}

// leader is the pod of the watcher that does the work.
func (l *lab) leader(t *testing.T) string {
	t.Helper()
	var name string
	within(t, 2*time.Minute, "a leader", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		lease, err := l.client.CoordinationV1().Leases("rotate-certs").Get(ctx, "rotate-certs-watcher", metav1.GetOptions{})
		if err == nil && lease.Spec.HolderIdentity != nil {
			name = *lease.Spec.HolderIdentity
		}
		return name != ""
	})
	return name
}
