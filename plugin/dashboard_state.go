package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiversion "k8s.io/apimachinery/pkg/version"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// stateReader reads the state of a cluster by several requests at once.
type stateReader struct {
	*contextCluster
	objects *objects
	cluster *cluster

	mu      sync.Mutex
	state   dashboard.State
	nodes   []kubenode.Node
	reports []v1alpha1.NodeCertificateReport
	denied  map[string][]string // missing permissions, by the name of the question
	failure error               // of the API server itself
}

// The questions for permissions, besides [kube.UseCheck] and [kube.UseRotate].
var (
	accessRotation   = kube.Access{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: rotationsResource.Resource, Why: "have the watcher rotate"}
	accessFollow     = kube.Access{Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: rotationsResource.Resource, Why: "follow the rotation"}
	accessMark       = kube.Access{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: compromisedResource.Resource, Why: "mark certificates as compromised"}
	accessDeleteMark = kube.Access{Verb: "delete", Group: v1alpha1.GroupVersion.Group, Resource: compromisedResource.Resource, Why: "withdraw that mark"}
)

// State reads the objects of the API server.
func (d *contextCluster) State(ctx context.Context) (dashboard.State, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // the page waits for a little longer
	defer cancel()
	api, err := openObjects(d.conn)
	if err != nil {
		return dashboard.State{}, explainError(err, d.flags)
	}
	c, err := d.app.dial(d.conn)
	if err != nil {
		return dashboard.State{}, explainError(err, d.flags)
	}
	s := &stateReader{contextCluster: d, objects: api, cluster: c, denied: map[string][]string{}}
	var requests sync.WaitGroup
	for _, read := range []func(context.Context){
		s.readVersion, s.readWatcher, s.readNodes, s.readCertificates, s.readHolder, s.readRotations, s.readMarks, s.readPermissions,
	} {
		requests.Go(func() { read(ctx) })
	}
	requests.Wait()
	if s.failure != nil {
		// Without its cause: the text says more than that a deadline has passed.
		shown := explainCause(s.failure, d.flags.recoverHint)
		return dashboard.State{}, hint.AddTo(errors.New(shown.Error()), "%s", strings.Join(hint.AllOf(shown), "; "))
	}
	s.concludeState()
	return s.state, nil
}

// concludeState derives the parts that need several answers.
func (s *stateReader) concludeState() {
	s.state.Nodes = len(s.nodes)
	if len(s.reports) > 0 {
		list := reported.ListCertificates(s.reports, s.nodes, s.app.now())
		s.state.Certificates = &list
		s.state.Observed = reported.OldestReport(s.reports)
	}
	rotate := []string{string(kube.UseRotate)}
	if watcherRotates(s.state.Watcher) {
		rotate = []string{accessRotation.String(), accessFollow.String()}
	}
	s.state.Denied = map[dashboard.Right]string{}
	for right, questions := range map[dashboard.Right][]string{
		dashboard.RightScan: {string(kube.UseCheck)}, dashboard.RightRotate: rotate,
		dashboard.RightMark: {accessMark.String()}, dashboard.RightDeleteMark: {accessDeleteMark.String()},
	} {
		var missing []string
		for _, question := range questions {
			missing = append(missing, s.denied[question]...)
		}
		if len(missing) > 0 {
			s.state.Denied[right] = "missing permissions: " + strings.Join(missing, "; ")
		}
	}
	if s.state.Watcher == nil {
		why := "the watcher is not installed"
		if s.state.WatcherUnknown != "" {
			why = "whether the watcher is installed is unknown: " + s.state.WatcherUnknown
			s.state.NotRead = append(s.state.NotRead, "whether the watcher is installed: "+s.state.WatcherUnknown)
		}
		s.state.Denied[dashboard.RightMark] = why
		s.state.Denied[dashboard.RightDeleteMark] = why
	}
	slices.Sort(s.state.NotRead)
}

// noteFailure sorts an error: of the API server itself, or of one of its objects.
func (s *stateReader) noteFailure(what, verb, resource string, err error) {
	if err == nil || noSuchKind(err) { // nothing is installed
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case apierrors.IsForbidden(err):
		s.state.NotRead = append(s.state.NotRead, fmt.Sprintf("%s: missing permission: %s %s", what, verb, resource))
	case statusCode(err) != 0 && !apierrors.IsUnauthorized(err):
		s.state.NotRead = append(s.state.NotRead, what+": "+hint.TextOf(err))
	case s.failure == nil:
		s.failure = err
	}
}

