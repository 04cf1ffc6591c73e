package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestV3ListsClusters(t *testing.T) {
	clusters := oneCluster(&fakeCluster{})
	odd := "arn:aws:eks:eu-1:1:cluster/a b"
	clusters.contexts = append(clusters.contexts, Context{Name: odd, Server: "https://10.0.0.2:6443"}, Context{Name: "broken", Server: "https://10.0.0.3:6443"})
	clusters.clusters[odd] = &fakeCluster{state: func(context.Context) (State, error) {
		return State{Denied: map[Right]string{RightRotate: "missing permissions: create pods"}}, nil
	}}
	c := withToken(t, fixedOptions(clusters))
	list := readAs[v3Collection[v3Cluster]](t, c.send(http.MethodGet, "/v3/clusters", "", nil), http.StatusOK)
	assert.Equal(t, "collection", list.Type)
	assert.Equal(t, "cluster", list.ResourceType)
	require.Len(t, list.Data, 3)
	prod := list.Data[0]
	base := "http://" + c.server.address
	assert.Equal(t, "prod", prod.ID)
	assert.Equal(t, "active", prod.State)
	assert.Equal(t, "2026-12-09T03:00:00Z", prod.CertificatesExpiration["kube-etcd-cp1"].ExpirationDate)
	assert.Equal(t, "2035-11-30T03:00:00Z", prod.CertificatesExpiration["kube-ca"].ExpirationDate)
	assert.Contains(t, prod.CertificatesExpiration, "kube-node")
	assert.Equal(t, base+"/v3/clusters/prod", prod.Links["self"])
	assert.Equal(t, base+"/v3/clusters/prod?action=rotateCertificates", prod.Actions["rotateCertificates"])

	assert.Regexp(t, `^c-[0-9a-f]{16}$`, list.Data[1].ID)
	assert.Equal(t, odd, list.Data[1].Name)
	assert.Empty(t, list.Data[1].Actions, "it is not permitted")
	assert.Empty(t, list.Data[1].CertificatesExpiration)
	assert.Equal(t, list.Data[1], readAs[v3Cluster](t, c.send(http.MethodGet, list.Data[1].Links["self"], "", nil), http.StatusOK))
	assert.Equal(t, "unavailable", list.Data[2].State)
	assert.Contains(t, list.Data[2].TransitioningMessage, "no such user")
	assert.Empty(t, list.Data[2].Actions)
}

func TestV3FiltersSelectOrRefuse(t *testing.T) {
	clusters := oneCluster(&fakeCluster{})
	clusters.contexts = append(clusters.contexts, Context{Name: "dev", Server: "https://10.0.0.2:6443"})
	clusters.clusters["dev"] = &fakeCluster{}
	c := withToken(t, fixedOptions(clusters))
	for query, want := range map[string]int{"?name=dev": 1, "?name=dev&limit=-1&sort=name": 1, "?id=prod": 1, "?state=active": 2, "?name=none": 0} {
		list := readAs[v3Collection[v3Cluster]](t, c.send(http.MethodGet, "/v3/clusters"+query, "", nil), http.StatusOK)
		assert.Len(t, list.Data, want, query)
	}
	wrong := readAs[v3Error](t, c.send(http.MethodGet, "/v3/clusters?name_ne=prod", "", nil), http.StatusUnprocessableEntity)
	assert.Equal(t, "InvalidOption", wrong.Code)
	assert.Equal(t, "name_ne", wrong.FieldName)
}

// TestIDsOfContexts: each is a part of a path, and no name has the id of another.
func TestIDsOfContexts(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"prod", "a/b", "a b", "..", ".", "", "~x", "Prod", "kind-x.y_z", clusterID("a/b"), strings.Repeat("x", 64), "c-1", "日本"} {
		id := clusterID(name)
		assert.Regexp(t, `^[A-Za-z0-9][-A-Za-z0-9._]*$`, id, name)
		assert.Empty(t, seen[id], "%q and %q", name, seen[id])
		seen[id] = name
	}
	assert.Equal(t, "prod", clusterID("prod"))
}

