package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// surveyWatcher reads the watcher's objects while the nodes are scanned.
func (o *reader) surveyWatcher(ctx context.Context) <-chan *v1alpha1.WatcherStatus {
	out := make(chan *v1alpha1.WatcherStatus, 1)
	if o.survey == nil {
		out <- nil
		return out
	}
	go func() {
		found, _ := o.survey(ctx, o.conn) // unknown: the rest of status says why, or the operator may read none of it
		out <- found
	}()
	return out
}

// surveyWatcher returns the state of the watcher, its agents and pending rotations; nil where
// nothing is installed. An error means that it is unknown whether something is. Kinds that cannot
// be read are listed, and do not stop the rest.
func (a *app) surveyWatcher(ctx context.Context, c connection) (*v1alpha1.WatcherStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	api, err := openObjects(c)
	if err != nil {
		return nil, err
	}
	found, err := api.findInstallation(ctx, "")
	if found == nil && (err == nil || !apierrors.IsForbidden(err)) {
		return nil, err
	}
	s := &survey{objects: api, now: a.now(), status: &v1alpha1.WatcherStatus{
		WithoutReport: []v1alpha1.NodeWithoutReport{}, Due: []v1alpha1.DueOnNode{}, CompromisedCertificates: []v1alpha1.OpenCompromisedCertificate{}, Rotations: []v1alpha1.OpenRotation{},
	}}
	if found != nil {
		s.readInstallation(ctx, found)
	} else {
		s.notSeen("whether the watcher is installed", err)
	}
	policy := s.policyInForce(ctx)
	reports := s.readReports(ctx)
	compromised := s.compromisedCertificates(ctx)
	rotations := s.readRotations(ctx)
	if found == nil && policy != nil && reports != nil && compromised != nil && rotations != nil {
		return nil, err // the operator may read none of it
	}
	s.notSeen("the policy", policy)
	s.notSeen("reports", reports)
	s.notSeen("CompromisedCertificates", compromised)
	s.notSeen("rotations", rotations)
	return s.status, nil
}

// survey reads the state of an installation once.
type survey struct {
	*objects
	now    time.Time
	status *v1alpha1.WatcherStatus
}

func (s *survey) notSeen(what string, err error) {
	switch {
	case err == nil:
	case noSuchKind(err):
		s.status.NotSeen = append(s.status.NotSeen, what+": the API server does not know them; run install again")
	default:
		s.status.NotSeen = append(s.status.NotSeen, what+": "+hint.TextOf(err))
	}
}

func (s *survey) readInstallation(ctx context.Context, found *installation) {
	s.status.Namespace = found.namespace
	s.status.Skew = versionSkew(version.Version, found.installedVersions(), displayName)
	if d := found.agents; d != nil {
		s.status.Agents = &v1alpha1.ReadyCount{Ready: d.Status.NumberReady, Wanted: d.Status.DesiredNumberScheduled}
	}
	d := found.watcher
	if d == nil {
		return
	}
	health := &v1alpha1.WatcherHealth{
		ReadyCount: v1alpha1.ReadyCount{Ready: d.Status.ReadyReplicas, Wanted: wantedReplicas(d)},
		NotifyOnly: found.notifyOnly(), NATS: natsOf(d), Version: versionOf(d),
	}
	s.status.Watcher = health
	lease, err := s.client.CoordinationV1().Leases(found.namespace).Get(ctx, manifests.Watcher, metav1.GetOptions{})
	if err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
		// "pod_uuid", as controller-runtime writes it.
		health.Leader, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_")
	}
	if health.Ready < health.Wanted {
		health.Problem = s.readinessProblem(ctx, found.namespace)
	}
}

// readinessProblem says why a watcher is not ready, by its pod's status or its own readiness endpoint.
func (s *survey) readinessProblem(ctx context.Context, namespace string) string {
	pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.Selector + "," + kube.LabelComponent + "=watcher", Limit: page,
	})
	if err != nil {
		return ""
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if podReady(p) || p.DeletionTimestamp != nil {
			continue
		}
		if trouble, _ := kube.PodTrouble(p); trouble != nil {
			return trouble.Error()
		}
		said, err := s.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
			Name(p.Name + ":8080").SubResource("proxy").Suffix("readyz").DoRaw(ctx)
		if text := strings.TrimSpace(string(said)); err != nil && text != "" && len(text) < 1000 {
			return text
		}
		return fmt.Sprintf("it is not ready\nsee: kubectl -n %s logs %s", namespace, p.Name)
	}
	return ""
}

// readReports finds nodes without a fresh report, and those on which something is due. It requests
// tables, whose columns are enough: the reports of thousands of nodes are large. What is due
// is also known where the nodes may not be listed.
func (s *survey) readReports(ctx context.Context) error {
	seen := map[string]time.Time{}
	if err := s.eachReportRow(ctx, func(r row) {
		at, _ := time.Parse(time.RFC3339, r.observed) // not readable: not fresh
		seen[r.name] = at
		if r.waits != "" { // only while something is due
			s.status.Due = append(s.status.Due, v1alpha1.DueOnNode{Node: r.name, Reason: r.due, Message: r.waits})
		}
	}); err != nil {
		return err
	}
	nodes, err := kube.ListNodes(ctx, s.client)
	if err != nil {
		s.notSeen("nodes without a report", err)
		for name := range seen {
			nodes = append(nodes, kubenode.Node{Name: name})
		}
		slices.SortFunc(nodes, func(a, b kubenode.Node) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, n := range nodes {
		at, has := seen[n.Name]
		var reason string
		switch {
		case n.Foreign():
			continue // no agent runs there
		case !has && !n.Ready:
			reason = "NotReady, and never reported"
		case !has:
			reason = "never reported"
		case s.now.Sub(at) > v1alpha1.FreshFor(v1alpha1.ReportHeartbeat):
			reason = fmt.Sprintf("last reported at %s (%s ago)", printers.UTCMinute(at), printers.RemainingTime(s.now.Sub(at)))
		default:
			continue
		}
		s.status.WithoutReport = append(s.status.WithoutReport, v1alpha1.NodeWithoutReport{Node: n.Name, Reason: reason})
	}
	return nil
}

func (s *survey) compromisedCertificates(ctx context.Context) error {
	return eachOf(ctx, s.objects, compromisedResource, func(m *v1alpha1.CompromisedCertificate) {
		if meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReplaced) {
			return
		}
		s.status.CompromisedCertificates = append(s.status.CompromisedCertificates, v1alpha1.OpenCompromisedCertificate{
			Name: m.Name, Service: m.Spec.Service, Nodes: m.Spec.Nodes, Reason: m.Spec.Reason, Rotation: m.Status.Rotation,
			Message: openMessage(m.Status.Conditions),
		})
	})
}

// openMessage is why a CompromisedCertificate is pending, by its conditions.
func openMessage(conditions []metav1.Condition) string {
	for _, kind := range []string{v1alpha1.ConditionReplaced, v1alpha1.ConditionAccepted} {
		for _, c := range conditions {
			if c.Type == kind && c.Message != "" {
				return c.Message
			}
		}
	}
	return ""
}

func (s *survey) readRotations(ctx context.Context) error {
	return eachOf(ctx, s.objects, rotationsResource, func(r *v1alpha1.CertificateRotation) {
		if r.State() == v1alpha1.StateSucceeded {
			return
		}
		s.status.Rotations = append(s.status.Rotations, reported.OpenRotation(r))
	})
}
