package pages

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// TestRotationIsAskedForByUsersWithThePermission, of clusters whose watchers run.
func TestRotationIsAskedForByUsersWithThePermission(t *testing.T) {
	asker := append([]string{"ask certificaterotations"}, viewer...)
	s := newAPIServer(t, map[string][]string{"jane": asker, "joe": starter})
	stopped := summaryOf(t, "stopped", nil)
	stopped.Written = noon.Add(-v1alpha1.FreshFor(v1alpha1.SummaryHeartbeat) - 1)
	type request struct {
		cluster string
		asked   event.RotationAsked
	}
	var sent []request
	failure := error(nil)
	source, _ := newSource(t, s, func(source *Source) {
		source.OtherClusters = NewOtherClusters("prod", sharing{
			stored: []bus.StoredSummary{summaryOf(t, "a b&c", nil), stopped, {Token: "garbage", Written: noon}},
			ask: func(cluster string, asked event.RotationAsked) (string, error) {
				sent = append(sent, request{cluster, asked})
				return "ID7", failure
			},
		}, source.Now)
	})
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)
	jane := newVisitor(t, server.URL)
	_, _, body := jane.post("/sign-in", "token=token-of-jane")
	assert.Contains(t, body, `<a href="/ask?cluster=a&#43;b%26c">`)
	assert.NotContains(t, body, "cluster=stopped")
	assert.NotContains(t, body, "cluster=garbage")
	const path = "/ask?cluster=a+b%26c"
	status, _, body := jane.get(path)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "Ask a b&amp;c for this rotation")
	for form, want := range map[string]int{"": http.StatusBadRequest, "service=ssh": http.StatusBadRequest} {
		status, _, _ = jane.post(path, form)
		assert.Equal(t, want, status, form)
	}
	for _, other := range []string{"stopped", "garbage", "prod", "unknown", ""} {
		status, _, _ = jane.post("/ask?cluster="+other, "service=etcd")
		assert.Equal(t, http.StatusNotFound, status, other)
	}
	require.Empty(t, sent)
	status, _, body = jane.post(path, "service=kubelet&service=etcd")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "The request is ID7")
	require.Equal(t, []request{{"a b&c", event.RotationAsked{Services: []certs.Service{certs.Etcd, certs.Kubelet}, User: "jane"}}}, sent)
	assert.Empty(t, s.objects(), "nothing is created in this cluster")
	failure = errors.New("NATS is unavailable")
	status, _, body = jane.post(path, "service=etcd")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, body, "NATS is unavailable")

	sent = nil
	joe := newVisitor(t, server.URL)
	_, _, body = joe.post("/sign-in", "token=token-of-joe")
	assert.Contains(t, body, "Asking for a rotation is not possible: missing permissions: ask certificaterotations.rotate-certs.io")
	assert.NotContains(t, body, "/ask?")
	status, _, _ = joe.post(path, "service=etcd")
	assert.Equal(t, http.StatusForbidden, status)
	_, err := source.ClustersOf(dashboard.User{Name: "joe"}).(dashboard.OtherClusters).AskRotation(t.Context(), "a b&c", []certs.Service{certs.Etcd})
	require.ErrorContains(t, err, "missing permissions: ask")
	assert.Empty(t, sent)
}

func TestNoRotationIsAskedForWithoutSharing(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": append([]string{"ask certificaterotations"}, viewer...)})
	source, _ := newSource(t, s, nil)
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)
	jane := newVisitor(t, server.URL)
	_, _, _ = jane.post("/sign-in", "token=token-of-jane")
	status, _, _ := jane.post("/ask?cluster=a", "service=etcd")
	assert.Equal(t, http.StatusNotFound, status)
}
