package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
)

// schemaOf compiles the schemas of a server's own description. Objects may have no other fields
// than those described.
func schemaOf(t *testing.T, c *client) func(pointer string) *jsonschema.Schema {
	t.Helper()
	document := readAs[map[string]any](t, c.send(http.MethodGet, "/api/v1/openapi.json", "", nil), http.StatusOK)
	assert.Equal(t, "3.1.0", document["openapi"])
	assert.Equal(t, []any{map[string]any{"url": "http://" + c.server.address}}, document["servers"])
	components, _ := document["components"].(map[string]any)["schemas"].(map[string]any)
	for _, component := range components {
		component.(map[string]any)["additionalProperties"] = false
	}
	text, err := json.Marshal(document)
	require.NoError(t, err)
	plain, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("urn:api", plain))
	return func(pointer string) *jsonschema.Schema {
		schema, err := compiler.Compile("urn:api#" + pointer)
		require.NoError(t, err, pointer)
		return schema
	}
}

// TestAnswersAreAsTheDescriptionHasThem: every route is requested, with success and with an error.
func TestAnswersAreAsTheDescriptionHasThem(t *testing.T) {
	proceed := make(chan struct{})
	cluster := newRecordingCluster(proceed)
	cluster.events = func(context.Context, time.Time, bool, func(watcherevents.Event) error) error { return nil } // its connections end
	clusters := oneCluster(&cluster.fakeCluster)
	clusters.contexts = append(clusters.contexts, Context{Name: "broken"})
	c := withToken(t, fixedOptions(clusters))
	compile := schemaOf(t, c)
	mux := http.NewServeMux()
	succeeded := map[string]bool{}
	failed := map[string]bool{}
	routes := map[string]apiRoute{}
	for _, route := range apiRoutes() {
		pattern := route.Method + " " + route.Path
		mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		routes[pattern] = route
	}
	send := func(method, address, body string) answer {
		t.Helper()
		a := c.send(method, address, body, nil)
		r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
		require.NoError(t, err)
		_, pattern := mux.Handler(r)
		route := routes[pattern]
		_, content := errorOf(route.Route)
		status := "default"
		if a.status < 400 {
			status = strconv.Itoa(route.Status)
			content = route.Content
			succeeded[pattern] = true
			assert.Equal(t, route.Status, a.status, pattern)
		} else {
			failed[pattern] = true
		}
		assert.Equal(t, content, a.header.Get("Content-Type"), "%s: %s", pattern, a.body)
		if content == contentEvents {
			return a
		}
		escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "+")
		schema := compile("/paths/" + escape.Replace(route.Path) + "/" + strings.ToLower(method) + "/responses/" + status + "/content/" + escape.Replace(content) + "/schema")
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(value), "%s %s: %s", method, address, a.body)
		return a
	}
	for _, path := range []string{"/v3", "/v3/schemas", "/v3/clusters", "/v3/clusters?x=y", "/v3/clusters/prod", "/v3/clusters/broken", "/v3/clusters/x",
		"/api/v1/openapi.json", "/api/v1/clusters", prodPath, "/api/v1/clusters/x", prodPath + "/certificates", "/api/v1/clusters/broken/certificates",
		prodPath + "/scan", "/api/v1/clusters/x/scan", prodPath + "/plans/x", prodPath + "/rotations", "/api/v1/clusters/x/rotations",
		prodPath + "/history", "/api/v1/clusters/x/history", prodPath + "/history/7f3c2a", "/api/v1/clusters/x/history/7f3c2a", prodPath + "/marks", "/api/v1/clusters/x/marks",
		prodPath + "/rotations/x", prodPath + "/rotations/x/events", prodPath + "/events", "/api/v1/clusters/x/events"} {
		send(http.MethodGet, path, "")
	}
	for _, path := range []string{"/v3/clusters/prod?action=x", prodPath + "/marks", prodPath + "/marks/x/delete", "/api/v1/clusters/x/scan", prodPath + "/plans", prodPath + "/plans/x/cancel", prodPath + "/rotations", prodPath + "/rotations/x/stop"} {
		send(http.MethodPost, path, "{}")
	}
	send(http.MethodPost, "/api/v1/clusters/x/history", "")
	send(http.MethodPost, "/api/v1/clusters/x/history/7f3c2a", "")
	send(http.MethodPost, prodPath+"/history", "")
	send(http.MethodPost, prodPath+"/history/7f3c2a", "")
	awaitDocument(c, prodPath+"/history", func(now apiHistory) bool { return now.History != nil })
	awaitDocument(c, prodPath+"/history/7f3c2a", func(now apiRecords) bool { return now.Rotation != nil })
	send(http.MethodGet, prodPath+"/history", "")
	send(http.MethodGet, prodPath+"/history/7f3c2a", "")
	send(http.MethodPost, prodPath+"/marks", `{"service":"etcd","reason":"leaked"}`)
	send(http.MethodPost, prodPath+"/marks/admin-x7k2p/delete", "")
	send(http.MethodPost, prodPath+"/scan", "")
	awaitDocument(c, prodPath+"/scan", func(now apiTask) bool { return !now.Running })
	send(http.MethodGet, prodPath+"/certificates", "")
	plan := send(http.MethodPost, prodPath+"/plans", `{"services":["etcd"]}`).header.Get("Location")
	made := awaitDocument(c, plan, func(now apiPlan) bool { return now.State == planReady })
	send(http.MethodGet, plan, "")
	send(http.MethodPost, plan+"/cancel", "")
	rotation := send(http.MethodPost, prodPath+"/rotations", `{"plan":"`+made.ID+`"}`).header.Get("Location")
	send(http.MethodPost, "/v3/clusters/prod?action=rotateCertificates", "")
	close(proceed)
	send(http.MethodGet, rotation+"/events", "")
	awaitDocument(c, rotation, func(now apiRotation) bool { return now.Ended != nil })
	send(http.MethodGet, rotation, "")
	send(http.MethodGet, prodPath+"/rotations", "")
	send(http.MethodPost, rotation+"/stop", "")
	send(http.MethodPost, "/v3/clusters/prod?action=rotateCertificates", "")
	for pattern, route := range routes {
		assert.True(t, succeeded[pattern], "%s has not succeeded", pattern)
		if strings.Contains(route.Path, "{") {
			assert.True(t, failed[pattern], "%s has not failed", pattern)
		}
	}
}

