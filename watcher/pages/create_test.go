package pages

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const rotationPath = "/apis/rotate-certs.io/v1alpha1/certificaterotations/dashboard-x7k2p"

func annotationOf(object map[string]any) any {
	return object["metadata"].(map[string]any)["annotations"].(map[string]any)["rotate-certs.io/requested-by"]
}

func TestRotationIsCreatedForItsUser(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": starter})
	source, recorder := newSource(t, s, nil)
	planned, err := clusterOf(t, source, "jane").Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Restart: plan.RestartIfNeeded, Compromised: true})
	require.NoError(t, err)
	assert.True(t, planned.ByWatcher)
	assert.True(t, planned.Document.FromReports)
	require.Len(t, planned.Document.Steps, 1)
	assert.Equal(t, "kubectl rotate-certs --service etcd --node cp1 --restart if-needed --compromised", planned.Command)
	assert.Empty(t, s.objects(), "a plan changes nothing")

	var shown []string
	report, err := planned.Run(t.Context(), func(p fleet.Progress) {
		shown = append(shown, p.Text)
		if p.Phase == fleet.PhaseStarting {
			s.setStatus(rotationPath, v1alpha1.StateSucceeded, "done and verified")
		}
	})
	require.NoError(t, err)
	assert.Equal(t, []string{`created CertificateRotation "dashboard-x7k2p", which the watcher carries out`}, shown)
	assert.Equal(t, v1alpha1.Succeeded, report.Result)
	created := s.objects()[rotationPath]
	assert.Equal(t, "jane", annotationOf(created))
	assert.Equal(t, map[string]any{"services": []any{"etcd"}, "nodes": []any{"cp1"}, "restart": "IfNeeded", "compromised": true}, created["spec"])
	require.Len(t, recorder.Events, 1)
	assert.Contains(t, nextEvent(t, recorder), "Normal RequestedByUser requested in the dashboard by jane")

	_, err = planned.Run(t.Context(), func(fleet.Progress) {})
	assert.ErrorIs(t, err, errPlanUsed)
	assert.Len(t, s.objects(), 1)
}

// TestRotationNeedsThePermissionWhenItBegins: it may have been withdrawn since the plan.
func TestRotationNeedsThePermissionWhenItBegins(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": starter, "joe": viewer})
	source, recorder := newSource(t, s, nil)
	_, err := clusterOf(t, source, "joe").Plan(t.Context(), dashboard.Choice{})
	require.Error(t, err)
	assert.Contains(t, hint.TextOf(err), "missing permissions: create certificaterotations.rotate-certs.io\nhint: an administrator can bind the ClusterRole rotate-certs:start to joe")

	planned, err := clusterOf(t, source, "jane").Plan(t.Context(), dashboard.Choice{})
	require.NoError(t, err)
	s.setRights("jane", viewer)
	report, err := planned.Run(t.Context(), func(fleet.Progress) {})
	require.ErrorIs(t, err, dashboard.ErrNotBegun)
	assert.Nil(t, report)
	assert.Empty(t, s.objects())
	assert.Empty(t, recorder.Events)
}

// TestRotationIsFollowedAsLongAsItsUserMay.
func TestRotationIsFollowedAsLongAsItsUserMay(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": starter})
	source, _ := newSource(t, s, nil)
	planned, err := clusterOf(t, source, "jane").Plan(t.Context(), dashboard.Choice{})
	require.NoError(t, err)
	report, err := planned.Run(t.Context(), func(p fleet.Progress) {
		if p.Phase == fleet.PhaseStarting {
			s.setRights("jane", nil)
		}
	})
	require.ErrorIs(t, err, dashboard.ErrNotFollowed)
	assert.Nil(t, report)
	assert.Contains(t, err.Error(), "the watcher continues it")
}

func TestPlanShowsNodesToUsersWhoMayListThem(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": admin, "joe": starter})
	source, _ := newSource(t, s, nil)
	seen, err := clusterOf(t, source, "jane").Plan(t.Context(), dashboard.Choice{})
	require.NoError(t, err)
	require.Len(t, seen.Document.NotInspected, 1)
	assert.Equal(t, "w1", seen.Document.NotInspected[0].Node)
	hidden, err := clusterOf(t, source, "joe").Plan(t.Context(), dashboard.Choice{})
	require.NoError(t, err)
	assert.Empty(t, hidden.Document.NotInspected)
	assert.Equal(t, "kubectl rotate-certs --all", hidden.Command)
	for user, says := range map[string]string{"jane": "no node has a fresh", "joe": `no agent reports of a node "w1"`} {
		_, err := clusterOf(t, source, user).Plan(t.Context(), dashboard.Choice{Nodes: []string{"w1"}})
		require.Error(t, err, user)
		assert.Contains(t, strings.Replace(err.Error(), "plan without a scan: no node in scope has a fresh", "no node has a fresh", 1), says)
	}
}

func TestMarkIsCreatedForItsUser(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": responder, "joe": starter})
	source, recorder := newSource(t, s, nil)
	mark := dashboard.Mark{Service: certs.Etcd, Nodes: []string{"cp1"}, Fingerprint: strings.Repeat("ab", 32), Reason: " backup leaked "}
	err := clusterOf(t, source, "joe").MarkCompromised(t.Context(), mark)
	require.Error(t, err)
	assert.Contains(t, hint.TextOf(err), "rotate-certs:incident-responder to joe")
	for _, wrong := range []dashboard.Mark{{Service: certs.Admin, Reason: "x"}, {Service: certs.Etcd, Nodes: []string{"w1"}, Reason: "x"}, {Service: certs.Etcd, Fingerprint: "00", Reason: "x"}} {
		assert.ErrorContains(t, clusterOf(t, source, "jane").MarkCompromised(t.Context(), wrong), "no reported certificate matches")
	}
	assert.Empty(t, s.objects())

	require.NoError(t, clusterOf(t, source, "jane").MarkCompromised(t.Context(), mark))
	created := s.objects()["/apis/rotate-certs.io/v1alpha1/compromisedcertificates/etcd-x7k2p"]
	require.NotNil(t, created)
	assert.Equal(t, "jane", annotationOf(created))
	assert.Equal(t, map[string]any{"service": "etcd", "nodes": []any{"cp1"}, "fingerprint": strings.Repeat("ab", 32), "reason": "backup leaked"}, created["spec"])
	assert.Contains(t, nextEvent(t, recorder), "requested in the dashboard by jane")
}
