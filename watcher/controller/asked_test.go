package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/events"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

func asksFor(services ...certs.Service) event.RotationAsked {
	return event.RotationAsked{Services: services, Cluster: "staging", User: "jane\x1b[31m"}
}

func TestRotationIsCreatedForAnotherClusterOnce(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	policy := renewal.Default()
	policy.FleetServices = []certs.Service{certs.Kubelet, certs.Etcd}
	d.UsePolicy(&policy)
	recorder := events.NewFakeRecorder(10)
	d.Recorder = recorder
	for range 3 {
		require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet, certs.Etcd), "one"))
	}
	require.Len(t, w.rotations(), 1, "the same id is the same request")
	rotation := w.rotations()[0]
	assert.Equal(t, event.AskedName("staging", "one"), rotation.Name)
	assert.Equal(t, []certs.Service{certs.Etcd, certs.Kubelet}, rotation.Spec.Services)
	assert.Nil(t, rotation.Spec.Trigger, "the policy does not hold it up")
	assert.Equal(t, "jane [31m of cluster staging", rotation.Annotations[v1alpha1.RequestedByAnnotation])
	require.Len(t, w.events.published, 1)
	answer, is := w.events.published[0].(event.RotationAsked)
	require.True(t, is)
	assert.Equal(t, rotation.Name, answer.Rotation)
	assert.Equal(t, "one", answer.Request)
	assert.Contains(t, <-recorder.Events, "RequestedByUser asked for by jane")

	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "two"))
	assert.Len(t, w.rotations(), 1)
	line := <-recorder.Events
	assert.Contains(t, line, "Warning RequestRefused")
	assert.Contains(t, line, "of cluster staging asked for kubelet: refused, a rotation that was asked for has not ended")
}

func TestRequestOfAnotherClusterIsRefusedByDefault(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	recorder := events.NewFakeRecorder(10)
	d.Recorder = recorder
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	assert.Empty(t, w.rotations())
	require.Len(t, w.events.published, 1)
	answer, is := w.events.published[0].(event.RotationAsked)
	require.True(t, is)
	assert.Contains(t, answer.Refused, "fleetRequests.services")
	assert.Empty(t, answer.Rotation)
	assert.True(t, strings.HasPrefix(<-recorder.Events, "Warning RequestRefused"))
}

// TestRotationThatIsNotCachedYetCounts: two requests within a moment start one rotation.
func TestRotationThatIsNotCachedYetCounts(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	policy := renewal.Default()
	policy.FleetServices = []certs.Service{certs.Kubelet}
	d.UsePolicy(&policy)
	d.lastAsked = renewal.Asked{Created: d.Now(), Open: true}
	d.lastAskedName = event.AskedName("staging", "zero")
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "zero"))
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	assert.Empty(t, w.rotations())
	d.lastAsked.Created = d.Now().Add(-time.Hour)
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "two"))
	assert.Len(t, w.rotations(), 1)
}
