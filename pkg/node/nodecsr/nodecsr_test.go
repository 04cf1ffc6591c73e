package nodecsr

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// api is an API server for CSR objects only. It authenticates clients by their certificates.
type api struct {
	objects map[string]*certificatesv1.CertificateSigningRequest
	refuse  int // status code of every answer; 0: none
	clients []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(code int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), //nolint:gosec // an HTTP code
			Reason: map[int]metav1.StatusReason{401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists"}[code],
		})
	}
	a.clients = append(a.clients, r.TLS.PeerCertificates[0].Subject.CommonName)
	if a.refuse != 0 {
		fail(a.refuse)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/apis/certificates.k8s.io/v1/certificatesigningrequests")
	var object *certificatesv1.CertificateSigningRequest
	if r.Method == http.MethodPost {
		object = &certificatesv1.CertificateSigningRequest{}
		if err := json.NewDecoder(r.Body).Decode(object); err != nil {
			fail(400)
			return
		}
		if a.objects[object.Name] != nil {
			fail(409)
			return
		}
		a.objects[object.Name] = object
	} else if object = a.objects[strings.TrimPrefix(name, "/")]; object == nil {
		fail(404)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

// newCluster is a node's tree and the API server that its kubeconfig names.
func newCluster(t *testing.T) (*certstest.Tree, *api, *Requests) {
	t.Helper()
	tree := certstest.Kubeadm(t, "w1.example.com")
	serving := tree.CA.Leaf(t, certstest.SANs("127.0.0.1"), certstest.Usages(x509.ExtKeyUsageServerAuth))
	pair, err := tls.X509KeyPair(serving.CertPEM(), serving.KeyPEM(t))
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(tree.CA.Cert)

	a := &api{objects: map[string]*certificatesv1.CertificateSigningRequest{}}
	server := httptest.NewUnstartedServer(a)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)

	conf, err := tree.Root.ReadFile("/etc/kubernetes/kubelet.conf")
	require.NoError(t, err)
	conf = regexp.MustCompile(`server: .*`).ReplaceAll(conf, []byte("server: "+server.URL))
	tree.Write(t, "/etc/kubernetes/kubelet.conf", conf, 0o600)
	return tree, a, &Requests{Root: tree.Root, Kubeconfig: "/etc/kubernetes/kubelet.conf", Node: "w1.example.com"}
}

var csr = nodeapi.CSR{
	TargetID: "kubelet/kubelet-client@/x", Signer: certificatesv1.KubeAPIServerClientKubeletSignerName, PEM: "-----BEGIN CERTIFICATE REQUEST-----",
	Usages: []string{"digital signature", "client auth"}, ExpirationSeconds: 3600,
}

func TestPostAndGet(t *testing.T) {
	_, a, r := newCluster(t)
	name, err := r.PostCSR(t.Context(), csr)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(name, "rotate-certs-w1.example.com-"), name)
	assert.Equal(t, "system:node:w1.example.com", a.clients[0], "in the node's own name, through files below root")
	object := a.objects[name]
	require.NotNil(t, object)
	assert.Equal(t, csr.PEM, string(object.Spec.Request))
	assert.Equal(t, csr.Signer, object.Spec.SignerName)
	assert.Equal(t, []certificatesv1.KeyUsage{"digital signature", "client auth"}, object.Spec.Usages)
	assert.Equal(t, int32(3600), *object.Spec.ExpirationSeconds)

	again, err := r.PostCSR(t.Context(), csr)
	require.NoError(t, err, "an answer that got lost")
	assert.Equal(t, name, again)
	other := csr
	other.PEM += "x"
	another, err := r.PostCSR(t.Context(), other)
	require.NoError(t, err)
	assert.NotEqual(t, name, another)

	for what, tc := range map[string]struct {
		change func(s *certificatesv1.CertificateSigningRequestStatus)
		pem    string
		denied string
	}{
		"it waits": {func(*certificatesv1.CertificateSigningRequestStatus) {}, "", ""},
		"approved, not yet signed": {func(s *certificatesv1.CertificateSigningRequestStatus) {
			s.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved}}
		}, "", ""},
		"issued": {func(s *certificatesv1.CertificateSigningRequestStatus) { s.Certificate = []byte("PEM") }, "PEM", ""},
		"denied": {func(s *certificatesv1.CertificateSigningRequestStatus) {
			s.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Reason: "Policy", Message: "not on a Tuesday"}}
		}, "", "was denied: Policy: not on a Tuesday"},
		"failed": {func(s *certificatesv1.CertificateSigningRequestStatus) {
			s.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateFailed, Reason: "SignerValidationFailure"}}
		}, "", "could not sign"},
	} {
		object.Status = certificatesv1.CertificateSigningRequestStatus{}
		tc.change(&object.Status)
		pem, denied, err := r.GetIssued(t.Context(), name)
		require.NoError(t, err, what)
		assert.Equal(t, tc.pem, string(pem), what)
		assert.Contains(t, denied, tc.denied, what)
		assert.Equal(t, tc.denied == "", denied == "", what)
	}
	delete(a.objects, name)
	_, denied, err := r.GetIssued(t.Context(), name)
	require.NoError(t, err)
	assert.Contains(t, denied, "was deleted")
}

