package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// request is a PKCS #10 request of node w1, changed by what is given.
func request(t *testing.T, change ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:w1", Organization: []string{"system:nodes"}}}
	for _, f := range change {
		f(r)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func names(dns []string, ips ...string) func(*x509.CertificateRequest) {
	return func(r *x509.CertificateRequest) {
		r.DNSNames = dns
		for _, ip := range ips {
			r.IPAddresses = append(r.IPAddresses, net.ParseIP(ip))
		}
	}
}

const (
	clientSigner  = certificatesv1.KubeAPIServerClientKubeletSignerName
	servingSigner = certificatesv1.KubeletServingSignerName
)

var (
	clientUsages  = []certificatesv1.KeyUsage{"digital signature", "key encipherment", "client auth"}
	servingUsages = []certificatesv1.KeyUsage{"digital signature", "server auth"}
)

func TestCheckRequest(t *testing.T) {
	all := []kubenode.Node{
		{Name: "w1", Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "W1"}, {Type: corev1.NodeInternalDNS, Address: "w1.internal"},
			{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeExternalIP, Address: "2001:db8::1"},
			{Type: corev1.NodeInternalIP, Address: "10.0.0.2"},
		}},
		{Name: "w2", Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.2"}, {Type: corev1.NodeHostName, Address: "w2"}}},
	}
	subject := func(cn string, o ...string) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: cn, Organization: o} }
	}
	tampered := request(t)
	block, _ := pem.Decode(tampered)
	block.Bytes[len(block.Bytes)-1] ^= 1
	tampered = pem.EncodeToMemory(block)

	for name, tc := range map[string]struct {
		request []byte
		signer  string
		usages  []certificatesv1.KeyUsage
		want    string // of the refusal; empty: good
	}{
		"a kubelet's client certificate":     {request(t), clientSigner, clientUsages, ""},
		"its serving certificate":            {request(t, names([]string{"w1", "w1.internal"}, "10.0.0.1", "2001:db8::1")), servingSigner, servingUsages, ""},
		"another node's name":                {request(t, subject("system:node:w2", "system:nodes")), clientSigner, clientUsages, "not for that of node"},
		"an administrator's name":            {request(t, subject("admin", "system:masters")), clientSigner, clientUsages, "not for that of node"},
		"one group too many":                 {request(t, subject("system:node:w1", "system:nodes", "system:masters")), clientSigner, clientUsages, "not for that of node"},
		"no group":                           {request(t, subject("system:node:w1")), clientSigner, clientUsages, "not for that of node"},
		"names in a client certificate":      {request(t, names([]string{"w1"})), clientSigner, clientUsages, "names in a client certificate"},
		"a usage too many":                   {request(t), clientSigner, append(slices.Clone(clientUsages), "server auth"), `usage "server auth"`},
		"a CA's usage":                       {request(t), clientSigner, append(slices.Clone(clientUsages), "cert sign"), `usage "cert sign"`},
		"a usage too few":                    {request(t), clientSigner, clientUsages[:2], `does not request usage "client auth"`},
		"no names in a serving one":          {request(t), servingSigner, servingUsages, "without names"},
		"a name of no node":                  {request(t, names([]string{"w1", "kubernetes.default"})), servingSigner, servingUsages, `DNS name "kubernetes.default"`},
		"a neighbour's name":                 {request(t, names([]string{"w2"})), servingSigner, servingUsages, `DNS name "w2"`},
		"an address of no node":              {request(t, names(nil, "10.96.0.1")), servingSigner, servingUsages, "10.96.0.1"},
		"an address that two nodes claim":    {request(t, names(nil, "10.0.0.2")), servingSigner, servingUsages, `which node "w2" has too`},
		"an address as a DNS name":           {request(t, names([]string{"10.0.0.1"})), servingSigner, servingUsages, `DNS name "10.0.0.1"`},
		"a URI":                              {request(t, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }), clientSigner, clientUsages, "e-mail or URI"},
		"a signer of other things":           {request(t), "kubernetes.io/kube-apiserver-client", clientUsages, "issues no kubelet certificates"},
		"a signature by another key":         {tampered, clientSigner, clientUsages, "not signed with its own key"},
		"a certificate instead of a request": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), clientSigner, clientUsages, "no PKCS #10 request"},
		"two requests":                       {append(request(t), request(t)...), clientSigner, clientUsages, "no PKCS #10 request"},
		"nonsense":                           {[]byte("hello"), clientSigner, clientUsages, "no PKCS #10 request"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkRequest(tc.request, tc.signer, tc.usages, "w1", all)
			if tc.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.Contains(t, hint.TextOf(err), tc.want)
		})
	}
}