// TestV3RotatesWhatIsNamed: the forms of Rancher's clients.
func TestV3RotatesWhatIsNamed(t *testing.T) {
	for body, want := range map[string]struct {
		services []certs.Service
		message  string
	}{
		`{"services":"etcd","caCertificates":false}`: {[]certs.Service{certs.Etcd}, "rotating etcd certificates"},
		`{"services":["etcd"]}`:                      {[]certs.Service{certs.Etcd}, "rotating etcd certificates"},
		`{"services":["kubelet","etcd"]}`:            {[]certs.Service{certs.Etcd, certs.Kubelet}, "rotating etcd, kubelet certificates"},
		`{"services":null,"caCertificates":false}`:   {nil, "rotating certificates for all components"},
		`{"services":""}`:                            {nil, "rotating certificates for all components"},
		`{"services":[]}`:                            {nil, "rotating certificates for all components"},
		`{}`:                                         {nil, "rotating certificates for all components"},
		`null`:                                       {nil, "rotating certificates for all components"},
		``:                                           {nil, "rotating certificates for all components"},
	} {
		t.Run(body, func(t *testing.T) {
			cluster := newRecordingCluster(nil)
			c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
			out := readAs[v3RotateOutput](t, c.rotate("prod", body), http.StatusOK)
			assert.Equal(t, "rotateCertificateOutput", out.Type)
			assert.Equal(t, want.message, out.Message)
			c.awaitV3("prod", "active")
			require.Len(t, cluster.ran(), 1)
			assert.Equal(t, want.services, cluster.ran()[0].Services)
			assert.EqualValues(t, "always", cluster.ran()[0].Restart)
		})
	}
}

func TestV3RefusesWhatItCannotDo(t *testing.T) {
	cluster := newRecordingCluster(nil)
	planned := 0
	plan := cluster.plan
	cluster.plan = func(ctx context.Context, c Choice) (Plan, error) { planned++; return plan(ctx, c) }
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	for _, tt := range []struct {
		path, body string
		status     int
		code, says string
	}{
		{"prod?action=rotateCertificates", `{"caCertificates":true}`, 422, "InvalidOption", "manual procedure"},
		{"prod?action=rotateCertificates", `{"services":"ectd"}`, 422, "InvalidOption", `did you mean "etcd"?`},
		{"prod?action=rotateCertificates", `{"services":["etcd",""]}`, 422, "InvalidOption", "unknown service"},
		{"prod?action=rotateCertificates", `{"services":7}`, 422, "InvalidOption", "neither a name"},
		{"prod?action=rotateCertificates", `{"service":"etcd"}`, 422, "InvalidBodyContent", `unknown field "service"`},
		{"prod?action=rotateCertificates", `{"services":"etcd","services":"kubelet"}`, 422, "InvalidBodyContent", "duplicate field"},
		{"prod?action=rotateCertificates", `{"services":"etcd"`, 422, "InvalidBodyContent", "unexpected end"},
		{"prod?action=rotateCertificates", `{"services":"` + strings.Repeat("x", maxBody) + `"}`, 413, "InvalidBodyContent", "too large"},
		{"prod?action=generateKubeconfig", `{}`, 422, "InvalidAction", "generateKubeconfig"},
		{"prod", `{}`, 405, "MethodNotAllow", "?action=rotateCertificates"},
		{"other?action=rotateCertificates", `{}`, 404, "NotFound", "other"},
	} {
		a := c.send(http.MethodPost, "/v3/clusters/"+tt.path, tt.body, nil)
		e := readAs[v3Error](t, a, tt.status)
		assert.Equal(t, "error", e.Type)
		assert.Equal(t, tt.status, e.Status)
		assert.Equal(t, tt.code, e.Code, a.body)
		assert.Contains(t, e.Message, tt.says)
	}
	assert.Zero(t, planned)
	assert.Equal(t, http.StatusMethodNotAllowed, c.send(http.MethodPut, "/v3/clusters/prod", "{}", nil).status)
	assert.Equal(t, http.StatusMethodNotAllowed, c.send(http.MethodDelete, "/v3/clusters/prod", "", nil).status)
	assert.Equal(t, http.StatusNotFound, c.send(http.MethodGet, "/v3/nodes", "", nil).status)
}

// TestV3SaysWhyNothingBegan: the answer waits for the plan, and for the lock of the cluster.
func TestV3SaysWhyNothingBegan(t *testing.T) {
	held := func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		return nil, hint.AddTo(fmt.Errorf("%w: alice holds the lock", ErrNotBegun), "wait")
	}
	for name, tt := range map[string]struct {
		plan   func(context.Context, Choice) (Plan, error)
		status int
		code   string
		says   string
	}{
		"the plan fails": {func(context.Context, Choice) (Plan, error) {
			return Plan{}, hint.AddTo(errors.New("scan cp1: timeout"), "kubectl get pods")
		}, 502, "ServerError", "scan cp1: timeout\nhint: kubectl get pods"},
		"there is nothing to renew": {func(context.Context, Choice) (Plan, error) { return Plan{Run: runOf(nil)}, nil }, 422, "InvalidState", "nothing to renew"},
		"another program rotates":   {func(_ context.Context, c Choice) (Plan, error) { return samplePlan(c, held), nil }, 409, "Conflict", "alice holds the lock"},
	} {
		t.Run(name, func(t *testing.T) {
			c := withToken(t, fixedOptions(oneCluster(&fakeCluster{plan: tt.plan})))
			e := readAs[v3Error](t, c.rotate("prod", ""), tt.status)
			assert.Equal(t, tt.code, e.Code)
			assert.Contains(t, e.Message, tt.says)
		})
	}
}

