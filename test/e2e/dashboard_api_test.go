//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"
)

// rancherCluster is a cluster as clients of Rancher's v3 API read it.
type rancherCluster struct {
	ID, Name, State, Transitioning, TransitioningMessage string

	CertificatesExpiration map[string]struct{ ExpirationDate string }
	Links, Actions         map[string]string
}

// rancherClient knows an address, a token, and Rancher's v3 API.
type rancherClient struct{ token string }

// send sends a request and reads its answer.
func (c rancherClient) send(t *testing.T, method, address, body string, into any) (status int) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into), "%s %s: %s", method, address, text)
	return response.StatusCode
}

// etcdExpirations are the earliest expiry dates of etcd's certificates by node, by Rancher's names, as
// check lists them.
func etcdExpirations(t *testing.T) map[string]string {
	t.Helper()
	list, o := the.check(t, "--service", "etcd")
	require.NotEmpty(t, list.Items, "%s", o)
	dates := map[string]string{}
	for _, c := range list.Items {
		name := "kube-etcd-" + strings.ReplaceAll(c.Node, ".", "-")
		if dates[name] == "" || c.NotAfter < dates[name] {
			dates[name] = c.NotAfter
		}
	}
	return dates
}

// TestDashboardAPIOfRancher rotates etcd by a client that knows nothing but Rancher's v3 API: it
// lists the clusters, follows the link of the action, and waits until the expiry dates are others.
func TestDashboardAPIOfRancher(t *testing.T) {
	for _, host := range the.etcds { // a node, so that it can be rotated with the others
		the.join(t, host)
	}
	file := filepath.Join(t.TempDir(), "token")
	b := the.openDashboard(t, "--api-token-file", file)
	token, err := os.ReadFile(file)
	require.NoError(t, err)
	printed, err := url.Parse(b.address)
	require.NoError(t, err)
	base := printed.Scheme + "://" + printed.Host
	before := etcdExpirations(t)
	others, _ := the.check(t, "--service", "kube-scheduler,kube-controller-manager")

	var refused struct{ Type, Code string }
	assert.Equal(t, http.StatusUnauthorized, rancherClient{token: "token-x:y"}.send(t, http.MethodGet, base+"/v3/clusters", "", &refused))
	assert.Equal(t, "error", refused.Type)
	client := rancherClient{token: strings.TrimSpace(string(token))}
	var list struct {
		Type string
		Data []rancherCluster
	}
	require.Equal(t, http.StatusOK, client.send(t, http.MethodGet, base+"/v3/clusters", "", &list))
	assert.Equal(t, "collection", list.Type)
	require.Len(t, list.Data, 1)
	cluster := list.Data[0]
	assert.Equal(t, "active", cluster.State, "%+v", cluster)
	action := cluster.Actions["rotateCertificates"]
	require.NotEmpty(t, action, "%+v", cluster)

	require.Equal(t, http.StatusUnprocessableEntity, client.send(t, http.MethodPost, action, `{"caCertificates": true}`, &refused))
	var output struct{ Type, Message string }
	require.Equal(t, http.StatusOK, client.send(t, http.MethodPost, action, `{"services": "etcd", "caCertificates": false}`, &output), "%+v", output)
	assert.Equal(t, "rotateCertificateOutput", output.Type)
	assert.Equal(t, "rotating etcd certificates", output.Message)
	var now rancherCluster
	err = wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		now = rancherCluster{}
		require.Equal(t, http.StatusOK, client.send(t, http.MethodGet, cluster.Links["self"], "", &now))
		require.NotEqual(t, "error", now.State, now.TransitioningMessage)
		for name, date := range before {
			if shown := now.CertificatesExpiration[name].ExpirationDate; shown == "" || shown == date {
				return false, nil
			}
		}
		return now.State == "active", nil
	})
	require.NoError(t, err, "%+v", now)

	after := etcdExpirations(t)
	assert.Len(t, after, len(before))
	for name, date := range after {
		assert.Equal(t, date, now.CertificatesExpiration[name].ExpirationDate, name)
		assert.NotEqual(t, before[name], date, name)
	}
	same, _ := the.check(t, "--service", "kube-scheduler,kube-controller-manager")
	assert.NotEmpty(t, same.Items)
	assert.Equal(t, others, same, "no other service was rotated")
	b.process.kill(os.Interrupt)
	ended := <-b.process.outcome
	assert.Zero(t, ended.exit, "%s", ended)
	assert.NotContains(t, ended.stdout+ended.stderr, client.token)
	assert.NoFileExists(t, file)
}
