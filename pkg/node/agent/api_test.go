package agent

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// apiServer is one that knows whose token it is asked with, or does not.
type apiServer struct {
	*httptest.Server
	identity string // the answer to a SelfSubjectReview; empty: there is no such thing
	refuse   int    // the status of every write; 0: done
	writes   []string
	asked    int
	body     v1alpha1.NodeCertificateReport
}

func newAPIServer(t *testing.T) (*apiServer, *API) {
	t.Helper()
	s := &apiServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/apis/authentication.k8s.io/v1/selfsubjectreviews" {
			s.asked++
			if s.identity == "" {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, s.identity)
			return
		}
		s.writes = append(s.writes, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type"))
		if s.refuse != 0 {
			w.WriteHeader(s.refuse)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"denied by policy","code":403}`)
			return
		}
		s.body = v1alpha1.NodeCertificateReport{}
		_ = json.Unmarshal(body, &s.body)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	api, err := NewAPI(&rest.Config{Host: s.URL})
	require.NoError(t, err)
	return s, api
}

const (
	ofNodeA  = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"u","extra":{"authentication.kubernetes.io/node-name":["a"],"authentication.kubernetes.io/node-uid":["1-2-3"]}}}}`
	ofNoNode = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"u"}}}`
)

func reportOf(node string) *v1alpha1.NodeCertificateReport {
	r := &v1alpha1.NodeCertificateReport{TypeMeta: metav1.TypeMeta{APIVersion: "rotate-certs.io/v1alpha1", Kind: "NodeCertificateReport"}}
	r.Name = node
	return r
}

func TestWriteAppliesTheReportOwnedByItsNode(t *testing.T) {
	s, api := newAPIServer(t)
	s.identity = ofNodeA
	require.NoError(t, api.WriteReport(t.Context(), reportOf("a")))
	require.NoError(t, api.WriteReport(t.Context(), reportOf("a")))
	const want = "PATCH /apis/rotate-certs.io/v1alpha1/nodecertificatereports/a?fieldManager=rotate-certs-agent&force=true&timeout=15s application/apply-patch+yaml"
	assert.Equal(t, []string{want, want}, s.writes)
	assert.Equal(t, 1, s.asked, "whose token this is does not change")
	assert.Equal(t, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "a", UID: "1-2-3"}}, s.body.OwnerReferences)
}

func TestWriteRefusesAnotherNodesName(t *testing.T) {
	s, api := newAPIServer(t)
	s.identity = ofNodeA
	assert.ErrorContains(t, api.WriteReport(t.Context(), reportOf("b")), `write report of node "b": this agent's token is of node "a"`)
	assert.Empty(t, s.writes)
}

func TestWriteWithoutANodeClaim(t *testing.T) {
	for name, identity := range map[string]string{"no claim": ofNoNode, "no such API": ""} {
		t.Run(name, func(t *testing.T) {
			s, api := newAPIServer(t)
			s.identity = identity
			require.NoError(t, api.WriteReport(t.Context(), reportOf("a")), "who is not confined may write, e.g. with a kubeconfig")
			assert.Empty(t, s.body.OwnerReferences)

			s.refuse = http.StatusForbidden
			err := api.WriteReport(t.Context(), reportOf("a"))
			assert.ErrorContains(t, err, "denied by policy")
			assert.Contains(t, hint.TextOf(err), "Kubernetes 1.32")
		})
	}
}

func TestWriteIsRetriedAfterTheAPIWasUnavailable(t *testing.T) {
	s, api := newAPIServer(t)
	s.identity = ofNodeA
	s.Close()
	require.Error(t, api.WriteReport(t.Context(), reportOf("a")))
	assert.False(t, api.asked)
}

func TestConnect(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := ConnectAPI("")
	assert.Contains(t, hint.TextOf(err), "--kubeconfig FILE")

	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte("clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"), 0o600))
	_, err = ConnectAPI(file)
	assert.NoError(t, err)
	_, err = ConnectAPI(file + ".missing")
	assert.ErrorContains(t, err, "read kubeconfig")
}
