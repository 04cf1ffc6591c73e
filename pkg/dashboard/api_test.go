package dashboard

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const prodPath = "/api/v1/clusters/prod"

// awaitDocument reads a document until it is as wanted.
func awaitDocument[T any](c *client, address string, wanted func(T) bool) T {
	c.t.Helper()
	var out T
	require.Eventually(c.t, func() bool {
		out = readAs[T](c.t, c.send(http.MethodGet, address, "", nil), http.StatusOK)
		return wanted(out)
	}, 20*time.Second, 5*time.Millisecond, address)
	return out
}

func TestAPIShowsClusters(t *testing.T) {
	clusters := oneCluster(&fakeCluster{})
	clusters.contexts = append(clusters.contexts, Context{Name: "a/b", Server: "https://10.0.0.2:6443"})
	c := withToken(t, fixedOptions(clusters))
	list := readAs[apiList[apiCluster]](t, c.send(http.MethodGet, "/api/v1/clusters", "", nil), http.StatusOK)
	require.Len(t, list.Items, 2)
	prod := list.Items[0]
	assert.Equal(t, "attention", prod.State)
	assert.Equal(t, "v1.37.2", prod.Version)
	require.NotNil(t, prod.Certificates)
	assert.Equal(t, "reports", prod.Certificates.Source)
	assert.Equal(t, time.Date(2026, 12, 9, 3, 0, 0, 0, time.UTC), prod.Certificates.Earliest)
	assert.Equal(t, prod, readAs[apiCluster](t, c.send(http.MethodGet, prodPath, "", nil), http.StatusOK))
	assert.Equal(t, "unreachable", list.Items[1].State)
	assert.Contains(t, list.Items[1].Error, "no such user")
	assert.Equal(t, "kubectl config view", list.Items[1].Hint)
	missing := readAs[problem](t, c.send(http.MethodGet, "/api/v1/clusters/x", "", nil), http.StatusNotFound)
	assert.Equal(t, "NotFound", missing.Code)
	assert.NotEmpty(t, missing.Hint)
}

// TestAPIScansOnRequestOnly, and answers with the list that check prints.
func TestAPIScansOnRequestOnly(t *testing.T) {
	scans := 0
	cluster := &fakeCluster{
		state: func(context.Context) (State, error) { return State{}, nil },
		scan:  func(context.Context) (v1alpha1.CertificateList, error) { scans++; return sampleList(3), nil },
	}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	e := readAs[problem](t, c.send(http.MethodGet, prodPath+"/certificates", "", nil), http.StatusNotFound)
	assert.Contains(t, e.Hint, "POST "+prodPath+"/scan")
	assert.Zero(t, scans)
	readAs[apiTask](t, c.send(http.MethodPost, prodPath+"/scan", "", nil), http.StatusAccepted)
	task := awaitDocument(c, prodPath+"/scan", func(now apiTask) bool { return !now.Running && now.Ended != nil })
	a := c.send(http.MethodGet, task.Certificates, "", nil)
	list := readAs[v1alpha1.CertificateList](t, a, http.StatusOK)
	assert.Equal(t, sampleList(3).Items, list.Items)
	assert.Equal(t, "Mon, 30 Nov 2026 03:00:00 GMT", a.header.Get("Last-Modified"))
	assert.Equal(t, 1, scans)
}

func TestAPIPlansAndStartsThePlan(t *testing.T) {
	cluster := newRecordingCluster(nil)
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	a := c.send(http.MethodPost, prodPath+"/plans", `{"services":["etcd"],"nodes":["cp1"],"restart":"if-needed","compromised":true}`, nil)
	readAs[apiPlan](t, a, http.StatusAccepted)
	made := awaitDocument(c, a.header.Get("Location"), func(now apiPlan) bool { return now.State != planScanning })
	assert.Equal(t, planReady, made.State)
	require.NotNil(t, made.Plan)
	assert.Len(t, made.Plan.Steps, 3)
	assert.Empty(t, cluster.ran(), "a plan changes nothing")

	a = c.send(http.MethodPost, prodPath+"/rotations", `{"plan":"`+made.ID+`"}`, nil)
	begun := readAs[apiRotation](t, a, http.StatusCreated)
	assert.Equal(t, begun.Self, a.header.Get("Location"))
	ended := awaitDocument(c, begun.Self, func(now apiRotation) bool { return now.Ended != nil })
	assert.Equal(t, outcomeSucceeded, ended.State)
	require.NotNil(t, ended.Report)
	assert.Equal(t, "7f3c2a", ended.Report.ID)
	assert.Equal(t, []apiNode{{"cp1", "verified", "replaced · restarted etcd · 2379 and 2380 serve the new certificates"}}, ended.Nodes[:1])
	assert.Equal(t, []Choice{{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Restart: "if-needed", Compromised: true}}, cluster.ran())
	assert.Contains(t, c.send(http.MethodGet, begun.Events, "", nil).body, "event: end")
	list := readAs[apiList[apiRotation]](t, c.send(http.MethodGet, prodPath+"/rotations", "", nil), http.StatusOK)
	require.Len(t, list.Items, 1)
	assert.Equal(t, begun.ID, list.Items[0].ID)

	again := readAs[problem](t, c.send(http.MethodPost, prodPath+"/rotations", `{"plan":"`+made.ID+`"}`, nil), http.StatusConflict)
	assert.Contains(t, again.Detail, "has been started already")
	assert.Equal(t, begun.Self, again.Rotation)
	assert.Len(t, cluster.ran(), 1)
}

