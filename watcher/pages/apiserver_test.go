package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

var noon = time.Date(2030, time.May, 17, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// viewer, starter and responder are what the roles of these names allow.
var (
	viewer    = []string{"list nodecertificatereports", "list certificaterotations", "list compromisedcertificates", "list rotationpolicies", "get certificaterotations"}
	starter   = append([]string{"create certificaterotations"}, viewer...)
	responder = append([]string{"create compromisedcertificates"}, viewer...)
	admin     = append([]string{"list nodes", "get leases", "create compromisedcertificates"}, starter...)
)

// apiServer reviews tokens and permissions, and holds what is created.
type apiServer struct {
	sync.Mutex
	*httptest.Server
	t *testing.T
	// rights are those of users, as "verb resource". The token of NAME is "token-of-NAME".
	rights  map[string][]string
	created map[string]map[string]any // by path
	reviews []authenticationv1.TokenReviewSpec
	asked   []authorizationv1.SubjectAccessReviewSpec
	down    bool
}

func newAPIServer(t *testing.T, rights map[string][]string) *apiServer {
	t.Helper()
	s := &apiServer{t: t, rights: rights, created: map[string]map[string]any{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(object any) {
		_ = json.NewEncoder(w).Encode(object)
	}
	if s.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/tokenreviews"):
		answer(s.reviewToken(r))
	case strings.HasSuffix(r.URL.Path, "/subjectaccessreviews"):
		answer(s.reviewAccess(r))
	case r.URL.Path == "/version":
		answer(map[string]any{"gitVersion": "v1.37.2"})
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/apis/rotate-certs.io/v1alpha1/"):
		object := map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&object)
		metadata := object["metadata"].(map[string]any)
		metadata["name"] = fmt.Sprint(metadata["generateName"]) + "x7k2p"
		metadata["creationTimestamp"] = noon.Format(time.RFC3339)
		s.created[r.URL.Path+"/"+fmt.Sprint(metadata["name"])] = object
		w.WriteHeader(http.StatusCreated)
		answer(object)
	case r.Method == http.MethodGet && s.created[r.URL.Path] != nil:
		answer(s.created[r.URL.Path])
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
	}
}

func (s *apiServer) reviewToken(r *http.Request) authenticationv1.TokenReview {
	var review authenticationv1.TokenReview
	_ = json.NewDecoder(r.Body).Decode(&review)
	s.reviews = append(s.reviews, review.Spec)
	name, is := strings.CutPrefix(review.Spec.Token, "token-of-")
	if _, known := s.rights[name]; is && known {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authenticationv1.UserInfo{
			Username: name, UID: "7", Groups: []string{"system:authenticated"}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"certs"}}}}
	}
	if review.Spec.Token == "without-audiences" {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "jane"}}
	}
	return review
}

func (s *apiServer) reviewAccess(r *http.Request) authorizationv1.SubjectAccessReview {
	var review authorizationv1.SubjectAccessReview
	_ = json.NewDecoder(r.Body).Decode(&review)
	s.asked = append(s.asked, review.Spec)
	for _, right := range s.rights[review.Spec.User] {
		if a := review.Spec.ResourceAttributes; right == a.Verb+" "+a.Resource {
			review.Status.Allowed = true
		}
	}
	return review
}

// setRights changes what a user may.
func (s *apiServer) setRights(name string, rights []string) {
	s.Lock()
	defer s.Unlock()
	s.rights[name] = rights
}

// setStatus sets the status of an object that was created.
func (s *apiServer) setStatus(path string, state v1alpha1.RotationState, message string) {
	s.Lock()
	defer s.Unlock()
	require.NotNil(s.t, s.created[path], path)
	s.created[path]["status"] = map[string]any{"rotationID": "abc123", "conditions": []any{
		map[string]any{"type": "Succeeded", "status": map[v1alpha1.RotationState]string{v1alpha1.StateSucceeded: "True"}[state], "reason": string(state), "message": message}}}
}

func (s *apiServer) objects() map[string]map[string]any {
	s.Lock()
	defer s.Unlock()
	out := map[string]map[string]any{}
	for path, object := range s.created {
		out[path] = object
	}
	return out
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	out := runtime.NewScheme()
	require.NoError(t, corev1.AddToScheme(out))
	require.NoError(t, v1alpha1.AddToScheme(out))
	return out
}

// sampleObjects are a control-plane node with a report, one without, and what the watcher has.
func sampleObjects() []client.Object {
	leaf := v1alpha1.ReportedCertificate{Service: certs.Etcd, Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt", Subject: "CN=etcd", FingerprintSHA256: strings.Repeat("ab", 32),
		NotBefore: metav1.NewTime(noon.Add(-100 * day)), NotAfter: metav1.NewTime(noon.Add(200 * day))}
	report := &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp1"}, Certificates: []v1alpha1.ReportedCertificate{leaf},
		Summary: v1alpha1.ReportSummary{ObservedAt: noon.Add(-time.Minute).Format(time.RFC3339), Certificates: 1}}
	report.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCertificatesDue, Status: metav1.ConditionTrue, Reason: "OutsideWindow", Message: "etcd waits for Sunday"}}
	rotation := &v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: "auto-1"}, Spec: v1alpha1.CertificateRotationSpec{Services: []certs.Service{certs.Kubelet}}}
	mark := &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "admin-1"}, Spec: v1alpha1.CompromisedCertificateSpec{Service: certs.Admin, Reason: "laptop stolen"}}
	ready := corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"}}
	return []client.Object{report, rotation, mark,
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp1", Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}, Status: ready},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}, Status: ready}}
}

// newSource is the cluster of the watcher, whose reviews and objects are those of an API server.
func newSource(t *testing.T, s *apiServer, change func(*Source)) (*Source, *events.FakeRecorder) {
	t.Helper()
	config := &rest.Config{Host: s.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"CertificateRotation", "CompromisedCertificate"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	live, err := client.New(config, client.Options{Scheme: scheme(t), Mapper: mapper})
	require.NoError(t, err)
	reviews, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	recorder := events.NewFakeRecorder(100)
	out := &Source{Name: "prod", Server: "https://10.0.0.1:6443", Namespace: "rotate-certs", Version: "v0.9.0", Events: publishedEvents{},
		Cached: fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(sampleObjects()...).Build(), Live: live, Creator: live, Client: reviews,
		Recorder: recorder, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }, Pause: func(ctx context.Context) bool { return ctx.Err() == nil }}
	if change != nil {
		change(out)
	}
	return out, recorder
}

// clusterOf is the cluster of a user without other credentials than a name.
func clusterOf(t *testing.T, s *Source, name string) dashboard.Cluster {
	t.Helper()
	out, err := s.ClustersOf(dashboard.User{Name: name}).Open("prod")
	require.NoError(t, err)
	return out
}

// nextEvent is the next Event that was written.
func nextEvent(t *testing.T, recorder *events.FakeRecorder) string {
	t.Helper()
	select {
	case line := <-recorder.Events:
		return line
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no Event was written")
		return ""
	}
}
