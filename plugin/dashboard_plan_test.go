package plugin

import (
	"context"
	"encoding/json"
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
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// shownFake is a cluster with simulated nodes on the dashboard, and the program that shows it.
func shownFake(t *testing.T, f *fake) (dashboard.Cluster, *app, *kubeContexts) {
	t.Helper()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	a := f.app(genericiooptions.NewTestIOStreamsDiscard())
	clusters := dashboardOf(t, a, nil)
	c, err := clusters.Open("night-shift")
	require.NoError(t, err)
	return c, a, clusters
}

// ignoreProgress is for plans whose progress does not matter.
func ignoreProgress(fleet.Progress) {}

func TestDashboardPlansAndRotatesAsTheCommandDoes(t *testing.T) {
	for name, choice := range map[string]dashboard.Choice{
		"--service etcd,kube-proxy": {Services: []certs.Service{certs.Etcd, certs.KubeProxy}},
		"--all":                     {},
		"--service kubelet --node w1 --restart if-needed": {Services: []certs.Service{certs.Kubelet}, Nodes: []string{"w1"}, Restart: plan.RestartIfNeeded},
		"--service kube-apiserver --compromised":          {Services: []certs.Service{certs.KubeAPIServer}, Compromised: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c, _, _ := shownFake(t, f)
			planned, err := c.Plan(t.Context(), choice)
			require.NoError(t, err)
			assert.False(t, planned.ByWatcher)
			assert.Equal(t, "kubectl rotate-certs --context night-shift "+name, planned.Command)
			assert.False(t, f.did("lock") || f.did("open") || f.did("dry run"), "a plan changes nothing: %v", f.log)

			args := strings.Fields(name)
			code, stdout, stderr := f.run(t, append([]string{"plan", "-o", "json"}, args...)...)
			require.Zero(t, code, stderr)
			assert.JSONEq(t, stdout, flat(planned.Document))

			report, err := planned.Run(t.Context(), ignoreProgress)
			require.NoError(t, err)
			code, stdout, stderr = f.run(t, append([]string{"-y", "-o", "json"}, args...)...)
			require.Zero(t, code, stderr)
			var same v1alpha1.RotationReport
			require.NoError(t, json.Unmarshal([]byte(stdout), &same))
			same.ID = report.ID
			assert.JSONEq(t, flat(same), flat(report))

			_, err = planned.Run(t.Context(), ignoreProgress)
			assert.ErrorIs(t, err, errPlanUsed)
			assert.ErrorIs(t, err, dashboard.ErrNotBegun)
		})
	}
}

// TestCommandOfAPlanNamesTheImage: without it the command would work with another node program.
func TestCommandOfAPlanNamesTheImage(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	flags := newConnectionFlags()
	flags.image = "registry.example/node image:1"
	flags.pullSecret = "pull"
	clusters, err := healthy().app(genericiooptions.NewTestIOStreamsDiscard()).openContexts(flags, nil)
	require.NoError(t, err)
	c, err := clusters.Open("nowhere")
	require.NoError(t, err)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	assert.Equal(t, "kubectl rotate-certs --context nowhere --image 'registry.example/node image:1' --image-pull-secret pull --service etcd", planned.Command)
}

func TestDashboardRefusesWhatTheCommandRefuses(t *testing.T) {
	f := healthy()
	c, _, _ := shownFake(t, f)
	for says, choice := range map[string]dashboard.Choice{
		"--compromised and --restart=never exclude each other": {Services: []certs.Service{certs.Etcd}, Compromised: true, Restart: plan.RestartNever},
		`unknown node "cp11", did you mean "cp1"?`:             {Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp11"}},
		"unknown service":               {Services: []certs.Service{"etc"}},
		`unknown restart policy "soon"`: {Services: []certs.Service{certs.Etcd}, Restart: "soon"},
	} {
		_, err := c.Plan(t.Context(), choice)
		require.Error(t, err)
		assert.Contains(t, err.Error(), says)
	}
	f.denied = &kube.MissingPermissionsError{Use: kube.UseRotate, Missing: []string{"create pods"}}
	_, err := c.Plan(t.Context(), dashboard.Choice{})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "missing permissions for rotate:\n  create pods")
}

func TestDashboardNamesTheHolderOfTheLock(t *testing.T) {
	for name, hold := range map[string]func(*fake, *kube.HeldError){
		"before the run": func(f *fake, held *kube.HeldError) { f.heldNow = held },
		"by the lock":    func(f *fake, held *kube.HeldError) { f.held = held },
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c, _, _ := shownFake(t, f)
			planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
			require.NoError(t, err)
			hold(f, &kube.HeldError{Holder: "jane@laptop"})
			report, err := planned.Run(t.Context(), ignoreProgress)
			require.Error(t, err)
			assert.Nil(t, report, "nothing has begun")
			assert.ErrorIs(t, err, dashboard.ErrNotBegun)
			assert.Equal(t, 1, strings.Count(hint.TextOf(err), "hint: "))
			assert.Contains(t, err.Error(), "another rotation holds the lock: jane@laptop")
			assert.Contains(t, hint.TextOf(err), "\nhint: wait until it has finished")
			assert.False(t, f.did("open"), "%v", f.log)
		})
	}
}

