package dashboard

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testToken = TokenPrefix + "TESTTOKEN"

// client is a program with the token.
type client struct {
	t      *testing.T
	server *testServer
	http   *http.Client
}

// withToken starts a server with a token, and returns its client.
func withToken(t *testing.T, options Options) *client {
	t.Helper()
	options.Token = testToken
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, server: startServer(t, options), http: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// send sends a request with the token; a body is JSON.
func (c *client) send(method, address, body string, change func(*http.Request)) answer {
	c.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = "http://" + c.server.address + address
	}
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, address, reader)
	require.NoError(c.t, err)
	r.Header.Set("Authorization", "Bearer "+testToken)
	if body != "" {
		r.Header.Set("Content-Type", contentJSON)
	}
	if change != nil {
		change(r)
	}
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}

// readAs reads an answer as a document.
func readAs[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	var out T
	require.Equal(t, status, a.status, a.body)
	require.NoError(t, json.Unmarshal([]byte(a.body), &out), a.body)
	return out
}

func (c *client) cluster(id string) v3Cluster {
	c.t.Helper()
	return readAs[v3Cluster](c.t, c.send(http.MethodGet, "/v3/clusters/"+id, "", nil), http.StatusOK)
}

// awaitV3 reads a cluster until it has a state.
func (c *client) awaitV3(id, state string) v3Cluster {
	c.t.Helper()
	var out v3Cluster
	require.Eventually(c.t, func() bool {
		out = c.cluster(id)
		return out.State == state
	}, 20*time.Second, 5*time.Millisecond, "never %s", state)
	return out
}

func (c *client) rotate(id, body string) answer {
	c.t.Helper()
	return c.send(http.MethodPost, "/v3/clusters/"+id+"?action=rotateCertificates", body, nil)
}
