package kube

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// secretsOf is an API server with these Secrets, on pages of one each. The very objects
// that it hands out are its own, so that a test sees what became of them.
func secretsOf(allowed bool, secrets ...*corev1.Secret) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
		review := a.(k8stesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		asked := review.Spec.ResourceAttributes
		review.Status.Allowed = allowed && asked.Verb == "list" && (asked.Resource == "secrets" || asked.Resource == "configmaps") && asked.Namespace == ""
		return true, review, nil
	})
	client.PrependReactor("list", "secrets", func(a k8stesting.Action) (bool, runtime.Object, error) {
		at := 0
		for i := range secrets {
			if a.(k8stesting.ListActionImpl).ListOptions.Continue == secrets[i].Name {
				at = i
			}
		}
		page := &corev1.SecretList{Items: []corev1.Secret{*secrets[at]}}
		if at+1 < len(secrets) {
			page.Continue = secrets[at+1].Name
		}
		return true, page, nil
	})
	return client
}

func TestSecretsAreSearchedAndOverwritten(t *testing.T) {
	ca := certstest.NewCA(t, "etcd-ca")
	pair, other := ca.Leaf(t, certstest.Name("etcd-client")), ca.Leaf(t, certstest.Name("other-client"))
	secret := func(namespace, name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
	}
	secrets := []*corev1.Secret{
		secret("monitoring", "etcd-client", map[string][]byte{"client.crt": pair.CertPEM(), "client.key": pair.KeyPEM(t), "ca.crt": certs.EncodePEM(ca.Cert)}),
		secret("kube-system", "calico", map[string][]byte{"etcd-cert": append(pair.KeyPEM(t), pair.CertPEM()...), "token": []byte("canary")}),
		secret("default", "other", map[string][]byte{"tls.crt": other.CertPEM()}),
	}
	f := certs.Fingerprint(pair.Leaf())
	found, err := FindInSecrets(t.Context(), secretsOf(true, secrets...), []string{f, ""})
	require.NoError(t, err)
	assert.Equal(t, []SecretCopy{
		{Namespace: "kube-system", Name: "calico", Key: "etcd-cert", FingerprintSHA256: f},
		{Namespace: "monitoring", Name: "etcd-client", Key: "client.crt", FingerprintSHA256: f},
	}, found.Found)
	assert.Empty(t, found.NotSearched)
	for _, s := range secrets {
		for key, value := range s.Data {
			assert.Empty(t, bytes.Trim(value, "\x00"), "%s/%s is still in memory", s.Name, key)
		}
	}
	text, err := json.Marshal(found)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "PRIVATE")
}

func TestNoSecretIsReadWithoutPermission(t *testing.T) {
	client := secretsOf(false, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
	_, err := FindInSecrets(t.Context(), client, []string{"ab"})
	var missing *MissingPermissionsError
	require.ErrorAs(t, err, &missing)
	assert.Contains(t, err.Error(), "list secrets")
	for _, a := range client.Actions() {
		assert.False(t, a.Matches("list", "secrets"))
	}
}

// A kubeconfig in a Secret or a ConfigMap is found by its certificate, as YAML or JSON.
func TestKubeconfigsInSecretsAndConfigMapsAreFound(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	pair := ca.Leaf(t, certstest.Name("kubernetes-admin"))
	conf := certstest.Kubeconfig(t, ca, "kubernetes-admin", pair)
	asJSON, err := yaml.YAMLToJSON(conf)
	require.NoError(t, err)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "deployer"}, Data: map[string][]byte{"kubeconfig": conf, "config.json": asJSON}}
	client := secretsOf(true, s)
	client.PrependReactor("list", "configmaps", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.ConfigMapList{Items: []corev1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "tools"},
			Data: map[string]string{"config": string(certstest.Kubeconfig(t, ca, "kubernetes-admin", pair)), "notes": "client-certificate-data: "}}}}, nil
	})
	f := certs.Fingerprint(pair.Leaf())
	found, err := FindInSecrets(t.Context(), client, []string{f})
	require.NoError(t, err)
	assert.Equal(t, []SecretCopy{
		{Namespace: "ci", Name: "deployer", Key: "config.json", FingerprintSHA256: f},
		{Namespace: "ci", Name: "deployer", Key: "kubeconfig", FingerprintSHA256: f},
		{Namespace: "ci", Name: "tools", Key: "config", FingerprintSHA256: f, ConfigMap: true},
	}, found.Found)
	for key, value := range s.Data {
		assert.Empty(t, bytes.Trim(value, "\x00"), "%s is still in memory", key)
	}
}

// ConfigMaps are not searched without the right to list them, which is said; Secrets are.
func TestConfigMapsAreNotSearchedWithoutPermission(t *testing.T) {
	client := secretsOf(true, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
	client.PrependReactor("create", "selfsubjectaccessreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
		review := a.(k8stesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		return review.Spec.ResourceAttributes.Resource == "configmaps", review, nil
	})
	found, err := FindInSecrets(t.Context(), client, []string{"ab"})
	require.NoError(t, err)
	assert.Equal(t, "ConfigMaps: missing permission to list configmaps in all namespaces", found.NotSearched)
	for _, a := range client.Actions() {
		assert.False(t, a.Matches("list", "configmaps"))
	}
}
