//go:build unix

package dashboard

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// processorTime returns what this process has used of it so far. Programs that run beside the
// test add nothing to it, as they would to the time of day.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestLargeClustersAreShownInWindows(t *testing.T) {
	list := v1alpha1.CertificateList{}
	for n := range 10000 {
		list.Items = append(list.Items, v1alpha1.Certificate{Node: fmt.Sprintf("w%04d", n/2), Service: certs.Services()[n%2], Name: "c", Path: "/p", Status: certs.OK,
			Facts: certs.Facts{NotAfter: testNow.AddDate(0, 0, n%700), FingerprintSHA256: fmt.Sprintf("%064x", n)}})
	}
	cluster := &fakeCluster{state: func(context.Context) (State, error) {
		return State{Nodes: 5000, Certificates: &list, Observed: testNow}, nil
	}}
	b := startServer(t, fixedOptions(oneCluster(cluster))).signIn()
	b.get("/clusters/prod") // what is computed once
	before := processorTime(t)
	page := b.get("/clusters/prod")
	took := processorTime(t) - before
	t.Logf("%s, %d bytes", took, len(page.body))
	assert.Less(t, took, time.Second)
	assert.Equal(t, windowSize, strings.Count(page.body, "<summary>Details</summary>"))
	assert.Contains(t, page.body, "1–200 of 10000")
	assert.Less(t, len(page.body), 1<<20)
	assert.Contains(t, b.get("/clusters/prod?page=50").body, "9801–10000 of 10000")
	assert.Contains(t, b.get("/clusters/prod?page=99").body, "9801–10000 of 10000")
	assert.Contains(t, b.get("/clusters/prod?node=w0007").body, "1–2 of 2")
	assert.Contains(t, b.get("/clusters/prod?q=nothing").body, "No certificate matches")
}
