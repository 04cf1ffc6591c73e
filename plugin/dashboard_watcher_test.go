package plugin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const (
	rotationsPath = "/apis/rotate-certs.io/v1alpha1/certificaterotations/"
	createdPath   = rotationsPath + "dashboard-x7k2p"
	reportsPath   = "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/"
)

// watchedCluster is a cluster with simulated nodes whose objects are those of an API server in memory,
// which has the watcher.
func watchedCluster(t *testing.T, f *fake, s *apiServerFake) dashboard.Cluster {
	t.Helper()
	writeKubeconfigs(t, s.URL, s.URL)
	a := f.app(genericiooptions.NewTestIOStreamsDiscard())
	a.hurry = true
	a.survey, a.readReports = a.surveyWatcher, a.storedReports
	c, err := dashboardOf(t, a, nil).Open("b-test")
	require.NoError(t, err)
	return c
}

// become sets the status of the rotation that the dashboard has created.
func (s *apiServerFake) becomeState(t *testing.T, state v1alpha1.RotationState, message string, nodes ...string) {
	t.Helper()
	succeeded := map[v1alpha1.RotationState]string{v1alpha1.StateSucceeded: "True", v1alpha1.StateRunning: "Unknown", v1alpha1.StatePending: "Unknown"}[state]
	if succeeded == "" {
		succeeded = "False"
	}
	status := map[string]any{"rotationID": "abc123", "startTime": "2026-11-24T12:00:01Z",
		"conditions": []any{map[string]any{"type": "Succeeded", "status": succeeded, "reason": string(state), "message": message}}}
	var all []any
	for _, n := range nodes {
		words := strings.SplitN(n, " ", 3)
		all = append(all, map[string]any{"node": words[0], "phase": words[1], "message": words[2]})
	}
	status["nodes"] = all
	s.Lock()
	defer s.Unlock()
	require.NotNil(t, s.objects[createdPath])
	s.objects[createdPath]["status"] = status
}

// TestWatcherCarriesThePlanOut: each answer of the watcher follows what the dashboard has shown.
func TestWatcherCarriesThePlanOut(t *testing.T) {
	s := installed(t)
	f := healthy()
	c := watchedCluster(t, f, s)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.KubeAPIServer}, Nodes: []string{"cp1"}, Restart: plan.RestartIfNeeded, Compromised: true})
	require.NoError(t, err)
	assert.True(t, planned.ByWatcher)
	assert.False(t, planned.Document.FromReports)
	assert.Contains(t, planned.Notes, watched.PlansAgain)
	assert.True(t, f.did("permissions for check"))
	assert.False(t, f.did("permissions for rotate"), "the watcher needs them: %v", f.log)
	s.add(t, reportsPath+"cp1", strings.ReplaceAll(cp1Report, apiserverPrint, strings.Repeat("ab", 32)))

	var shown []string
	report, err := planned.Run(t.Context(), func(p fleet.Progress) {
		line := strings.TrimSpace(p.Node + " " + string(p.Phase) + ": " + p.Text)
		shown = append(shown, line)
		switch line {
		case `starting: created CertificateRotation "dashboard-x7k2p", which the watcher carries out`:
			s.becomeState(t, v1alpha1.StatePending, "waiting for rotation \"auto-2\"")
		case `waiting: pending: waiting for rotation "auto-2"`:
			s.becomeState(t, v1alpha1.StateRunning, "in progress", "cp1 Working replacing files")
		case "cp1 working: replacing files":
			s.becomeState(t, v1alpha1.StateSucceeded, "done and verified", "cp1 Verified replaced · restarted kube-apiserver")
		}
	})
	require.NoError(t, err)
	assert.Equal(t, "cp1 verified: replaced · restarted kube-apiserver", shown[len(shown)-1])
	assert.Len(t, shown, 4, "%v", shown)
	assert.Equal(t, `{"compromised":true,"nodes":["cp1"],"restart":"IfNeeded","services":["kube-apiserver"]}`, flat(s.objects[createdPath]["spec"]))
	assert.Equal(t, []string{"create " + strings.TrimSuffix(rotationsPath, "/")}, s.log)
	assert.False(t, f.did("lock") || f.did("open"), "this process does nothing: %v", f.log)

	assert.Equal(t, "abc123", report.ID)
	assert.Equal(t, v1alpha1.Succeeded, report.Result)
	require.Len(t, report.Items, 1)
	assert.Equal(t, v1alpha1.Succeeded, report.Items[0].Result)
	renewed := map[string]*v1alpha1.CertificateRef{}
	for _, certificate := range report.Items[0].Certificates {
		renewed[certificate.Name] = certificate.New
	}
	require.NotNil(t, renewed["apiserver"])
	assert.Equal(t, strings.Repeat("ab", 32), renewed["apiserver"].FingerprintSHA256)
	assert.Contains(t, renewed, "apiserver-etcd-client")
	assert.Nil(t, renewed["apiserver-etcd-client"], "no agent has reported it")
	assert.Equal(t, "the agent has not reported the new certificate yet: apiserver-etcd-client", strings.ReplaceAll(report.Items[0].Reason, "apiserver-kubelet-client, ", ""))
	assert.Equal(t, "done and verified", report.Message)

	_, err = planned.Run(t.Context(), ignoreProgress)
	assert.ErrorIs(t, err, errPlanUsed)
}