func TestAPIStartsAChoiceAndStopsIt(t *testing.T) {
	cluster := newRecordingCluster(make(chan struct{}))
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	begun := readAs[apiRotation](t, c.send(http.MethodPost, prodPath+"/rotations", `{"all":true}`, nil), http.StatusCreated)
	assert.Equal(t, outcomeRunning, begun.State)
	for _, body := range []string{`{"services":["etcd"]}`, `{"plan":"x"}`} {
		second := readAs[problem](t, c.send(http.MethodPost, prodPath+"/rotations", body, nil), http.StatusConflict)
		assert.Equal(t, begun.Self, second.Rotation)
	}
	assert.Equal(t, http.StatusConflict, c.send(http.MethodPost, prodPath+"/plans", `{"all":true}`, nil).status)
	assert.Equal(t, begun.Self, readAs[apiCluster](t, c.send(http.MethodGet, prodPath, "", nil), http.StatusOK).Rotation)
	readAs[apiRotation](t, c.send(http.MethodPost, begun.Self+"/stop", "", nil), http.StatusOK)
	ended := awaitDocument(c, begun.Self, func(now apiRotation) bool { return now.Ended != nil })
	assert.Equal(t, outcomeInterrupted, ended.State)
}

func TestAPICancelsPlanning(t *testing.T) {
	cluster := &fakeCluster{plan: func(ctx context.Context, _ Choice) (Plan, error) {
		<-ctx.Done()
		return Plan{}, ctx.Err()
	}}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	a := c.send(http.MethodPost, prodPath+"/plans", `{"all":true}`, nil)
	address := a.header.Get("Location")
	e := readAs[problem](t, c.send(http.MethodPost, prodPath+"/rotations", `{"plan":"`+readAs[apiPlan](t, a, http.StatusAccepted).ID+`"}`, nil), http.StatusConflict)
	assert.Contains(t, e.Detail, "being made")
	assert.Equal(t, http.StatusOK, c.send(http.MethodPost, address+"/cancel", "", nil).status)
	failed := awaitDocument(c, address, func(now apiPlan) bool { return now.State == planFailed })
	assert.Contains(t, failed.Error, "canceled")
}

func TestAPIRefusesInvalidChoices(t *testing.T) {
	cluster := newRecordingCluster(nil)
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	for body, want := range map[string]string{
		``:                                   "has no body",
		`null`:                               "has no body",
		`{}`:                                 "no service is chosen",
		`{"all":true,"services":["etcd"]}`:   "single ones as well",
		`{"services":["ectd"]}`:              "unknown service",
		`{"all":true,"nodes":["cp1;rm"]}`:    "not named as nodes are",
		`{"all":true,"nodes":[]}`:            "no node is chosen",
		`{"all":true,"restart":"sometimes"}`: "unknown restart policy",
		`{"all":true,"restart":"never","compromised":true}`: "exclude the restart policy never",
		`{"all":true,"node":["cp1"]}`:                       "unknown field",
		`[]`:                                                "read the body",
	} {
		for _, path := range []string{"/plans", "/rotations"} {
			a := c.send(http.MethodPost, prodPath+path, body, nil)
			e := readAs[problem](t, a, http.StatusUnprocessableEntity)
			assert.Contains(t, e.Detail, want, "%s %s", path, body)
			assert.Equal(t, contentProblem, a.header.Get("Content-Type"))
			assert.Equal(t, "about:blank", e.Type)
			assert.Equal(t, http.StatusUnprocessableEntity, e.Status)
		}
	}
	a := c.send(http.MethodPost, prodPath+"/plans", `{"all":true}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	assert.Equal(t, http.StatusUnsupportedMediaType, a.status)
	assert.Equal(t, http.StatusUnprocessableEntity, c.send(http.MethodPost, prodPath+"/rotations", `{"plan":"x","all":true}`, nil).status)
	assert.Equal(t, http.StatusNotFound, c.send(http.MethodPost, prodPath+"/rotations", `{"plan":"x"}`, nil).status)
	assert.Equal(t, http.StatusMethodNotAllowed, c.send(http.MethodDelete, prodPath, "", nil).status)
	assert.Equal(t, "GET", c.send(http.MethodPut, prodPath, "{}", nil).header.Get("Allow"))
	assert.Empty(t, cluster.ran())
}

// TestAPIOfASession: a page's requests need no token, and their links are below its prefix.
func TestAPIOfASession(t *testing.T) {
	ts := startServer(t, fixedOptions(oneCluster(&fakeCluster{})))
	b := ts.signIn()
	a := b.send(http.MethodPost, prodPath+"/rotations", strings.NewReader(`{"services":["etcd"]}`), func(r *http.Request) { r.Header.Set("Content-Type", contentJSON) })
	begun := readAs[apiRotation](t, a, http.StatusCreated)
	b.awaitPage(strings.TrimPrefix(begun.Self, "http://"+ts.address), `"Succeeded"`)
	assert.Contains(t, b.get(strings.TrimPrefix(begun.Events, "http://"+ts.address)).body, "event: end")
}