// TestDashboardReportsARotationThatStopped: its page has the report and the command's error.
func TestDashboardReportsARotationThatStopped(t *testing.T) {
	f := healthy()
	f.ends = map[string]nodeapi.Kind{"cp2": nodeapi.RolledBack}
	c, _, clusters := shownFake(t, f)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	report, err := planned.Run(t.Context(), ignoreProgress)
	assert.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp2 runs on its old certificates again")
	assert.Equal(t, v1alpha1.RolledBack, report.Result)
	assert.NoError(t, clusters.ending.endError(nil), "it ended before the command did")
	serving := errors.New("serve the dashboard: closed")
	assert.ErrorIs(t, clusters.ending.endError(serving), serving)
	assert.ErrorIs(t, clusters.ending.endError(serving), fleet.ErrStopped, "no page can report it any more")
}

func TestDashboardInterruptsARotation(t *testing.T) {
	f := healthy()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	a := f.app(genericiooptions.NewTestIOStreamsDiscard())
	ctx, stop := context.WithCancelCause(t.Context())
	clusters, err := a.openContexts(newConnectionFlags(), ctx.Done())
	require.NoError(t, err)
	c, err := clusters.Open("night-shift")
	require.NoError(t, err)
	planned, err := c.Plan(t.Context(), dashboard.Choice{Services: []certs.Service{certs.Etcd}})
	require.NoError(t, err)
	f.onCommit = func(node string) {
		if node == "cp1" {
			assert.Equal(t, "finishing or rolling back cp1 of night-shift, then stopping; press Ctrl-C again to stop at once", a.firstInterruptText())
			assert.Contains(t, a.secondInterruptText(), "the process on cp1 of night-shift finishes or rolls back on its own.\nnext: kubectl rotate-certs --context night-shift --service etcd --take-over")
			stop(fleet.ErrInterrupted)
			<-f.rotation.Done()
		}
	}
	report, err := planned.Run(ctx, ignoreProgress)
	assert.ErrorIs(t, err, fleet.ErrInterrupted)
	assert.NotNil(t, report)
	assert.True(t, f.did("Commit cp1"))
	assert.False(t, f.did("Commit cp2"))
	stopped := clusters.ending.endError(nil)
	require.Error(t, stopped)
	assert.Equal(t, 130, exitCode("dashboard", stopped, true))
	assert.Contains(t, hint.TextOf(explainCause(stopped, nil)), "rotation of night-shift: interrupted")
	assert.Contains(t, hint.TextOf(explainCause(stopped, nil)), "run kubectl rotate-certs --context night-shift --service etcd: it continues this rotation (")
	assert.NotContains(t, err.Error(), "run the same command again")
	assert.Equal(t, "stopping; press Ctrl-C again to stop at once", a.firstInterruptText(), "no rotation is in progress")
}

func TestDashboardReadsNodesAsTheCommandsDo(t *testing.T) {
	f := healthy()
	noIssuer(f)
	c, _, _ := shownFake(t, f)
	list, err := c.Scan(t.Context())
	require.NoError(t, err)
	_, stdout, _ := f.run(t, "check", "-o", "json")
	assert.JSONEq(t, stdout, flat(list))

	f = eventful()
	f.logs = map[string]nodeapi.Journal{"cp2": {Node: "cp2", Rotation: "7f3c2a", Records: []nodeapi.Record{
		{Seq: 1, Time: noon, Node: "cp2", Rotation: "7f3c2a", Kind: nodeapi.Failed, Message: "sign etcd-peer: the CA has expired"}}}}
	c, _, _ = shownFake(t, f)
	rotations, err := c.Rotations(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, rotations.Items)
	_, stdout, _ = f.run(t, "history", "-o", "json", "--context", "night-shift")
	assert.JSONEq(t, stdout, flat(rotations))
	const id = "7f3c2a"
	_, err = c.Records(t.Context(), "../x")
	assert.ErrorContains(t, err, "an id is letters, digits and dashes")
	_, err = c.Records(t.Context(), "none")
	assert.ErrorContains(t, err, `no journal has rotation "none"`)
	records, err := c.Records(t.Context(), id)
	code, stdout, stderr := f.run(t, "history", id, "-o", "json", "--context", "night-shift")
	require.Zero(t, code, stderr)
	require.NoError(t, err)
	assert.JSONEq(t, stdout, flat(records))

	f.down = errors.New("list nodes: connection refused")
	_, err = c.Scan(t.Context())
	assert.EqualError(t, err, "list nodes: connection refused")
	for i := range f.nodes {
		f.nodes[i].Ready = false
	}
	f.down = nil
	_, err = c.Scan(t.Context())
	assert.ErrorContains(t, err, "no node could be scanned")
}

// TestInterruptedDashboardReportsItsRotations: "interrupted before anything was changed" would be
// wrong where one of them has changed something.
func TestInterruptedDashboardReportsItsRotations(t *testing.T) {
	c := &contextCluster{name: "b-test"}
	stopped := make(chan struct{})
	close(stopped)
	e := &endings{stopped: stopped}
	e.noteEnd(nil)
	assert.NoError(t, e.endError(nil))
	e.noteEnd(c.ofRotation(errLeftOut))
	e.noteEnd((&contextCluster{name: "c-slow"}).ofRotation(errors.New("cp1: etcd did not become healthy")))
	err := e.endError(nil)
	var explained *explainedError
	require.ErrorAs(t, err, &explained, "by which the program knows it")
	assert.Equal(t, "rotation of b-test: done, but something in scope was left out\nrotation of c-slow: cp1: etcd did not become healthy", hint.TextOf(explainCause(err, nil)))
}
