package pages

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

func TestStateOfAUserWhoMaySeeAll(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": admin})
	source, _ := newSource(t, s, nil)
	state, err := clusterOf(t, source, "jane").State(t.Context())
	require.NoError(t, err)
	assert.Empty(t, state.NotRead)
	assert.Equal(t, "v1.37.2", state.Version)
	assert.Equal(t, 2, state.Nodes)
	require.Len(t, state.Certificates.Items, 1)
	assert.Equal(t, certs.OK, state.Certificates.Items[0].Status)
	assert.Len(t, state.Rotations, 1)
	assert.Len(t, state.Marks, 1)
	assert.Equal(t, "cp1: etcd waits for Sunday", state.Watcher.Due[0].Node+": "+state.Watcher.Due[0].Message)
	require.Len(t, state.Watcher.WithoutReport, 1)
	assert.Equal(t, "w1: never reported", state.Watcher.WithoutReport[0].Node+": "+state.Watcher.WithoutReport[0].Reason)
	assert.Equal(t, "auto-1", state.Watcher.Rotations[0].Name)
	assert.NotNil(t, state.Watcher.Policy)
	assert.NotContains(t, state.Denied, dashboard.RightRotate)
	assert.NotContains(t, state.Denied, dashboard.RightMark)
	assert.Contains(t, state.Denied[dashboard.RightScan], "starts no pods")
	assert.Contains(t, state.Denied[dashboard.RightDeleteMark], "deletes nothing")
}

// TestStateShowsNothingWithoutPermission: each part by the permission for its kind.
func TestStateShowsNothingWithoutPermission(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"nothing": nil, "reports": {"list nodecertificatereports"}, "nodes": {"list nodes"}, "viewer": viewer})
	source, _ := newSource(t, s, nil)
	state, err := clusterOf(t, source, "nothing").State(t.Context())
	require.NoError(t, err)
	assert.Nil(t, state.Certificates)
	assert.Empty(t, state.Rotations)
	assert.Empty(t, state.Marks)
	assert.Nil(t, state.Holder)
	assert.Nil(t, state.Watcher.Policy)
	assert.Empty(t, state.Watcher.Due)
	assert.Empty(t, state.Watcher.WithoutReport)
	assert.Zero(t, state.Nodes)
	assert.True(t, state.Observed.IsZero())
	assert.Len(t, state.NotRead, 6)
	assert.Contains(t, strings.Join(state.NotRead, "\n"), "certificates: missing permission: list nodecertificatereports.rotate-certs.io")
	assert.Contains(t, state.Denied[dashboard.RightRotate], "create certificaterotations.rotate-certs.io")
	assert.Equal(t, "missing permissions: create compromisedcertificates.rotate-certs.io", state.Denied[dashboard.RightMark])

	state, err = clusterOf(t, source, "reports").State(t.Context())
	require.NoError(t, err)
	assert.NotNil(t, state.Certificates)
	assert.Zero(t, state.Nodes)
	assert.Empty(t, state.Watcher.WithoutReport, "which nodes there are")
	assert.Empty(t, state.Watcher.Rotations)

	state, err = clusterOf(t, source, "nodes").State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, state.Nodes)
	assert.Nil(t, state.Certificates)
	assert.Empty(t, state.Watcher.WithoutReport, "which nodes report")

	s.setRights("viewer", nil)
	state, err = clusterOf(t, source, "viewer").State(t.Context())
	require.NoError(t, err)
	assert.Nil(t, state.Certificates, "a permission that is withdrawn has no effect any more")

	s.down = true
	_, err = clusterOf(t, source, "viewer").State(t.Context())
	assert.Error(t, err, "without a review nothing is shown")
}

func TestNotifyOnlyWatcherOffersNoRotation(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": admin})
	source, _ := newSource(t, s, func(s *Source) { s.NotifyOnly = true })
	c := clusterOf(t, source, "jane")
	state, err := c.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, notifyOnly, state.Denied[dashboard.RightRotate])
	assert.True(t, state.Watcher.Watcher.NotifyOnly)
	_, err = c.Plan(t.Context(), dashboard.Choice{})
	assert.ErrorContains(t, err, notifyOnly)
}

func TestNoPodIsStarted(t *testing.T) {
	source, _ := newSource(t, newAPIServer(t, nil), nil)
	c := clusterOf(t, source, "jane")
	_, scan := c.Scan(t.Context())
	_, rotations := c.Rotations(t.Context())
	_, records := c.Records(t.Context(), "x")
	for _, err := range []error{scan, rotations, records} {
		assert.ErrorIs(t, err, errNoPods)
	}
	assert.ErrorIs(t, c.DeleteMark(t.Context(), "x"), errDeletesNothing)
	_, err := source.ClustersOf(dashboard.User{Name: "jane"}).Open("other")
	assert.Error(t, err)
}
