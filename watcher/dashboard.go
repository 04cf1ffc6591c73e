package watcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
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

// checkFiles refuses settings that contradict each other.
func (o DashboardOptions) checkFiles() error {
	switch {
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("serve the dashboard: a certificate and its key are needed, or neither")
	case len(o.Proxies) > 0 && (o.Cert == "" || o.ProxyCA == ""):
		return hint.AddTo(errors.New("serve the dashboard: a proxy is known by its certificate, which needs TLS and the CA of the proxy"),
			"--dashboard-cert, --dashboard-key and --dashboard-proxy-ca")
	}
	return nil
}

// tlsConfig reads the files again when they have changed; nil: without TLS.
func (o DashboardOptions) tlsConfig() (*tls.Config, error) {
	if o.Cert == "" {
		return nil, nil
	}
	pair := &filePair{cert: o.Cert, key: o.Key}
	if _, err := pair.getCertificate(nil); err != nil {
		return nil, fmt.Errorf("serve the dashboard: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.getCertificate}
	if len(o.Proxies) == 0 {
		return out, nil
	}
	text, err := os.ReadFile(o.ProxyCA)
	if err != nil {
		return nil, fmt.Errorf("read the CA of the dashboard's proxy: %w", err)
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the CA of the dashboard's proxy: %q holds no certificate", o.ProxyCA)
	}
	out.ClientAuth = tls.VerifyClientCertIfGiven
	return out, nil
}

// newDashboard serves the pages, also where another watcher leads.
func (w *watcher) newDashboard(ctx context.Context, mgr manager.Manager, recorder events.EventRecorder) ([]manager.Runnable, error) {
	if w.Dashboard.Address == "" {
		return nil, nil
	}
	if err := w.Dashboard.checkFiles(); err != nil {
		return nil, err
	}
	secured, err := w.Dashboard.tlsConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("serve the dashboard: %w", err)
	}
	log := w.Log.With("part", "dashboard")
	name := w.Cluster
	if name == "" {
		name = "cluster"
	}
	hosted := dashboard.NewHosted(dashboard.HostedOptions{
		Hosts: w.Dashboard.Hosts, Version: version.String(), Report: func(line string) { log.Info(line) },
		Users: &pages.Source{
			Name: name, Server: mgr.GetConfig().Host, Namespace: w.Pods.Namespace, Version: version.Version, NotifyOnly: w.NotifyOnly, Proxies: w.Dashboard.Proxies,
			Cached: w.cache, Live: mgr.GetAPIReader(), Creator: mgr.GetClient(), Client: client, Recorder: recorder, Log: log, Now: time.Now, Pause: pauseOnce,
		},
	})
	server, err := w.listenOn(ctx, "dashboard", w.Dashboard.Address, secured, dashboard.NewHTTPServer(w.onceComplete(hosted), func(line string) { log.Debug(line) }))
	if err != nil {
		return nil, err
	}
	return []manager.Runnable{server, everywhere(func(ctx context.Context) error {
		<-ctx.Done()
		hosted.Close()
		return nil
	})}, nil
}

// onceComplete answers once the objects of the cluster are in memory: an incomplete list of
// certificates would be taken for all.
func (w *watcher) onceComplete(next http.Handler) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), completeTimeout)
		defer cancel()
		if !w.awaitComplete(ctx) {
			http.Error(to, "not all objects of the cluster are read yet", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(to, r)
	})
}

// completeTimeout is how long a request waits for these objects.
const completeTimeout = time.Second

// pauseOnce waits for the time between two requests that follow a rotation; false: ctx has ended.
func pauseOnce(ctx context.Context) bool {
	timer := time.NewTimer(watched.CheckEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// everywhere runs on every watcher, the leader or not.
type everywhere func(context.Context) error

// Start runs it.
func (e everywhere) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection does not restrict it to the leader.
func (everywhere) NeedLeaderElection() bool { return false }