func TestAnIdentityThatIsRefused(t *testing.T) {
	for _, code := range []int{401, 403} {
		_, a, r := newCluster(t)
		a.refuse = code
		_, err := r.PostCSR(t.Context(), csr)
		require.ErrorContains(t, err, `as node "w1.example.com"`)
		assert.Len(t, a.clients, 1, "asking again would not help")
	}
}

func TestAnIdentityThatHasExpired(t *testing.T) {
	tree, a, r := newCluster(t)
	expired := tree.CA.Leaf(t, certstest.Name("system:node:w1.example.com", "system:nodes"), certstest.Usages(x509.ExtKeyUsageClientAuth),
		certstest.Valid(certstest.Now.AddDate(-1, 0, 0), certstest.Now.AddDate(0, 0, -1)))
	tree.Write(t, tree.KubeletCurrent, append(expired.CertPEM(), expired.KeyPEM(t)...), 0o600)
	_, err := r.PostCSR(t.Context(), csr)
	require.Error(t, err)
	assert.Empty(t, a.clients)
}

func TestGetReadsTheKubeconfigAgainAfterAFailure(t *testing.T) {
	tree, a, r := newCluster(t)
	name, err := r.PostCSR(t.Context(), csr)
	require.NoError(t, err)
	a.refuse = 401
	_, _, err = r.GetIssued(t.Context(), name)
	require.Error(t, err)
	a.refuse = 0
	renewed := tree.CA.Leaf(t, certstest.Name("system:node:renewed"), certstest.Usages(x509.ExtKeyUsageClientAuth))
	tree.Write(t, tree.KubeletCurrent, append(renewed.CertPEM(), renewed.KeyPEM(t)...), 0o600)
	_, _, err = r.GetIssued(t.Context(), name)
	require.NoError(t, err)
	assert.Equal(t, "system:node:renewed", a.clients[len(a.clients)-1])
}

func TestBadKubeconfigs(t *testing.T) {
	const secret = "c2VjcmV0LWtleQ"
	for name, tc := range map[string]struct {
		conf string
		want string
	}{
		"none":           {"", "no such file"},
		"not YAML":       {"users: [client-key-data: " + secret, "not a valid kubeconfig"},
		"a missing file": {"apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user: {client-key: missing.key, token: " + secret + "}\n", "/etc/missing.key"},
		"an exec plugin": {"apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login}}\n", `runs "login"`},
		"no cluster":     {"apiVersion: v1\nkind: Config\n", "kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Tree{Root: certstest.Kubeadm(t, "w1").Root}
			if tc.conf != "" {
				tree.Write(t, "/etc/kubelet.conf", []byte(tc.conf), 0o600)
			}
			_, err := (&Requests{Root: tree.Root, Kubeconfig: "/etc/kubelet.conf", Node: "w1"}).PostCSR(t.Context(), csr)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), secret)
			assert.NotContains(t, err.Error(), string(tree.Root), "paths are the host's")
		})
	}
}

func TestRelativePathsAreRelativeToTheKubeconfig(t *testing.T) {
	tree, _, r := newCluster(t)
	conf, err := tree.Root.ReadFile("/etc/kubernetes/kubelet.conf")
	require.NoError(t, err)
	current := "/var/lib/kubelet/pki/kubelet-client-current.pem"
	require.Contains(t, string(conf), current)
	tree.Write(t, "/var/lib/kubelet/kubelet.conf", []byte(strings.ReplaceAll(string(conf), current, "pki/kubelet-client-current.pem")), 0o600)
	r.Kubeconfig = "/var/lib/kubelet/kubelet.conf"
	require.NoError(t, os.Remove(tree.Local("/etc/kubernetes/kubelet.conf")))
	_, err = r.PostCSR(t.Context(), csr)
	require.NoError(t, err)
}

func TestObjectName(t *testing.T) {
	for _, node := range []string{"w1", "w1.example.com", "Weird_Node!", strings.Repeat("n", 253), "-x-"} {
		name := objectName(node, "request")
		assert.Regexp(t, `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`, name)
		assert.LessOrEqual(t, len(name), 253)
	}
}