func csrOf(t *testing.T, user string, change ...func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "rotate-certs-w1-1"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request(t), SignerName: clientSigner, Usages: clientUsages, Username: user, Groups: []string{"system:nodes", "system:authenticated"},
		},
	}
	for _, f := range change {
		f(csr)
	}
	return csr
}

func condition(kind certificatesv1.RequestConditionType) certificatesv1.CertificateSigningRequestCondition {
	return certificatesv1.CertificateSigningRequestCondition{Type: kind, Status: corev1.ConditionTrue, Reason: "Policy", Message: "says so"}
}

// signing plays the controller manager: it signs what is approved, a moment later.
func signing(t *testing.T, c *fake.Clientset, result func(*certificatesv1.CertificateSigningRequest)) *atomic.Int32 {
	t.Helper()
	var approvals atomic.Int32
	requests := certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")
	c.PrependReactor("update", "certificatesigningrequests", func(a ktesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "approval" {
			return false, nil, nil
		}
		approvals.Add(1)
		csr := a.(ktesting.UpdateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
		if err := c.Tracker().Update(requests, csr, ""); err != nil {
			return true, nil, err
		}
		time.AfterFunc(3*time.Second, func() {
			csr := csr.DeepCopy()
			result(csr)
			_ = c.Tracker().Update(requests, csr, "")
		})
		return true, csr, nil
	})
	return &approvals
}

func certify(csr *certificatesv1.CertificateSigningRequest) {
	csr.Status.Certificate = []byte("-----BEGIN CERTIFICATE-----")
}

func TestApprove(t *testing.T) {
	node1 := "system:node:w1"
	for name, tc := range map[string]struct {
		csr       func(t *testing.T) *certificatesv1.CertificateSigningRequest
		signer    func(*certificatesv1.CertificateSigningRequest)
		approvals int32
		want      string
	}{
		"not approved by others": {func(t *testing.T) *certificatesv1.CertificateSigningRequest { return csrOf(t, node1) }, certify, 1, ""},
		"approved by the cluster, and issued": {func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			return csrOf(t, node1, func(c *certificatesv1.CertificateSigningRequest) {
				c.Status.Conditions = append(c.Status.Conditions, condition(certificatesv1.CertificateApproved))
				certify(c)
			})
		}, certify, 0, ""},
		"denied": {func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			return csrOf(t, node1, func(c *certificatesv1.CertificateSigningRequest) {
				c.Status.Conditions = append(c.Status.Conditions, condition(certificatesv1.CertificateDenied))
			})
		}, certify, 0, "Denied by its signer or an approver: Policy: says so"},
		"the signer cannot": {func(t *testing.T) *certificatesv1.CertificateSigningRequest { return csrOf(t, node1) },
			func(c *certificatesv1.CertificateSigningRequest) {
				c.Status.Conditions = append(c.Status.Conditions, condition(certificatesv1.CertificateFailed))
			}, 1, "Failed by its signer"},
		"not signed": {func(t *testing.T) *certificatesv1.CertificateSigningRequest { return csrOf(t, node1) },
			func(*certificatesv1.CertificateSigningRequest) {}, 1, "is a controller manager running"},
		"made by another node": {func(t *testing.T) *certificatesv1.CertificateSigningRequest { return csrOf(t, "system:node:w2") }, certify, 0, `made by "system:node:w2"`},
		"made by an impostor without the group": {func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			return csrOf(t, node1, func(c *certificatesv1.CertificateSigningRequest) { c.Spec.Groups = nil })
		}, certify, 0, "made by"},
		"for another signer than recorded": {func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			return csrOf(t, node1, func(c *certificatesv1.CertificateSigningRequest) { c.Spec.SignerName = servingSigner })
		}, certify, 0, "it is for signer"},
		"for more than it may": {func(t *testing.T) *certificatesv1.CertificateSigningRequest {
			return csrOf(t, node1, func(c *certificatesv1.CertificateSigningRequest) {
				c.Spec.Request = request(t, func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} })
			})
		}, certify, 0, "it requests subject"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, tc.csr(t), node("w1"))
				approvals := signing(t, c, tc.signer)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := (&Signers{Client: c}).Approve(ctx, "w1", nodeapi.CSR{Name: "rotate-certs-w1-1", Signer: clientSigner})
				assert.Equal(t, tc.approvals, approvals.Load())
				if tc.want != "" {
					require.Contains(t, hint.TextOf(err), tc.want)
					return
				}
				require.NoError(t, err)
				csr, err := c.CertificatesV1().CertificateSigningRequests().Get(t.Context(), "rotate-certs-w1-1", metav1.GetOptions{})
				require.NoError(t, err)
				if tc.approvals > 0 {
					assert.Equal(t, ApprovalReason, csr.Status.Conditions[0].Reason)
				}
			})
		})
	}
}

func TestApproveWaitsForTheControllerManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, csrOf(t, "system:node:w1"))
		approvals := signing(t, c, certify)
		time.AfterFunc(time.Second/2, func() {
			csr := csrOf(t, "system:node:w1")
			csr.Status.Conditions = append(csr.Status.Conditions, condition(certificatesv1.CertificateApproved))
			certify(csr)
			_ = c.Tracker().Update(certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests"), csr, "")
		})
		require.NoError(t, (&Signers{Client: c}).Approve(t.Context(), "w1", nodeapi.CSR{Name: "rotate-certs-w1-1", Signer: clientSigner}))
		assert.Zero(t, approvals.Load())
	})
}

func TestIssue(t *testing.T) {
	ask := func(t *testing.T, change ...func(*x509.CertificateRequest)) nodeapi.CSR {
		return nodeapi.CSR{Signer: clientSigner, PEM: string(request(t, change...)), Usages: []string{"digital signature", "client auth"}, ExpirationSeconds: 60}
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, node("w1"))
		var asked certificatesv1.CertificateSigningRequestSpec
		approvals := signing(t, c, func(csr *certificatesv1.CertificateSigningRequest) { asked = csr.Spec; certify(csr) })
		got, err := (&Signers{Client: c}).Issue(t.Context(), "w1", ask(t))
		require.NoError(t, err)
		assert.Equal(t, "-----BEGIN CERTIFICATE-----", string(got))
		assert.Equal(t, int32(1), approvals.Load())
		assert.Equal(t, int32(600), *asked.ExpirationSeconds, "less is refused by the API")
		left, err := c.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		assert.Empty(t, left.Items, "the object is removed again")
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, node("w1"), node("w2"))
		_, err := (&Signers{Client: c}).Issue(t.Context(), "w2", ask(t))
		require.ErrorContains(t, err, `refuse the request of node "w2"`)
		for _, a := range c.Actions() {
			assert.NotEqual(t, "create", a.GetVerb(), "a refused request leaves no trace")
		}
	})
}

// What an earlier run left, perhaps of another user, is not used: the watcher may approve
// what it requested itself, and no request of another user.
func TestIssueReplacesALeftoverRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, node("w1"))
		ask := nodeapi.CSR{Signer: clientSigner, PEM: string(request(t)), Usages: []string{"digital signature", "client auth"}}
		left := csrOf(t, "jane", func(csr *certificatesv1.CertificateSigningRequest) {
			csr.Name = "rotate-certs-" + shortHash("w1"+clientSigner+ask.PEM)
		})
		require.NoError(t, c.Tracker().Add(left))
		var asked certificatesv1.CertificateSigningRequestSpec
		signing(t, c, func(csr *certificatesv1.CertificateSigningRequest) { asked = csr.Spec; certify(csr) })
		_, err := (&Signers{Client: c}).Issue(t.Context(), "w1", ask)
		require.NoError(t, err)
		assert.NotEqual(t, "jane", asked.Username)
		require.NotNil(t, asked.ExpirationSeconds, "it always says for how long")
		assert.Equal(t, int32(365*24*3600), *asked.ExpirationSeconds)
	})
}
