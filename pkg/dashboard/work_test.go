package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// recordingCluster counts the runs of its plans; runs wait for proceed.
type recordingCluster struct {
	fakeCluster
	mu   sync.Mutex
	runs []Choice
}

func newRecordingCluster(proceed <-chan struct{}) *recordingCluster {
	r := &recordingCluster{}
	r.plan = func(_ context.Context, c Choice) (Plan, error) {
		return samplePlan(c, func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			r.mu.Lock()
			r.runs = append(r.runs, c)
			r.mu.Unlock()
			return runOf(proceed)(ctx, progress)
		}), nil
	}
	return r
}

func (r *recordingCluster) ran() []Choice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs
}

func TestSaveStartsThePlanOfItsPage(t *testing.T) {
	cluster := newRecordingCluster(nil)
	ts := startServer(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	b := ts.signIn()
	first := b.post("/clusters/prod/plans", "scope=some&service=etcd&restart=always").header.Get("Location")
	second := b.post("/clusters/prod/plans", "scope=some&service=kubelet&restart=always").header.Get("Location")
	b.awaitPage(first, "Save: start")
	b.awaitPage(second, "Save: start")
	b.awaitPage(b.save(first), "succeeded")
	require.Len(t, cluster.ran(), 1)
	assert.Equal(t, []certs.Service{certs.Etcd}, cluster.ran()[0].Services)

	assert.Contains(t, b.get(second).body, "Plan again", "the cluster has changed since")
	b.post(second, "")
	again := b.post(first, "")
	assert.Equal(t, http.StatusSeeOther, again.status)
	assert.Contains(t, b.get(again.header.Get("Location")).body, "It was not started again")
	assert.Len(t, cluster.ran(), 1, "neither the void plan nor the started one has run")
}

func TestOneRotationOfAClusterAtATime(t *testing.T) {
	proceed := make(chan struct{})
	cluster := newRecordingCluster(proceed)
	clusters := oneCluster(&cluster.fakeCluster)
	clusters.contexts = append(clusters.contexts, Context{Name: "same", Server: "HTTPS://10.0.0.1:6443/"})
	clusters.clusters["same"] = &cluster.fakeCluster
	ts := startServer(t, fixedOptions(clusters))
	b := ts.signIn()
	var plans []string
	for range 4 {
		plans = append(plans, b.plan("/clusters/prod"), b.plan("/clusters/same"))
	}
	answers := make(chan answer, 2*len(plans))
	for _, plan := range append(plans, plans...) {
		go func() { answers <- b.post(plan, "") }()
	}
	page := ""
	for range 2 * len(plans) {
		a := <-answers
		require.Equal(t, http.StatusSeeOther, a.status)
		location, _, _ := strings.Cut(a.header.Get("Location"), "?")
		if page == "" {
			page = location
		}
		assert.Equal(t, page, location, "all lead to the one rotation")
	}
	b.awaitPage(page, "restarting etcd")
	assert.Len(t, cluster.ran(), 1)
	busy := b.post("/clusters/same/plans", "scope=all&restart=always")
	assert.Contains(t, b.get(busy.header.Get("Location")).body, "Nothing else was started")
	assert.Contains(t, b.get("/?load=all").body, page, "the first page links to it")
	close(proceed)
	b.awaitPage(page, "succeeded")
	assert.Len(t, cluster.ran(), 1)
	assert.Empty(t, ts.Running())
}

func TestOldPlansAreRefused(t *testing.T) {
	cluster := newRecordingCluster(nil)
	c := &clock{}
	ts := startServer(t, Options{Clusters: oneCluster(&cluster.fakeCluster), Now: c.now})
	b := ts.signIn()
	plan := b.plan("/clusters/prod")
	c.seconds.Store(601)
	assert.Contains(t, b.get(plan).body, "more than ten minutes ago")
	a := b.post(plan, "")
	assert.Equal(t, plan, a.header.Get("Location"))
	assert.Empty(t, cluster.ran())
}

func TestPlansAreMadeInTheBackground(t *testing.T) {
	proceed := make(chan struct{})
	failure := atomic.Pointer[error]{}
	cluster := &fakeCluster{plan: func(ctx context.Context, c Choice) (Plan, error) {
		select {
		case <-proceed:
		case <-ctx.Done():
		}
		if err := failure.Load(); err != nil {
			return Plan{}, *err
		}
		return samplePlan(c, runOf(nil)), nil
	}}
	ts := startServer(t, fixedOptions(oneCluster(cluster)))
	b := ts.signIn()
	path := b.post("/clusters/prod/plans", "scope=all&restart=always").header.Get("Location")
	page := b.get(path)
	assert.Contains(t, page.body, "Scanning the nodes")
	assert.Contains(t, page.body, "data-again", "it asks again")
	assert.Equal(t, http.StatusSeeOther, b.post(path, "").status)
	assert.Empty(t, ts.Running(), "a plan that is not there cannot be started")
	for range plansAtOnce - 1 {
		b.post("/clusters/prod/plans", "scope=all&restart=always")
	}
	assert.Equal(t, http.StatusServiceUnavailable, b.post("/clusters/prod/plans", "scope=all&restart=always").status)
	close(proceed)
	page = b.awaitPage(path, "Save: start")
	assert.NotContains(t, page.body, "data-again", "it stops asking")
	assert.Contains(t, page.body, "kubectl rotate-certs --context prod")

	err := hint.AddTo(errors.New("scan nodes: w7 is NotReady"), "leave it out")
	failure.Store(&err)
	path = b.post("/clusters/prod/plans", "scope=all&restart=always").header.Get("Location")
	page = b.awaitPage(path, "w7 is NotReady")
	assert.Contains(t, page.body, "Hint: leave it out")
	assert.NotContains(t, page.body, "Save: start")
}

func TestChoicesThatContradictAreRefused(t *testing.T) {
	ts := startServer(t, fixedOptions(oneCluster(&fakeCluster{})))
	b := ts.signIn()
	for form, want := range map[string]string{
		"restart=always":                             "choose all services, or one or several",
		"scope=some&restart=always":                  "no service is chosen",
		"scope=all&service=etcd&restart=always":      "single ones as well",
		"scope=all":                                  "choose when components restart",
		"scope=all&restart=never&compromised=yes":    "exclude the restart policy never",
		"scope=some&service=ectd&restart=always":     "did you mean",
		"scope=all&restart=always&node=cp1%3Brm+-rf": "not named as nodes are",
	} {
		a := b.post("/clusters/prod/plans", form)
		assert.Equal(t, http.StatusBadRequest, a.status, form)
		assert.Contains(t, a.body, want, form)
		assert.Contains(t, a.body, "Plan the rotation", "the form is shown again")
	}
}

func TestReadOnlyAndDeniedRequestsChangeNothing(t *testing.T) {
	posts := map[string]string{"/scan": "", "/journals": "", "/history/7f3c2a": "", "/plans": "scope=all&restart=always", "/marks": "service=etcd&reason=x", "/marks/x/delete": ""}
	forbidden := func(t *testing.T) *fakeCluster {
		return &fakeCluster{
			state: func(context.Context) (State, error) {
				state := sampleState(3)
				state.Denied = map[Right]string{}
				for _, right := range []Right{RightScan, RightRotate, RightMark, RightDeleteMark} {
					state.Denied[right] = "you may not " + string(right) + " here"
				}
				return state, nil
			},
			scan: func(context.Context) (v1alpha1.CertificateList, error) { t.Error("scanned"); return sampleList(1), nil },
			rotations: func(context.Context) (v1alpha1.RotationList, error) {
				t.Error("read")
				return v1alpha1.RotationList{}, nil
			},
			plan: func(_ context.Context, c Choice) (Plan, error) {
				t.Error("planned")
				return samplePlan(c, runOf(nil)), nil
			},
			mark:       func(context.Context, Mark) error { t.Error("marked"); return nil },
			deleteMark: func(context.Context, string) error { t.Error("deleted"); return nil },
		}
	}
	for name, readOnly := range map[string]bool{"denied": false, "read only": true} {
		t.Run(name, func(t *testing.T) {
			options := fixedOptions(oneCluster(forbidden(t)))
			options.ReadOnly = readOnly
			b := startServer(t, options).signIn()
			for path, form := range posts {
				assert.Equal(t, http.StatusForbidden, b.post("/clusters/prod"+path, form).status, path)
			}
			for _, path := range []string{"/clusters/prod", "/clusters/prod/rotate", "/clusters/prod/mark"} {
				page := b.get(path)
				assert.NotContains(t, page.body, `method="post"`, path)
				if readOnly {
					assert.Contains(t, page.body, "--read-only", path)
				} else {
					assert.Contains(t, page.body, "you may not", path)
				}
			}
		})
	}
}

func TestWorkIsBounded(t *testing.T) {
	k := newWork(func() time.Time { return testNow })
	named := Context{Name: "prod", Server: "https://10.0.0.1"}
	for i := range 3 * keptOfEach {
		p, added := k.addPlan(named, Choice{}, func() {})
		require.True(t, added)
		k.freePlanner()
		k.finishPlan(p.ID, samplePlan(Choice{}, runOf(nil)), nil)
		r, state, _ := k.beginRotation("prod", p.ID)
		require.Equal(t, planReady, state, i)
		k.releaseCluster(r)
		k.active.Done()
	}
	assert.Len(t, k.plans, keptOfEach)
	assert.Len(t, k.rotations, keptOfEach)
}