func TestWatcherPlansFromReportsWithoutPods(t *testing.T) {
	s := installed(t)
	f := healthy()
	f.denied = &kube.MissingPermissionsError{Use: kube.UseCheck, Missing: []string{"create pods"}}
	c := watchedCluster(t, f, s)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.KubeAPIServer}})
	require.NoError(t, err)
	assert.True(t, planned.ByWatcher)
	assert.True(t, planned.Document.FromReports)
	assert.Contains(t, planned.Notes[0], "You may not create pods")
	assert.Contains(t, planned.Notes, watched.PlansAgain)
	assert.False(t, f.did("scan"), "%v", f.log)
	require.Len(t, planned.Document.Steps, 1)
	assert.Equal(t, "apiserver", planned.Document.Steps[0].Certificates[0].Name)
}

func TestRotationOfTheWatcherThatDoesNotSucceed(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(*testing.T, *apiServerFake)
		says   string
		is     error
		result v1alpha1.Result
		item   v1alpha1.Result
	}{
		"rolled back": {func(t *testing.T, s *apiServerFake) {
			s.becomeState(t, v1alpha1.StateRolledBack, "etcd did not become healthy", "cp1 Undone old certificates are in use")
		}, "etcd did not become healthy", nil, v1alpha1.RolledBack, v1alpha1.RolledBack},
		"unknown": {func(t *testing.T, s *apiServerFake) {
			s.becomeState(t, v1alpha1.StateManualInterventionRequired, "cp1: state unknown", "cp1 Failed state unknown")
		}, "cp1: state unknown", fleet.ErrManualInterventionRequired, v1alpha1.Failed, v1alpha1.Failed},
		"refused": {func(t *testing.T, s *apiServerFake) {
			s.becomeState(t, v1alpha1.StateRefused, "the API server refuses the node pods")
		}, "the API server refuses the node pods", nil, v1alpha1.Failed, v1alpha1.Skipped},
		"deleted": {func(_ *testing.T, s *apiServerFake) { s.Lock(); s.remove(createdPath); s.Unlock() }, `CertificateRotation "dashboard-x7k2p" was deleted`, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			c := watchedCluster(t, healthy(), s)
			planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}})
			require.NoError(t, err)
			report, err := planned.Run(t.Context(), func(p fleet.Progress) {
				if p.Phase == fleet.PhaseStarting {
					tt.end(t, s)
				}
			})
			require.Error(t, err)
			assert.Contains(t, hint.TextOf(err), tt.says)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
			if tt.result == "" {
				assert.Nil(t, report)
				return
			}
			assert.Equal(t, tt.result, report.Result)
			assert.Equal(t, tt.item, report.Items[0].Result)
			assert.Nil(t, report.Items[0].Certificates[0].New)
		})
	}
}

// TestWatcherContinuesWhereTheDashboardEnds: its rotation is not the dashboard's to interrupt.
func TestWatcherContinuesWhereTheDashboardEnds(t *testing.T) {
	s := installed(t)
	c := watchedCluster(t, healthy(), s)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	ctx, stop := context.WithCancelCause(t.Context())
	_, err = planned.Run(ctx, func(fleet.Progress) { stop(fleet.ErrInterrupted) })
	require.Error(t, err)
	assert.ErrorIs(t, err, dashboard.ErrNotFollowed)
	assert.ErrorIs(t, err, fleet.ErrInterrupted)
	assert.Contains(t, hint.TextOf(err), "the watcher continues it\nhint: kubectl get certificaterotation dashboard-x7k2p shows it; to cancel it: kubectl delete certificaterotation dashboard-x7k2p")
	assert.NotEmpty(t, s.paths(createdPath))
}

