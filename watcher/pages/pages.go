// Package pages reads and creates objects for the users of the watcher's dashboard: it shows objects
// in the watcher's cache to users with the permission to list them, and creates CertificateRotations
// and CompromisedCertificates for users with the permission to create them. It creates no pod.
package pages

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

// Source is the cluster of the watcher. It implements [dashboard.Users].
type Source struct {
	Name       string // of the cluster, on the pages
	Server     string // URL of the API server
	Namespace  string // of the watcher
	Version    string // of the watcher
	NotifyOnly bool
	// Proxies are the common names of the certificates of proxies that name users in headers.
	Proxies []string
	// OtherClusters are those that share summaries; nil: none do.
	OtherClusters *OtherClusters
	// Events are those of this cluster.
	Events Published

	Cached   client.Reader // the objects in memory, which must not be changed
	Live     client.Reader // the API server
	Creator  client.Writer
	Client   kubernetes.Interface // for reviews
	Recorder events.EventRecorder
	Log      *slog.Logger
	Now      func() time.Time
	Pause    func(context.Context) bool // between two requests; false: ctx has ended

	mu   sync.Mutex
	list *readList
}

var _ dashboard.Users = (*Source)(nil)

// ClustersOf returns the cluster as a user may see it.
func (s *Source) ClustersOf(u dashboard.User) dashboard.Clusters {
	return &userCluster{Source: s, user: u}
}

// readList are the nodes and reports in memory, and the list of certificates that is made of them.
// Their slices are shared and never changed.
type readList struct {
	nodes        []kubenode.Node
	reports      []v1alpha1.NodeCertificateReport
	certificates *v1alpha1.CertificateList // nil: there are no reports
	observed     time.Time
	made         time.Time
}

// readReports returns the list, made anew unless it is recent. All users share it: that of thousands
// of nodes takes a second to make, and as much memory as their reports.
func (s *Source) readReports(ctx context.Context) (*readList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if s.list != nil && now.Sub(s.list.made) < 10*time.Second {
		return s.list, nil
	}
	out := &readList{made: now}
	var nodes corev1.NodeList
	if err := s.Cached.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	for i := range nodes.Items {
		out.nodes = append(out.nodes, kubenode.Describe(&nodes.Items[i]))
	}
	var reports v1alpha1.NodeCertificateReportList
	if err := s.Cached.List(ctx, &reports, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	out.reports = reports.Items
	if len(out.reports) > 0 {
		list := reported.ListCertificates(out.reports, out.nodes, now)
		out.certificates = &list
		out.observed = reported.OldestReport(out.reports)
	}
	s.list = out
	return out, nil
}
