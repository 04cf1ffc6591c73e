package dashboard

import (
	"html"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAPIPageShowsEveryRequestOfACluster, and never the token.
func TestAPIPageShowsEveryRequestOfACluster(t *testing.T) {
	options := fixedOptions(oneCluster(&fakeCluster{}))
	options.Token = testToken
	options.TokenFile = "/home/o'neil/my token"
	ts := startServer(t, options)
	b := ts.signIn()
	page := b.get("/clusters/prod/api")
	require.Equal(t, http.StatusOK, page.status)
	text := html.UnescapeString(page.body)
	for _, route := range apiRoutes() {
		if strings.Contains(route.Path, "{id}") {
			assert.Contains(t, text, route.Summary)
		}
	}
	assert.Contains(t, text, "POST /v3/clusters/prod?action=rotateCertificates")
	assert.Contains(t, text, `curl -sS -H @- http://`+ts.address+`/v3/clusters/prod`)
	assert.Contains(t, text, `$(cat '/home/o'\''neil/my token')`)
	assert.Contains(t, text, "POST /api/v1/clusters/prod/plans/PLAN/cancel", "there is no plan yet")
	assert.NotContains(t, text, testToken)
	assert.NotContains(t, text, "{id}")
	assert.Contains(t, b.get("/clusters/prod").body, `href="/clusters/prod/api"`)

	assert.Contains(t, text, "POST /api/v1/clusters/prod/marks/MARK/delete", "no click deletes a mark that the user has not named")
	assert.NotContains(t, text, `data-send="/api/v1/clusters/prod/marks/MARK/delete"`)
	assert.Contains(t, text, "GET /api/v1/clusters/prod/history/JOURNAL", "the journals were not read")
	b.post("/clusters/prod/journals", "")
	b.awaitPage("/clusters/prod/api", `data-send="/api/v1/clusters/prod/history/7f3c2a"`)
	plan := b.plan("/clusters/prod")
	b.save(plan)
	id := strings.TrimPrefix(plan, "/clusters/prod/plans/")
	assert.Contains(t, b.get("/clusters/prod/api").body, `data-send="/api/v1/clusters/prod/plans/`+id+`"`)
}

// TestAPIPageOffersWhatIsPossible: a request that would be refused is only shown.
func TestAPIPageOffersWhatIsPossible(t *testing.T) {
	options := fixedOptions(oneCluster(&fakeCluster{}))
	const action = `data-send="/v3/clusters/prod?action=rotateCertificates"`
	assert.Contains(t, startServer(t, options).signIn().get("/clusters/prod/api").body, action)
	options.ReadOnly = true
	page := startServer(t, options).signIn().get("/clusters/prod/api").body
	assert.NotContains(t, page, action)
	assert.NotContains(t, page, `data-method="POST"`)
	assert.Contains(t, page, "--read-only")
	assert.Contains(t, page, `href="/v3/clusters/prod"`, "reading needs no script")
	assert.Contains(t, page, "start the dashboard with <code>--api-token-file FILE</code>")
}

// TestCurlLinesAreWhatAShellRuns: a program in place of curl writes what it was called with. The
// token is not among its arguments.
func TestCurlLinesAreWhatAShellRuns(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "it's a token")
	require.NoError(t, os.WriteFile(file, []byte(testToken+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte("#!/bin/sh\nfor a; do echo \"<$a>\"; done\ncat\n"), 0o755))
	options := fixedOptions(oneCluster(&fakeCluster{}))
	options.Token = testToken
	options.TokenFile = file
	page := startServer(t, options).signIn().get("/clusters/prod/api")
	line := regexp.MustCompile(`<code id="postV3ClustersId-curl">(.*?)</code>`).FindStringSubmatch(page.body)
	require.NotNil(t, line)
	shell := exec.Command("sh", "-c", html.UnescapeString(line[1]))
	shell.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	out, err := shell.CombinedOutput()
	require.NoError(t, err, string(out))
	arguments, input, _ := strings.Cut(string(out), "Authorization")
	assert.Contains(t, arguments, "<-X>\n<POST>\n")
	assert.Contains(t, arguments, "<{\"services\": \"etcd\", \"caCertificates\": false}>\n<http://")
	assert.Contains(t, arguments, "/v3/clusters/prod?action=rotateCertificates>\n")
	assert.NotContains(t, arguments, testToken)
	assert.Equal(t, ": Bearer "+testToken, input)
}