func TestV3SecondRotationLeadsToTheFirst(t *testing.T) {
	proceed := make(chan struct{})
	cluster := newRecordingCluster(proceed)
	clusters := oneCluster(&cluster.fakeCluster)
	clusters.contexts = append(clusters.contexts, Context{Name: "same", Server: "https://10.0.0.1:6443"})
	clusters.clusters["same"] = &cluster.fakeCluster
	c := withToken(t, fixedOptions(clusters))
	out := readAs[v3RotateOutput](t, c.rotate("prod", `{"services":"etcd"}`), http.StatusOK)
	running := c.cluster("prod")
	assert.Equal(t, "updating", running.State)
	assert.Empty(t, running.Actions)
	for _, id := range []string{"prod", "same"} {
		e := readAs[v3Error](t, c.rotate(id, `{"services":"kubelet"}`), http.StatusConflict)
		assert.Equal(t, "Conflict", e.Code)
		assert.Equal(t, out.Links["rotation"], e.Links["rotation"])
	}
	close(proceed)
	c.awaitV3("prod", "active")
	assert.Len(t, cluster.ran(), 1)
}

// TestV3ShowsTheNewExpiry without agents: by the plan, and then by the report.
func TestV3ShowsTheNewExpiry(t *testing.T) {
	proceed := make(chan struct{})
	cluster := newRecordingCluster(proceed)
	cluster.state = func(context.Context) (State, error) { return State{}, nil }
	plan := cluster.plan
	cluster.plan = func(ctx context.Context, choice Choice) (Plan, error) {
		out, err := plan(ctx, choice)
		for i := range out.Document.Steps {
			out.Document.Steps[i].Certificates[0].Path = "/etc/kubernetes/pki/etcd/server.crt"
		}
		return out, err
	}
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	assert.Empty(t, c.cluster("prod").CertificatesExpiration)
	require.Equal(t, http.StatusOK, c.rotate("prod", `{"services":"etcd"}`).status)
	assert.Equal(t, "2026-12-09T03:00:00Z", c.cluster("prod").CertificatesExpiration["kube-etcd-cp2"].ExpirationDate)
	close(proceed)
	after := c.awaitV3("prod", "active")
	assert.Equal(t, "2027-11-30T03:00:00Z", after.CertificatesExpiration["kube-etcd-cp2"].ExpirationDate)
}

func TestV3ShowsAFailedRotation(t *testing.T) {
	cluster := &fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) {
		return samplePlan(c, func(_ context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "restarting etcd"})
			return &v1alpha1.RotationReport{Result: v1alpha1.RolledBack}, errors.New("cp1: etcd did not become healthy")
		}), nil
	}}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	require.Equal(t, http.StatusOK, c.rotate("prod", "").status)
	failed := c.awaitV3("prod", "error")
	assert.Equal(t, "error", failed.Transitioning)
	assert.Contains(t, failed.TransitioningMessage, "etcd did not become healthy")
	assert.NotEmpty(t, failed.Actions, "it can be tried again")
}

// TestV3ClientThatDoesNotWaitStartsNothing.
func TestV3ClientThatDoesNotWaitStartsNothing(t *testing.T) {
	planning := make(chan struct{})
	canceled := make(chan struct{})
	cluster := newRecordingCluster(nil)
	cluster.plan = func(ctx context.Context, c Choice) (Plan, error) {
		close(planning)
		<-ctx.Done()
		close(canceled)
		return samplePlan(c, runOf(nil)), nil
	}
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-planning
		cancel()
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.server.address+"/v3/clusters/prod?action=rotateCertificates", strings.NewReader("{}"))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+testToken)
	_, err = c.http.Do(r) //nolint:bodyclose // there is no answer
	require.Error(t, err)
	<-canceled
	assert.Equal(t, "active", c.cluster("prod").State)
	assert.Empty(t, cluster.ran())
}

// TestV3SchemasLeadToTheClusters, as clients of Rancher's API find them.
func TestV3SchemasLeadToTheClusters(t *testing.T) {
	c := withToken(t, fixedOptions(oneCluster(&fakeCluster{})))
	root := c.send(http.MethodGet, "/v3", "", nil)
	schemas := readAs[v3Collection[v3Schema]](t, c.send(http.MethodGet, root.header.Get("X-API-Schemas"), "", nil), http.StatusOK)
	require.NotEmpty(t, schemas.Data)
	assert.Equal(t, "cluster", schemas.Data[0].ID)
	list := readAs[v3Collection[v3Cluster]](t, c.send(http.MethodGet, schemas.Data[0].Links["collection"], "", nil), http.StatusOK)
	assert.Len(t, list.Data, 1)
}