func (s *stateReader) readVersion(ctx context.Context) {
	var info apiversion.Info
	raw, err := s.objects.client.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err != nil {
		s.noteFailure("the version of the API server", "get", "/version", fmt.Errorf("read the version of the API server: %w", err))
		return
	}
	s.state.Version = info.GitVersion
}

func (s *stateReader) readWatcher(ctx context.Context) {
	found, err := s.app.survey(ctx, s.conn)
	s.state.Watcher = found
	s.state.WatcherUnknown = whyUnknown(err)
}

// whyUnknown is why it is unknown whether the watcher is installed, in one line; empty: it is
// known.
func whyUnknown(err error) string {
	switch {
	case err == nil:
		return ""
	case apierrors.IsForbidden(err):
		return "missing permission: list deployments.apps and daemonsets.apps"
	}
	return firstLine(err)
}

func (s *stateReader) readNodes(ctx context.Context) {
	var err error
	s.nodes, err = s.cluster.api.Nodes(ctx)
	s.noteFailure("nodes", "list", "nodes", err)
}

func (s *stateReader) readCertificates(ctx context.Context) {
	var err error
	s.reports, err = s.app.readReports(ctx, s.conn)
	s.noteFailure("certificates", "list", reportsResource.GroupResource().String(), err)
}

func (s *stateReader) readHolder(ctx context.Context) {
	held, err := s.cluster.api.Holder(ctx)
	s.noteFailure("the rotation in progress", "get", fmt.Sprintf("leases.coordination.k8s.io %q in namespace %s", kube.LeaseName, kube.LeaseNamespace), err)
	if held != nil && s.app.now().Before(held.Until) {
		s.state.Holder = &v1alpha1.RunningRotation{Holder: held.Holder, Since: held.Since.UTC(), RunsOut: held.Until.UTC()}
	}
}

func (s *stateReader) readRotations(ctx context.Context) {
	var all []v1alpha1.CertificateRotation
	err := eachOf(ctx, s.objects, rotationsResource, func(r *v1alpha1.CertificateRotation) { all = append(all, *r) })
	s.noteFailure("CertificateRotations", "list", rotationsResource.GroupResource().String(), err)
	slices.SortStableFunc(all, func(a, b v1alpha1.CertificateRotation) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	s.state.Rotations = all
}

func (s *stateReader) readMarks(ctx context.Context) {
	var all []v1alpha1.CompromisedCertificate
	err := eachOf(ctx, s.objects, compromisedResource, func(c *v1alpha1.CompromisedCertificate) { all = append(all, *c) })
	s.noteFailure("CompromisedCertificates", "list", compromisedResource.GroupResource().String(), err)
	s.state.Marks = all
}

// readPermissions asks which of the rights the operator has. One request answers for a cluster
// administrator.
func (s *stateReader) readPermissions(ctx context.Context) {
	all, err := s.objects.isAllowed(ctx, everyAccess)
	if err != nil || all {
		s.noteFailure("your permissions", "create", "selfsubjectaccessreviews", err)
		return
	}
	var questions sync.WaitGroup
	for _, use := range []kube.Use{kube.UseCheck, kube.UseRotate} {
		questions.Go(func() { s.noteAnswer(string(use), s.cluster.api.Permitted(ctx, use)) })
	}
	for _, a := range []kube.Access{accessRotation, accessFollow, accessMark, accessDeleteMark} {
		questions.Go(func() { s.noteAnswer(a.String(), s.objects.requireAccess(ctx, a)) })
	}
	questions.Wait()
}

// requireAccess is an error where a permission is missing.
func (o *objects) requireAccess(ctx context.Context, a kube.Access) error {
	allowed, err := o.isAllowed(ctx, a)
	if err == nil && !allowed {
		return &kube.MissingPermissionsError{Use: kube.Use(a.Why), Missing: []string{a.String()}}
	}
	return err
}

func (s *stateReader) noteAnswer(question string, err error) {
	var missing *kube.MissingPermissionsError
	if !errors.As(err, &missing) {
		s.noteFailure("your permissions", "create", "selfsubjectaccessreviews", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[question] = missing.Missing
}

// watcherRotates reports whether a watcher carries CertificateRotations out: it is ready, or its
// readiness is not visible to the operator.
func watcherRotates(installed *v1alpha1.WatcherStatus) bool {
	switch {
	case installed == nil:
		return false
	case installed.Watcher == nil:
		return installed.Namespace == ""
	}
	return installed.Watcher.Ready > 0 && !installed.Watcher.NotifyOnly
}
