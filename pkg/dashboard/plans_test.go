package dashboard

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlansThatCannotBeStartedAreSmall: carrying a plan out needs the inventories of all nodes.
func TestPlansThatCannotBeStartedAreSmall(t *testing.T) {
	c := &clock{}
	k := newWork(c.now)
	named := Context{Name: "prod", Server: "https://10.0.0.1"}
	plan := func() string {
		p, added := k.addPlan(named, Choice{}, func() {})
		require.True(t, added)
		k.freePlanner()
		k.finishPlan(p.ID, samplePlan(Choice{}, runOf(nil)), nil)
		return p.ID
	}
	used := plan()
	void := plan()
	r, _, _ := k.beginRotation("prod", used)
	assert.Nil(t, k.planByID(used).run, "it was used")
	assert.NotNil(t, r.run)
	k.releaseCluster(r)
	assert.Nil(t, k.planByID(void).run, "the cluster has changed")
	assert.Nil(t, r.run, "the rotation has ended")
	old := plan()
	assert.NotNil(t, k.planByID(old).run)
	c.seconds.Store(601)
	_, state, _ := k.findPlan("prod", old)
	assert.Equal(t, planOld, state)
	assert.Nil(t, k.planByID(old).run, "it is too old")
	for _, id := range []string{used, void, old} {
		assert.Nil(t, k.planByID(id).Plan.Run)
	}
}

func TestPlanningCanBeCanceled(t *testing.T) {
	ended := make(chan struct{})
	cluster := &fakeCluster{plan: func(ctx context.Context, _ Choice) (Plan, error) {
		<-ctx.Done()
		close(ended)
		return Plan{}, ctx.Err()
	}}
	b := startServer(t, fixedOptions(oneCluster(cluster))).signIn()
	path := b.post("/clusters/prod/plans", "scope=all&restart=always").header.Get("Location")
	assert.Contains(t, b.get(path).body, `action="`+path+`/cancel"`)
	assert.Equal(t, http.StatusNotFound, b.post("/clusters/prod/plans/x/cancel", "").status)
	assert.Equal(t, path, b.post(path+"/cancel", "").header.Get("Location"))
	<-ended
	page := b.awaitPage(path, "planning was canceled")
	assert.NotContains(t, page.body, "data-again")
	assert.NotContains(t, page.body, "/cancel")
}

// TestPermissionGrantedMeanwhileIsSeen: neither an old answer nor an old page refuses.
func TestPermissionGrantedMeanwhileIsSeen(t *testing.T) {
	granted := atomic.Bool{}
	cluster := &fakeCluster{state: func(context.Context) (State, error) {
		state := sampleState(3)
		if !granted.Load() {
			state.Denied = map[Right]string{RightScan: "you may not create pods"}
		}
		return state, nil
	}}
	c := &clock{}
	ts := startServer(t, Options{Clusters: oneCluster(cluster), Now: c.now})
	b := ts.signIn()
	assert.Contains(t, b.get("/clusters/prod").body, "you may not create pods")
	assert.Equal(t, http.StatusForbidden, b.post("/clusters/prod/scan", "").status)
	granted.Store(true)
	assert.Equal(t, http.StatusSeeOther, b.post("/clusters/prod/scan", "").status, "it is read again before a refusal")
	c.seconds.Store(3600)
	granted.Store(false)
	b.get("/?load=all")
	why, known := ts.knownDenial(Context{Name: "prod"}, RightScan)
	assert.True(t, known)
	assert.Equal(t, "you may not create pods", why, "by the newest answer")
}

func TestContextsWithOneKeyAreOneCluster(t *testing.T) {
	key := func(key, server string) string { return clusterKey(Context{Key: key, Server: server}) }
	assert.Equal(t, key("a", "https://x"), key("a", "https://y"))
	assert.NotEqual(t, key("a", "https://x"), key("b", "https://x"), "behind one address, by its proxy or name")
	assert.Equal(t, key("", "https://x"), key("", "https://X:443/"))
}
