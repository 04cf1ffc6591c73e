package manifests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

const (
	clientSigner  = certificatesv1.KubeAPIServerClientKubeletSignerName
	servingSigner = certificatesv1.KubeletServingSignerName
)

// kubeletRequest is a PKCS #10 request of node w1, for the signer.
func kubeletRequest(t *testing.T, signer string) []byte {
	t.Helper()
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:w1", Organization: []string{"system:nodes"}}}
	if signer == servingSigner {
		r.IPAddresses = []net.IP{net.ParseIP("10.0.0.1")}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func kubeletUsages(signer string) []certificatesv1.KeyUsage {
	if signer == servingSigner {
		return []certificatesv1.KeyUsage{"digital signature", "key encipherment", "server auth"}
	}
	return []certificatesv1.KeyUsage{"digital signature", "client auth"}
}

// written has the very code that the watcher runs make and approve a request, and returns
// the objects that it sends. made is the node's own request; nil: it cannot ask.
func written(t *testing.T, signer string, made *certificatesv1.CertificateSigningRequest) (create, approval *certificatesv1.CertificateSigningRequest) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}}}
	objects := []runtime.Object{node}
	if made != nil {
		objects = append(objects, made)
	}
	c := fake.NewClientset(objects...)
	c.PrependReactor("create", "certificatesigningrequests", func(a ktesting.Action) (bool, runtime.Object, error) {
		create = a.(ktesting.CreateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
		create.Spec.Username = watcherUser // as the API server does
		return false, nil, nil
	})
	c.PrependReactor("update", "certificatesigningrequests", func(a ktesting.Action) (bool, runtime.Object, error) {
		assert.Equal(t, "approval", a.GetSubresource())
		approval = a.(ktesting.UpdateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
		return true, nil, apierrors.NewForbidden(certificatesv1.Resource("certificatesigningrequests"), approval.Name, errors.New("seen enough"))
	})
	want := nodeapi.CSR{Signer: signer, PEM: string(kubeletRequest(t, signer))}
	for _, u := range kubeletUsages(signer) {
		want.Usages = append(want.Usages, string(u))
	}
	signers := &kube.Signers{Client: c}
	if made == nil {
		_, err := signers.Issue(t.Context(), "w1", want)
		require.ErrorContains(t, err, "seen enough")
		return create, approval
	}
	want.Name = made.Name
	require.ErrorContains(t, signers.Approve(t.Context(), "w1", want), "seen enough")
	return nil, approval
}

// ofNode is the request that the node program makes with the node's own identity.
func ofNode(t *testing.T, signer string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	year := int32(365 * 24 * 3600)
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "rotate-certs-w1-0123456789"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: kubeletRequest(t, signer), SignerName: signer, Usages: kubeletUsages(signer), ExpirationSeconds: &year,
			Username: "system:node:w1", Groups: []string{"system:nodes", "system:authenticated"},
		},
	}
}

func csrMap(t *testing.T, csr *certificatesv1.CertificateSigningRequest) map[string]any {
	t.Helper()
	if csr == nil {
		return nil
	}
	text, err := json.Marshal(csr)
	require.NoError(t, err)
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func csrPolicy(t *testing.T) *admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	return find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-watcher-csrs", "")
}

func csrCall(operation, subresource, user string) map[string]any {
	out := map[string]any{"operation": operation, "userInfo": map[string]any{"username": user}}
	if subresource != "" {
		out["subResource"] = subresource
	}
	return out
}

func TestTheWatchersOwnRequestsAreAdmitted(t *testing.T) {
	policy := csrPolicy(t)
	for _, signer := range []string{clientSigner, servingSigner} {
		create, approval := written(t, signer, nil)
		assert.Empty(t, judge(t, policy, csrCall("CREATE", "", watcherUser), csrMap(t, create)), signer)
		assert.Empty(t, judge(t, policy, csrCall("UPDATE", "approval", watcherUser), csrMap(t, approval)), signer)
		assert.Empty(t, judgeChange(t, policy, csrCall("DELETE", "", watcherUser), nil, csrMap(t, create)), signer)
		_, approval = written(t, signer, ofNode(t, signer))
		assert.Empty(t, judge(t, policy, csrCall("UPDATE", "approval", watcherUser), csrMap(t, approval)), signer)
	}
}

func TestOtherRequestsOfTheWatcherAreRefused(t *testing.T) {
	policy := csrPolicy(t)
	rule := policy.Spec.MatchConstraints.ResourceRules[0]
	assert.Equal(t, []admissionv1.OperationType{"CREATE", "UPDATE", "DELETE"}, rule.Operations)
	assert.Equal(t, []string{"certificatesigningrequests", "certificatesigningrequests/*"}, rule.Resources)
	change := func(f func(*certificatesv1.CertificateSigningRequest)) func(*testing.T) *certificatesv1.CertificateSigningRequest {
		return func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			csr := ofNode(t, clientSigner)
			f(csr)
			return csr
		}
	}
	for name, tt := range map[string]struct {
		operation, subresource string
		csr                    func(*testing.T) *certificatesv1.CertificateSigningRequest
	}{
		"a user's certificate": {"CREATE", "", change(func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.SignerName = certificatesv1.KubeAPIServerClientSignerName
		})},
		"approving a user's certificate": {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.SignerName = certificatesv1.KubeAPIServerClientSignerName
		})},
		"another's signer":             {"CREATE", "", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.SignerName = "example.com/ca" })},
		"no expiration":                {"CREATE", "", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.ExpirationSeconds = nil })},
		"approving without expiration": {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.ExpirationSeconds = nil })},
		"a server's usage of a client": {"CREATE", "", change(func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Usages = append(c.Spec.Usages, "server auth")
		})},
		"a usage that signs":            {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Usages = append(c.Spec.Usages, "cert sign") })},
		"another name":                  {"CREATE", "", change(func(c *certificatesv1.CertificateSigningRequest) { c.Name = "csr-x7k2p" })},
		"approving what a kubelet made": {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Name = "csr-x7k2p" })},
		"approving a person's":          {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Username = "eve" })},
		"approving a ServiceAccount's": {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Username = "system:serviceaccount:eve:rotate-certs-watcher"
		})},
		"approving a bootstrap token's":   {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Username = "system:bootstrap:abcdef" })},
		"approving a node's, no group":    {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Groups = nil })},
		"approving a node without a name": {"UPDATE", "approval", change(func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Username = "system:node:" })},
		"changing one otherwise":          {"UPDATE", "", change(func(*certificatesv1.CertificateSigningRequest) {})},
		"issuing":                         {"UPDATE", "status", change(func(*certificatesv1.CertificateSigningRequest) {})},
		"deleting what a kubelet made":    {"DELETE", "", change(func(c *certificatesv1.CertificateSigningRequest) { c.Name = "csr-x7k2p" })},
	} {
		t.Run(name, func(t *testing.T) {
			object, old := csrMap(t, tt.csr(t)), map[string]any(nil)
			if tt.operation == "DELETE" {
				object, old = nil, object
			}
			assert.NotEmpty(t, judgeChange(t, policy, csrCall(tt.operation, tt.subresource, watcherUser), object, old))
			assert.Empty(t, judgeChange(t, policy, csrCall(tt.operation, tt.subresource, "jane"), object, old), "what people may do is not its business")
		})
	}
}
