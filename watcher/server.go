package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/agent"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// listTimeout bounds how long a scrape waits for the cache.
const listTimeout = 5 * time.Second

// endTimeout is how long those who read may take when the watcher ends; who follows events
// would keep it for ever.
const endTimeout = time.Second

// server serves metrics, health and events. It is up before anything of the cluster is
// read: a slow API server must not look like a watcher that hangs.
func (w *watcher) server(ctx context.Context) (*manager.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.HTTPAddress)
	if err != nil {
		return nil, fmt.Errorf("serve metrics, health and events: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics.Handler(ctrlmetrics.Registry))
	mux.Handle("/events", w.bus.Handler())
	mux.HandleFunc("GET /livez", health(func(context.Context) error { return errors.Join(w.decider.Alive(), w.runner.Alive()) }))
	mux.HandleFunc("GET /readyz", health(w.ready))
	w.Log.Info("serving metrics, health and events", "address", listener.Addr().String())
	timeout := endTimeout
	return &manager.Server{Name: "http", Listener: listener, ShutdownTimeout: &timeout, Server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
	}}, nil
}

// health answers whether something is in order.
func health(check func(context.Context) error) http.HandlerFunc {
	return func(to http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(to, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(to, "ok\n")
	}
}

// ready says what keeps the watcher from its work.
func (w *watcher) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if !w.complete(ctx) {
		return errors.New("the cluster's objects are not all read yet")
	}
	if err := w.bus.Ready(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return w.policy.problem()
}

// snapshot is what metrics are read off.
func (w *watcher) snapshot() metrics.Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	s := metrics.Snapshot{AgentsMissing: w.picture.Unreported(time.Now().Add(-agent.FreshFor)), Waiting: map[string]int{}}
	var reports v1alpha1.NodeCertificateReportList
	// The cache's own objects: there may be two hundred thousand certificates in them.
	if w.cache.List(ctx, &reports, client.UnsafeDisableDeepCopy) == nil {
		s.Reports = each(reports.Items)
	}
	var marks v1alpha1.CompromisedCertificateList
	if w.cache.List(ctx, &marks, client.UnsafeDisableDeepCopy) == nil {
		for i := range marks.Items {
			if !replaced(&marks.Items[i]) {
				s.OpenMarks++
			}
		}
	}
	for _, waiting := range w.decider.Waiting() {
		s.Waiting[string(waiting.Reason)]++
	}
	stats := w.bus.Stats()
	s.EventsPending, s.EventsGivenUp = stats.Waiting, stats.GivenUp
	return s
}

func each(items []v1alpha1.NodeCertificateReport) iter.Seq[*v1alpha1.NodeCertificateReport] {
	return func(yield func(*v1alpha1.NodeCertificateReport) bool) {
		for i := range items {
			if !yield(&items[i]) {
				return
			}
		}
	}
}

func replaced(c *v1alpha1.CompromisedCertificate) bool {
	for _, condition := range c.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReplaced {
			return condition.Status == "True"
		}
	}
	return false
}