// TestDescriptionOfBodiesIsWhatIsRead: the schema of a body accepts what the handler accepts.
func TestDescriptionOfBodiesIsWhatIsRead(t *testing.T) {
	c := withToken(t, fixedOptions(oneCluster(&fakeCluster{})))
	compile := schemaOf(t, c)
	read := func(name, body string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		require.NoError(t, err)
		switch name {
		case "Choice":
			_, err = readBody[apiChoice](r)
		case "MarkChoice":
			_, err = readBody[apiMarkChoice](r)
		case "Start":
			_, err = readBody[apiStart](r)
		default:
			_, err = readBody[v3RotateInput](r)
		}
		return err
	}
	for body, accepted := range map[[2]string]bool{
		{"Choice", `{"services":["etcd"]}`}: true, {"Choice", `{"all":true,"nodes":["cp1"],"restart":"never"}`}: true, {"Choice", `{"all":"yes"}`}: false,
		{"Choice", `{"plan":"x"}`}: false, {"Start", `{"plan":"x"}`}: true, {"Start", `{"all":true}`}: true, {"Start", `{"plan":7}`}: false,
		{"MarkChoice", `{"service":"etcd","nodes":["cp1"],"reason":"x"}`}: true, {"MarkChoice", `{"service":"etcd","reason":"x","node":"cp1"}`}: false,
		{"V3RotateInput", `{"services":"etcd"}`}: true, {"V3RotateInput", `{"services":["etcd"]}`}: true, {"V3RotateInput", `{"services":null}`}: true,
		{"V3RotateInput", `{"services":7}`}: false, {"V3RotateInput", `{"x":1}`}: false, {"V3RotateInput", `{"caCertificates":"no"}`}: false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(body[1]))
		require.NoError(t, err)
		described := compile("/components/schemas/" + body[0]).Validate(value)
		assert.Equal(t, accepted, described == nil, "%s: %v", body, described)
		got := read(body[0], body[1])
		assert.Equal(t, accepted, got == nil, "%s: %v", body, got)
	}
}
