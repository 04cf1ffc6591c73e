package manifests

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

func base() Options {
	return Options{Settings: Settings{Image: "registry.test/node:1", WatcherImage: "registry.test/watcher:1"}, Namespace: "rotate-certs", Version: "v0.0.0"}
}

// variants are the shapes of an installation.
func variants() map[string]Options {
	embedded, stored, external, notify, agents := base(), base(), base(), base(), base()
	stored.StorageClass, stored.ImagePullSecret = "fast", "pull"
	external.NATSURLs, external.NATSSecret = []string{"tls://a.test:4222", "tls://b.test:4222"}, "rotate-certs-nats"
	external.ShareSummary, external.NATSReplicas, external.NATSDomain = true, 3, "hub"
	external.NATSSecretKeys = NATSSecretKeys(Settings{ShareSummary: true, Dashboard: true})
	notify.NotifyOnly = true
	agents.AgentDirectories, agents.KubeletRootDir = []string{"/srv"}, "/data/kubelet"
	agents.WithoutWatcher = true
	served := base()
	served.Dashboard = true
	served.DashboardTLSSecret = "dashboard-tls"
	served.DashboardHosts = []string{"certs.example.org"}
	served.DashboardProxies = []string{"auth-proxy"}
	return map[string]Options{"dashboard": served, "embedded": embedded, "stored": stored, "external": external, "notify-only": notify, "agents": agents}
}

func render(t *testing.T, o Options) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Render(o)
	require.NoError(t, err)
	return objects
}

// strictDecoder decodes as an API server with strict field validation does: an unknown or
// repeated field is an error. Its many types are registered once.
var strictDecoder = sync.OnceValue(func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
})

func typed(t *testing.T, u *unstructured.Unstructured) runtime.Object {
	t.Helper()
	text, err := json.Marshal(u.Object)
	require.NoError(t, err)
	object, _, err := strictDecoder().Decode(text, nil, nil)
	require.NoError(t, err, "%s %s", u.GetKind(), u.GetName())
	return object
}

func find[T runtime.Object](t *testing.T, objects []*unstructured.Unstructured, name, namespace string) T {
	t.Helper()
	for _, u := range objects {
		if u.GetName() != name || u.GetNamespace() != namespace {
			continue
		}
		if object, ok := typed(t, u).(T); ok {
			return object
		}
	}
	require.FailNow(t, "missing", "%s/%s", namespace, name)
	panic("unreachable")
}

func TestObjectsAreAcceptedByAnAPIServer(t *testing.T) {
	for name, options := range variants() {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			place := 0
			for _, u := range render(t, options) {
				typed(t, u)
				key := u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
				assert.False(t, seen[key], "%s twice", key)
				seen[key] = true
				assert.Equal(t, Name, u.GetLabels()[kube.LabelName], key)
				assert.Equal(t, ManagedBy, u.GetLabels()[kube.LabelManagedBy], key)
				kind, known := KindOf(u)
				require.True(t, known, "%s: nothing would remove it", key)
				assert.Equal(t, kind.Namespaced, u.GetNamespace() != "", key)
				assert.LessOrEqual(t, place, Place(u), "%s comes too late", key)
				place = Place(u)
			}
		})
	}
}

// TestGolden shows in review what an installation consists of. The definitions, which
// are generated, are left out.
func TestGolden(t *testing.T) {
	for name, options := range variants() {
		var out bytes.Buffer
		for _, u := range render(t, options) {
			if u.GetKind() == "CustomResourceDefinition" {
				continue
			}
			text, err := yaml.Marshal(u.Object)
			require.NoError(t, err)
			out.WriteString("---\n")
			out.Write(text)
		}
		path := filepath.Join("testdata", name+".yaml")
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err, "UPDATE=1 go test ./plugin/manifests writes it")
		assert.Equal(t, string(want), out.String(), "%s: UPDATE=1 go test ./plugin/manifests writes it anew", name)
	}
}