func TestWatcherThatDoesNotRotate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*testing.T, *apiServerFake)
		note   string
	}{
		"not ready": {func(_ *testing.T, s *apiServerFake) {
			s.objects["/apis/apps/v1/namespaces/rotate-certs/deployments/rotate-certs-watcher"]["status"] = map[string]any{}
		}, "The watcher is not ready, so this process carries the rotation out."},
		"unknown": {func(_ *testing.T, s *apiServerFake) {
			s.forbidden = []string{"list deployments", "list nodecertificatereports", "list compromisedcertificates", "list certificaterotations", "get rotationpolicies"}
		}, "Whether the watcher is installed is unknown (missing permission: list deployments.apps and daemonsets.apps), so this process carries the rotation out; the lock keeps both from working at once."},
		"notify-only": {func(t *testing.T, s *apiServerFake) {
			code, _, stderr := s.run(t, "install", "--notify-only")
			require.Zero(t, code, stderr)
		}, "The watcher is notify-only, so this process carries the rotation out."},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			tt.change(t, s)
			f := healthy()
			planned, err := watchedCluster(t, f, s).Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
			require.NoError(t, err)
			assert.False(t, planned.ByWatcher)
			require.NotEmpty(t, planned.Notes)
			assert.Contains(t, planned.Notes[0], tt.note)
			_, err = planned.Run(t.Context(), ignoreProgress)
			require.NoError(t, err)
			assert.True(t, f.did("Commit cp1"))
			assert.Empty(t, s.paths(createdPath))
		})
	}
}

func TestRotationThatMayNotBeCreated(t *testing.T) {
	s := installed(t)
	s.forbidden = []string{"create certificaterotations"}
	planned, err := watchedCluster(t, healthy(), s).Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	report, err := planned.Run(t.Context(), ignoreProgress)
	require.Error(t, err)
	assert.Nil(t, report)
	assert.ErrorIs(t, err, dashboard.ErrNotBegun)
	assert.Contains(t, hint.TextOf(err), "hint: an administrator can bind the ClusterRole rotate-certs:start to you, or run: kubectl rotate-certs --context b-test --service etcd")
}

func TestLockIsReadBeforeTheWatcherIsAsked(t *testing.T) {
	s := installed(t)
	f := healthy()
	planned, err := watchedCluster(t, f, s).Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	f.heldNow = &kube.HeldError{Holder: "jane@laptop"}
	_, err = planned.Run(t.Context(), ignoreProgress)
	var held *kube.HeldError
	require.True(t, errors.As(err, &held))
	assert.Contains(t, err.Error(), "jane@laptop")
	assert.Empty(t, s.paths(createdPath))
}

// TestRotationOfTheWatcherIsNotFollowedForever: the watcher has it, whatever this process reads.
func TestRotationOfTheWatcherIsNotFollowedForever(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*testing.T, *apiServerFake)
		says   string
	}{
		"suspended": {func(t *testing.T, s *apiServerFake) {
			s.becomeState(t, v1alpha1.StateSuspended, "suspended")
			s.Lock()
			defer s.Unlock()
			s.objects[createdPath]["spec"].(map[string]any)["suspend"] = true
		}, "it is suspended; the watcher continues it once spec.suspend is false\nhint: kubectl get certificaterotation dashboard-x7k2p"},
		"a right was withdrawn": {func(_ *testing.T, s *apiServerFake) {
			s.Lock()
			defer s.Unlock()
			s.forbidden = []string{"get certificaterotations"}
		}, "; the watcher continues it\nhint: kubectl get certificaterotation dashboard-x7k2p"},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			planned, err := watchedCluster(t, healthy(), s).Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
			require.NoError(t, err)
			report, err := planned.Run(t.Context(), func(p fleet.Progress) {
				if p.Phase == fleet.PhaseStarting {
					tt.change(t, s)
				}
			})
			require.ErrorIs(t, err, dashboard.ErrNotFollowed)
			assert.Nil(t, report)
			assert.Contains(t, hint.TextOf(err), tt.says)
		})
	}
}

// TestRestartedServerRefusesForAWhile: until an API server that has restarted has read the roles, it
// refuses what is permitted.
func TestRestartedServerRefusesForAWhile(t *testing.T) {
	s := installed(t)
	planned, err := watchedCluster(t, healthy(), s).Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.KubeAPIServer}})
	require.NoError(t, err)
	refused := 0
	s.onRefuse = func() {
		if refused++; refused == 3 {
			s.forbidden = nil
		}
	}
	_, err = planned.Run(t.Context(), func(p fleet.Progress) {
		if p.Phase == fleet.PhaseStarting {
			s.becomeState(t, v1alpha1.StateSucceeded, "done and verified")
			s.Lock()
			defer s.Unlock()
			s.forbidden = []string{"get certificaterotations"}
		}
	})
	require.NoError(t, err)
	assert.Equal(t, 3, refused)
}
