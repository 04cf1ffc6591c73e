package dashboard

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// TestServeWaitsForScansToRemoveTheirPods: interrupted calls end before the process does.
func TestServeWaitsForScansToRemoveTheirPods(t *testing.T) {
	interrupted := make(chan struct{}, 2)
	removed := make(chan struct{})
	remove := func(ctx context.Context) error {
		<-ctx.Done()
		interrupted <- struct{}{}
		<-removed
		return ctx.Err()
	}
	cluster := &fakeCluster{
		scan: func(ctx context.Context) (v1alpha1.CertificateList, error) {
			return v1alpha1.CertificateList{}, remove(ctx)
		},
		plan: func(ctx context.Context, _ Choice) (Plan, error) { return Plan{}, remove(ctx) },
	}
	lines := make(chan string, 10)
	options := fixedOptions(oneCluster(cluster))
	options.Report = func(line string) { lines <- line }
	ts := startServer(t, options)
	b := ts.signIn()
	b.post("/clusters/prod/scan", "")
	b.post("/clusters/prod/plans", "scope=all&restart=always")
	require.Eventually(t, func() bool {
		ts.Server.open.mu.Lock()
		defer ts.Server.open.mu.Unlock()
		return ts.Server.open.count >= 2
	}, 20*time.Second, time.Millisecond)
	ts.stop()
	<-interrupted
	<-interrupted
	assert.Contains(t, <-lines, "remove their pods")
	select {
	case err := <-ts.ended:
		t.Fatalf("Serve returned before the pods were removed: %v", err)
	default:
	}
	close(removed)
	require.NoError(t, <-ts.ended)
	_, err := trackCall(ts.Server.open, func(context.Context) (int, error) { return 1, nil })(t.Context())
	assert.ErrorIs(t, err, errStopping)
}