// rulesOf are the rights that a ServiceAccount gets in a namespace ("": cluster-wide).
func rulesOf(t *testing.T, objects []*unstructured.Unstructured, account, namespace string) []rbacv1.PolicyRule {
	t.Helper()
	var rules []rbacv1.PolicyRule
	bound := func(subjects []rbacv1.Subject) bool {
		return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool { return s.Kind == "ServiceAccount" && s.Name == account })
	}
	for _, u := range objects {
		if !strings.HasSuffix(u.GetKind(), "RoleBinding") {
			continue
		}
		switch b := typed(t, u).(type) {
		case *rbacv1.ClusterRoleBinding:
			if namespace == "" && bound(b.Subjects) {
				rules = append(rules, find[*rbacv1.ClusterRole](t, objects, b.RoleRef.Name, "").Rules...)
			}
		case *rbacv1.RoleBinding:
			if namespace == b.Namespace && bound(b.Subjects) {
				rules = append(rules, find[*rbacv1.Role](t, objects, b.RoleRef.Name, namespace).Rules...)
			}
		}
	}
	return rules
}

func allows(rules []rbacv1.PolicyRule, group, resource, verb string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
	})
}

func TestTheWatcherHasThePermissionsOfAUserWhoRotates(t *testing.T) {
	objects := render(t, base())
	for _, role := range kube.Roles(kube.UseRotate, "rotate-certs") {
		namespace, rules := "", []rbacv1.PolicyRule(nil)
		switch r := role.(type) {
		case *rbacv1.ClusterRole:
			rules = r.Rules
		case *rbacv1.Role:
			namespace, rules = r.Namespace, r.Rules
		}
		// A ClusterRole allows it in every namespace.
		has := slices.Concat(rulesOf(t, objects, Watcher, namespace), rulesOf(t, objects, Watcher, ""))
		for _, rule := range rules {
			assert.Contains(t, has, rule, "in namespace %q", namespace)
		}
	}
}

func TestRights(t *testing.T) {
	const certificates = "certificates.k8s.io"
	for name, tt := range map[string]struct {
		account, namespace, group, resource, verb string
		automatic, notify                         bool
	}{
		"creates pods beside it":          {Watcher, "rotate-certs", "", "pods", "create", true, false},
		"creates pods anywhere":           {Watcher, "", "", "pods", "create", false, false},
		"creates pods in kube-system":     {Watcher, "kube-system", "", "pods", "create", false, false},
		"deletes pods, see admission":     {Watcher, "", "", "pods", "delete", true, false},
		"runs commands":                   {Watcher, "rotate-certs", "", "pods/exec", "create", true, false},
		"approves requests":               {Watcher, "", certificates, "certificatesigningrequests/approval", "update", true, false},
		"creates requests":                {Watcher, "", certificates, "certificatesigningrequests", "create", true, false},
		"takes the lock, see admission":   {Watcher, "", "coordination.k8s.io", "leases", "create", true, false},
		"holds the lock":                  {Watcher, "", "coordination.k8s.io", "leases", "update", true, false},
		"reads Secrets":                   {Watcher, "rotate-certs", "", "secrets", "get", false, false},
		"reads Secrets anywhere":          {Watcher, "", "", "secrets", "list", false, false},
		"binds roles":                     {Watcher, "", "rbac.authorization.k8s.io", "clusterrolebindings", "create", false, false},
		"changes admission":               {Watcher, "", "admissionregistration.k8s.io", "validatingadmissionpolicies", "update", false, false},
		"reads reports":                   {Watcher, "", "rotate-certs.io", "nodecertificatereports", "list", true, true},
		"writes reports":                  {Watcher, "", "rotate-certs.io", "nodecertificatereports", "update", false, false},
		"creates CompromisedCertificates": {Watcher, "", "rotate-certs.io", "compromisedcertificates", "create", true, true},
		"deletes CompromisedCertificates": {Watcher, "", "rotate-certs.io", "compromisedcertificates", "delete", false, false},
		"starts rotations":                {Watcher, "", "rotate-certs.io", "certificaterotations", "create", true, false},
		"removes what is long past":       {Watcher, "", "rotate-certs.io", "certificaterotations", "delete", true, false},
		"changes rotations":               {Watcher, "", "rotate-certs.io", "certificaterotations", "update", false, false},
		"says how rotations stand":        {Watcher, "", "rotate-certs.io", "certificaterotations/status", "update", true, true},
		"reads the policy":                {Watcher, "", "rotate-certs.io", "rotationpolicies", "watch", true, true},
		"says what is in force":           {Watcher, "", "rotate-certs.io", "rotationpolicies/status", "update", true, true},
		"changes the policy":              {Watcher, "", "rotate-certs.io", "rotationpolicies", "update", false, false},
		"removes the policy":              {Watcher, "", "rotate-certs.io", "rotationpolicies", "delete", false, false},
		"an agent reads the policy":       {Agent, "", "rotate-certs.io", "rotationpolicies", "get", false, false},
		"publishes Events":                {Watcher, "", "", "events", "create", true, true},
		"an agent reads reports":          {Agent, "", "rotate-certs.io", "nodecertificatereports", "get", false, false},
		"an agent reads nodes":            {Agent, "", "", "nodes", "get", false, false},
		"an agent writes reports":         {Agent, "", "rotate-certs.io", "nodecertificatereports", "patch", true, true},
		"an agent starts rotations":       {Agent, "", "rotate-certs.io", "certificaterotations", "create", false, false},
		"an agent creates pods":           {Agent, "rotate-certs", "", "pods", "create", false, false},
		"an agent removes other reports":  {Agent, "", "rotate-certs.io", "nodecertificatereports", "delete", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.automatic, allows(rulesOf(t, render(t, base()), tt.account, tt.namespace), tt.group, tt.resource, tt.verb))
			assert.Equal(t, tt.notify, allows(rulesOf(t, render(t, variants()["notify-only"]), tt.account, tt.namespace), tt.group, tt.resource, tt.verb), "notify only")
		})
	}
}

