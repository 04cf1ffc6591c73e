package watcher

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/pages"
)

// DashboardOptions are the settings of the dashboard.
type DashboardOptions struct {
	// Address serves the pages; empty: they are not served.
	Address string
	// Cert and Key are files in PEM; empty: the pages are served without TLS, behind an ingress.
	Cert string
	Key  string
	// Hosts are the names by which browsers reach it; empty: any.
	Hosts []string
	// Proxies are the common names of certificates, signed by a CA of the file ProxyCA, of proxies
	// that name users in headers.
	Proxies []string
	ProxyCA string
}

// newDashboard serves the pages, also where another watcher leads.
func (w *watcher) newDashboard(ctx context.Context, mgr manager.Manager, recorder events.EventRecorder) ([]manager.Runnable, error) {
	if w.Dashboard.Address == "" {
		return nil, nil
	}
	if err := w.Dashboard.checkFiles(); err != nil {
		return nil, err
	}
	log := w.Log.With("part", "dashboard")
	secured, err := w.Dashboard.openTLS(log)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("serve the dashboard: %w", err)
	}
	name := w.Cluster
	if name == "" {
		name = "cluster"
	}
	var others *pages.OtherClusters
	if w.Bus.ReadSummaries {
		others = pages.NewOtherClusters(w.Bus.Cluster, w.bus, time.Now)
	}
	hosted := dashboard.NewHosted(dashboard.HostedOptions{
		Hosts: w.Dashboard.Hosts, Version: version.String(), Report: func(line string) { log.Info(line) },
		Users: &pages.Source{
			Name: name, Server: mgr.GetConfig().Host, Namespace: w.Pods.Namespace, Version: version.Version, NotifyOnly: w.NotifyOnly, Proxies: w.Dashboard.Proxies, OtherClusters: others, Events: w.bus,
			Cached: w.cache, Live: mgr.GetAPIReader(), Creator: mgr.GetClient(), Client: client, Recorder: recorder, Log: log, Now: time.Now,
			Pause: func(ctx context.Context) bool { return wait.SleepFor(ctx, wait.RequestEvery) == nil },
		},
	})
	server, err := w.listenOn(ctx, "dashboard", w.Dashboard.Address, secured.config, dashboard.NewHTTPServer(w.onceComplete(hosted), func(line string) { log.Debug(line) }))
	if err != nil {
		return nil, err
	}
	closing := everywhere(func(ctx context.Context) error {
		<-ctx.Done()
		hosted.Close()
		return nil
	})
	return append(secured.parts, server, closing), nil
}

// onceComplete answers once the objects of the cluster are in memory, or soon that they are not: an incomplete list of
// certificates would be taken for all.
func (w *watcher) onceComplete(next http.Handler) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !w.awaitComplete(ctx) {
			http.Error(to, "not all objects of the cluster are read yet", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(to, r)
	})
}

// everywhere runs on every watcher, the leader or not.
type everywhere func(context.Context) error

// Start runs it.
func (e everywhere) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection does not restrict it to the leader.
func (everywhere) NeedLeaderElection() bool { return false }