func TestNoRuleHasAWildcard(t *testing.T) {
	for name, options := range variants() {
		for _, u := range render(t, options) {
			var rules []rbacv1.PolicyRule
			switch r := typed(t, u).(type) {
			case *rbacv1.ClusterRole:
				rules = r.Rules
			case *rbacv1.Role:
				rules = r.Rules
			}
			for _, r := range rules {
				assert.NotContains(t, strings.Join(slices.Concat(r.APIGroups, r.Resources, r.Verbs), " "), "*", "%s: %s", name, u.GetName())
			}
		}
	}
}

func TestWorkloadsHaveNoMoreThanTheyNeed(t *testing.T) {
	for name, options := range variants() {
		if options.WithoutWatcher {
			continue
		}
		d := find[*appsv1.Deployment](t, render(t, options), Watcher, options.Namespace)
		pod := d.Spec.Template.Spec
		c := pod.Containers[0]
		assert.True(t, *pod.SecurityContext.RunAsNonRoot, name)
		assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
		assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation, name)
		assert.Equal(t, "ALL", string(c.SecurityContext.Capabilities.Drop[0]), name)
		assert.False(t, pod.HostNetwork, name)
		for _, v := range pod.Volumes {
			assert.Nil(t, v.HostPath, name)
		}
		for key, value := range d.Spec.Selector.MatchLabels {
			assert.Equal(t, value, d.Spec.Template.Labels[key], "a selector cannot be changed by an upgrade")
		}
	}
	external := find[*appsv1.Deployment](t, render(t, variants()["external"]), Watcher, "rotate-certs")
	assert.Equal(t, int32(2), *external.Spec.Replicas)
	assert.Contains(t, external.Spec.Template.Spec.Containers[0].Args, "--nats-rotator-creds=/etc/rotate-certs/nats/rotator.creds")
	embedded := find[*appsv1.Deployment](t, render(t, base()), Watcher, "rotate-certs")
	assert.Equal(t, int32(1), *embedded.Spec.Replicas)
	assert.Equal(t, appsv1.RecreateDeploymentStrategyType, embedded.Spec.Strategy.Type, "two processes must not open one store")
}

func TestOnlyReadingIsPartOfTheClustersOwnRoles(t *testing.T) {
	for _, u := range render(t, base()) {
		for label := range u.GetLabels() {
			if strings.HasPrefix(label, "rbac.authorization.k8s.io/aggregate-to") {
				role := find[*rbacv1.ClusterRole](t, render(t, base()), u.GetName(), "")
				for _, r := range role.Rules {
					assert.Equal(t, []string{"get", "list", "watch"}, r.Verbs)
				}
			}
		}
	}
}
